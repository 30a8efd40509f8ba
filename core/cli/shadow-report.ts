import { Decimal } from '../plugin-api/index.js';
import { isoTime } from '../scopes/iso-time.js';
import type { ComparedPeriod, ComparedSum, ShadowVerdict, Strangers } from '../shadow/comparison.js';
import type { Sums } from '../shadow/counterpart.js';
import type { Output } from './output.js';
import { type Column, renderTable } from './table.js';

const COLUMNS: readonly Column[] = [
  { title: 'scope' },
  { title: 'metric' },
  { title: 'quantity', isNumber: true },
  { title: 'cloudkitty', isNumber: true },
  { title: 'price', isNumber: true },
  { title: 'cloudkitty', isNumber: true },
  { title: 'more', isNumber: true },
];
const SHOWN_STRANGERS = 5;

/** Tells of each period as it is compared, and sums up at the end. */
export class ShadowReport {
  readonly #output: Output;
  readonly #isJson: boolean;
  readonly #counts: Record<ShadowVerdict, number> = { equal: 0, rounding: 0, different: 0 };
  #periods = 0;
  /** What Ratecat has more, over everything. */
  #more = Decimal.ZERO;

  constructor(output: Output, isJson: boolean) {
    this.#output = output;
    this.#isJson = isJson;
  }

  /** False once something differed. */
  get isClean(): boolean {
    return this.#counts.different === 0;
  }

  async period(compared: ComparedPeriod): Promise<void> {
    this.#periods++;
    for (const sum of compared.sums) {
      this.#counts[sum.verdict]++;
      this.#more = this.#more.plus(sum.ratecat.price).minus(sum.cloudkitty.price);
    }
    await this.#output.line(this.#isJson ? JSON.stringify(periodJson(compared)) : periodText(compared));
  }

  async end(strangers: Strangers): Promise<void> {
    const { equal, rounding, different } = this.#counts;
    const more = this.#more.toString();
    if (this.#isJson) {
      const { onlyCloudkitty, onlyRatecat } = strangers;
      const scopes = { only_cloudkitty: onlyCloudkitty, only_ratecat: onlyRatecat };
      const result = { periods: this.#periods, equal, rounding, different, more, ...scopes };
      return this.#output.line(JSON.stringify({ result }));
    }
    const lines = [
      ...strangerLine('CloudKitty', strangers.onlyCloudkitty),
      ...strangerLine('Ratecat', strangers.onlyRatecat),
      this.#periods === 0
        ? 'Nothing was compared: there is no period that both have rated.'
        : `${this.#periods} periods, ${equal + rounding + different} sums: ${equal} equal, ${rounding} equal but for ` +
          `CloudKitty's rounding, ${different === 0 ? 'none different' : `${different} DIFFERENT`}. Ratecat has ${more} more in all.`,
    ];
    return this.#output.line(lines.join('\n'));
  }
}

function periodText({ period, scopes, sums }: ComparedPeriod): string {
  const different = sums.filter(({ verdict }) => verdict === 'different');
  const counted = `${scopes} scope${scopes === 1 ? '' : 's'}, ${sums.length} sum${sums.length === 1 ? '' : 's'}`;
  const head = `${isoTime(period.begin)}  ${counted}`;
  if (different.length > 0)
    return `${head}: ${different.length} DIFFERENT\n${renderTable(COLUMNS, different.map(differenceRow))}`;
  return `${head}: ${sums.every(({ verdict }) => verdict === 'equal') ? 'equal' : "equal but for CloudKitty's rounding"}`;
}

function differenceRow({ scopeId, metric, ratecat, cloudkitty }: ComparedSum): readonly string[] {
  return [
    scopeId,
    metric,
    ratecat.quantity.toString(),
    cloudkitty.quantity.toString(),
    ratecat.price.toString(),
    cloudkitty.price.toString(),
    ratecat.price.minus(cloudkitty.price).toString(),
  ];
}

function strangerLine(side: string, ids: readonly string[]): readonly string[] {
  if (ids.length === 0) return [];
  const named = ids.slice(0, SHOWN_STRANGERS).join(', ');
  const rest = ids.length > SHOWN_STRANGERS ? ` and ${ids.length - SHOWN_STRANGERS} more` : '';
  return [`Only ${side} rates ${named}${rest}.`];
}

function periodJson({ period, sums }: ComparedPeriod) {
  return {
    begin: isoTime(period.begin),
    end: isoTime(period.end),
    sums: sums.map(({ scopeId, metric, verdict, ratecat, cloudkitty }) => ({
      scope: scopeId,
      metric,
      verdict,
      ratecat: sumsJson(ratecat),
      cloudkitty: sumsJson(cloudkitty),
    })),
  };
}

function sumsJson({ quantity, price }: Sums) {
  return { quantity: quantity.toString(), price: price.toString() };
}
