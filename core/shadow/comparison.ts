import { compareText, Decimal, type Instant, type Period, type Storage } from '../plugin-api/index.js';
import type { ScopeStates } from '../scopes/scope-states.js';
import type { Counterpart, Precision, Sums } from './counterpart.js';

export interface ComparisonParts {
  readonly counterpart: Counterpart;
  readonly storage: Storage;
  readonly states: Pick<ScopeStates, 'list'>;
  /** Name of the pipeline, whose prices are compared. */
  readonly source: string;
  readonly scopeKey: string;
  readonly periodSeconds: number;
}

/**
 * - equal: to the last digit.
 * - rounding: no further apart than what CloudKitty's columns and floats round away.
 * - different: another price or quantity.
 */
export type ShadowVerdict = 'equal' | 'rounding' | 'different';

/** One scope and metric of a period. A side that has none of it has zeros. */
export interface ComparedSum {
  readonly scopeId: string;
  readonly metric: string;
  readonly cloudkitty: Sums;
  readonly ratecat: Sums;
  readonly verdict: ShadowVerdict;
}

export interface ComparedPeriod {
  readonly period: Period;
  readonly scopes: number;
  /** In order of scope and metric. */
  readonly sums: readonly ComparedSum[];
}

/** Scopes that only one of the two knows; nothing of them is compared. */
export interface Strangers {
  readonly onlyCloudkitty: readonly string[];
  readonly onlyRatecat: readonly string[];
}

interface OwnSums extends Sums {
  readonly points: number;
}

const NONE: OwnSums = { quantity: Decimal.ZERO, price: Decimal.ZERO, points: 0 };
const SCOPES_PER_QUERY = 500;

/** Compares, period by period, what both have rated; each period of a scope once. */
export class ShadowComparison {
  readonly #parts: ComparisonParts;
  readonly #since: Instant;
  /** By scope, the begin of the first period that is not compared yet. */
  readonly #compared = new Map<string, Instant>();
  #strangers: Strangers = { onlyCloudkitty: [], onlyRatecat: [] };

  constructor(parts: ComparisonParts, since: Instant) {
    this.#parts = parts;
    this.#since = since;
  }

  /** As of the last round. */
  get strangers(): Strangers {
    return this.#strangers;
  }

  /** What both have rated since the last round, in order of time. A period counts as compared once it was given. */
  async *round(signal: AbortSignal): AsyncGenerator<ComparedPeriod, void, void> {
    for (const [begin, scopeIds] of await this.#due(signal)) {
      signal.throwIfAborted();
      const period = { begin, end: begin + this.#parts.periodSeconds };
      yield { period, scopes: scopeIds.length, sums: await this.#compare(period, scopeIds, signal) };
      for (const id of scopeIds) this.#compared.set(id, period.end);
    }
  }

  async #due(signal: AbortSignal): Promise<readonly (readonly [Instant, readonly string[]])[]> {
    const { counterpart, states, source, scopeKey, periodSeconds } = this.#parts;
    const theirs = await counterpart.frontiers(signal);
    const own = new Map<string, Instant>();
    for (const { scope, watermark } of await states.list(source))
      if (scope.key === scopeKey && watermark !== undefined) own.set(scope.id, watermark);
    this.#strangers = {
      onlyCloudkitty: [...theirs.keys()].filter((id) => !own.has(id)).sort(compareText),
      onlyRatecat: [...own.keys()].filter((id) => !theirs.has(id)).sort(compareText),
    };
    const due = new Map<Instant, string[]>();
    for (const [id, watermark] of own) {
      const end = Math.min(watermark, theirs.get(id) ?? 0);
      const from = this.#compared.get(id) ?? this.#since;
      // Periods lie where the watermark puts them.
      const first = watermark - Math.floor((watermark - from) / periodSeconds) * periodSeconds;
      for (let begin = first; begin + periodSeconds <= end; begin += periodSeconds) {
        const same = due.get(begin);
        if (same === undefined) due.set(begin, [id]);
        else same.push(id);
      }
    }
    return [...due].sort(([left], [right]) => left - right);
  }

  async #compare(
    period: Period,
    scopeIds: readonly string[],
    signal: AbortSignal,
  ): Promise<readonly ComparedSum[]> {
    const { counterpart } = this.#parts;
    const wanted = new Set(scopeIds);
    const theirs = new Map<string, Sums>();
    for (const { scopeId, metric, quantity, price } of await counterpart.sums(period, signal))
      if (wanted.has(scopeId)) theirs.set(keyOf(scopeId, metric), { quantity, price });
    const own = await this.#own(period, scopeIds, signal);
    return [...new Set([...theirs.keys(), ...own.keys()])].sort(compareText).map((key) => {
      const [scopeId, metric] = JSON.parse(key) as [string, string];
      const [cloudkitty, ratecat] = [theirs.get(key) ?? NONE, own.get(key) ?? NONE];
      return {
        scopeId,
        metric,
        cloudkitty,
        ratecat,
        verdict: verdict(cloudkitty, ratecat, counterpart.precision),
      };
    });
  }

  async #own(
    period: Period,
    scopeIds: readonly string[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, OwnSums>> {
    const { storage, source, scopeKey } = this.#parts;
    const sums = new Map<string, OwnSums>();
    for (let start = 0; start < scopeIds.length; start += SCOPES_PER_QUERY) {
      const ids = scopeIds.slice(start, start + SCOPES_PER_QUERY);
      const visible = ids.map((id) => ({ source, key: scopeKey, id }));
      const groupby = [{ kind: 'scope' }, { kind: 'type' }] as const;
      const { rows } = await storage.total({ ...period, visible, groupby }, signal);
      for (const { group, quantity, price, points } of rows)
        sums.set(keyOf(group[0]!, group[1]!), { quantity, price, points });
    }
    return sums;
  }
}

function verdict(theirs: Sums, own: OwnSums, { quantity, share }: Precision): ShadowVerdict {
  if (theirs.quantity.equals(own.quantity) && theirs.price.equals(own.price)) return 'equal';
  const steps = quantity.times(Decimal.parse(String(own.points)));
  const isNear =
    differs(theirs.quantity, own.quantity, share, steps) <= 0 &&
    differs(theirs.price, own.price, share, Decimal.ZERO) <= 0;
  return isNear ? 'rounding' : 'different';
}

/** Positive when the two are further apart than the share of the larger one and the steps together. */
function differs(left: Decimal, right: Decimal, share: Decimal, steps: Decimal): number {
  const larger = absolute(left).compare(absolute(right)) > 0 ? absolute(left) : absolute(right);
  return absolute(left.minus(right)).compare(larger.times(share).plus(steps));
}

function absolute(value: Decimal): Decimal {
  return value.coefficient < 0n ? value.negated() : value;
}

function keyOf(scopeId: string, metric: string): string {
  return JSON.stringify([scopeId, metric]);
}
