import type { MigrationReport } from '../migrating/from-cloudkitty.js';
import type { Amounts, VerifiedGroup } from '../migrating/verification.js';
import { Decimal } from '../plugin-api/index.js';
import { type Column, renderTable } from './table.js';

/** True when something of CloudKitty's is missing or differs. */
export function needsAttention(report: MigrationReport): boolean {
  return problemsOf(report).length > 0 || report.groups.some(({ verdict }) => verdict === 'different');
}

interface TextOptions {
  readonly isDry: boolean;
  /** Every sum instead of one line a month. */
  readonly isFull: boolean;
}

export function textReport(report: MigrationReport, { isDry, isFull }: TextOptions): string {
  const parts = [
    ...(isDry ? ['Nothing was changed; this is what would be.'] : []),
    ...ruleLines(report),
    ...stateLines(report),
    ...frameLines(report),
    ...verificationLines(report, isDry, isFull),
    ...problemsOf(report).map((problem) => `Please look: ${problem}.`),
  ];
  return parts.join('\n');
}

export function jsonReport(report: MigrationReport, isDry: boolean) {
  const { rules, states, frames, groups } = report;
  return {
    dry_run: isDry,
    rules: rules?.modules ?? null,
    states: states ?? null,
    frames: frames ?? null,
    problems: problemsOf(report),
    verification: groups.map((group) => ({
      scope: group.scopeId,
      metric: group.metric,
      month: monthText(group.month),
      verdict: group.verdict,
      source: amountsJson(group.source),
      stored: amountsJson(group.stored),
      float_noise: group.floatNoise.toString(),
    })),
  };
}

function problemsOf({ rules, states }: MigrationReport): readonly string[] {
  return [...(rules?.problems ?? []), ...(states?.problems ?? [])].map((text) => text.replace(/\.$/, ''));
}

function ruleLines({ rules }: MigrationReport): readonly string[] {
  if (rules === undefined) return [];
  return rules.modules.map(({ module, found, deleted, change }) => {
    const left = deleted === 0 ? '' : `; deleted in CloudKitty and left behind: ${deleted}`;
    return `${module}: ${found} found, ${change.added} added, ${change.changed} changed${left}`;
  });
}

function stateLines({ states }: MigrationReport): readonly string[] {
  if (states === undefined) return [];
  const { found, inactive, written, kept, ofOtherKeys, reprocesses } = states;
  return [
    `scopes: ${found} found, ${inactive} of them inactive; ${written} written${kept === 0 ? '' : `, ${kept} left alone: Ratecat has rated on`}`,
    ...(ofOtherKeys === 0 ? [] : [`scopes of other scope keys: ${ofOtherKeys}, left out`]),
    ...(reprocesses === 0 ? [] : [`windows to be rated anew: ${reprocesses}`]),
  ];
}

function frameLines({ frames, states }: MigrationReport): readonly string[] {
  if (states === undefined || frames === undefined) return [];
  const { periods, points, beyond } = frames;
  return [
    `frames: ${periods} periods with ${points} points taken over`,
    ...(beyond === 0 ? [] : [`points beyond what CloudKitty counts as rated: ${beyond}, left out`]),
  ];
}

const MONTHS: readonly Column[] = [
  { title: 'month' },
  { title: 'points', isNumber: true },
  { title: 'stored', isNumber: true },
  { title: 'price', isNumber: true },
  { title: 'stored', isNumber: true },
  { title: 'float noise', isNumber: true },
  { title: '' },
];
const GROUPS: readonly Column[] = [
  { title: 'month' },
  { title: 'scope' },
  { title: 'metric' },
  { title: 'points', isNumber: true },
  { title: 'stored', isNumber: true },
  { title: 'quantity', isNumber: true },
  { title: 'stored', isNumber: true },
  { title: 'price', isNumber: true },
  { title: 'stored', isNumber: true },
  { title: 'float noise', isNumber: true },
  { title: '' },
];

function verificationLines({ groups }: MigrationReport, isDry: boolean, isFull: boolean): readonly string[] {
  if (groups.length === 0) return [];
  const different = groups.filter(({ verdict }) => verdict === 'different');
  const listed = isFull ? groups : isDry ? [] : different;
  return [
    '',
    renderTable(MONTHS, monthRows(groups, isDry)),
    ...(listed.length === 0
      ? []
      : [
          '',
          renderTable(
            GROUPS,
            listed.map((group) => groupRow(group, isDry)),
          ),
        ]),
    '',
    conclusion(groups, different.length, isDry),
  ];
}

function conclusion(groups: readonly VerifiedGroup[], different: number, isDry: boolean): string {
  const compared = `${groups.length} sums of scope, metric and month compared`;
  if (isDry) return `${compared}: ${groups.length - different} are there already, ${different} to take over.`;
  if (different > 0) return `${compared}: ${different} DIFFER.`;
  const noisy = groups.filter(({ verdict }) => verdict === 'noise').length;
  return noisy === 0
    ? `${compared}: all equal to the last digit.`
    : `${compared}: all equal, ${noisy} of them but for the float noise of the storage.`;
}

function monthRows(groups: readonly VerifiedGroup[], isDry: boolean): readonly (readonly string[])[] {
  const months = new Map<number, VerifiedGroup[]>();
  for (const group of groups) {
    const same = months.get(group.month);
    if (same === undefined) months.set(group.month, [group]);
    else same.push(group);
  }
  return [...months].map(([month, same]) => {
    const [source, stored] = [
      total(same.map((group) => group.source)),
      total(same.map((group) => group.stored)),
    ];
    const noise = same.reduce((sum, { floatNoise }) => sum.plus(floatNoise), Decimal.ZERO);
    return [
      monthText(month),
      String(source.points),
      String(stored.points),
      source.price.toString(),
      stored.price.toString(),
      noiseText(noise),
      verdictText(same, isDry),
    ];
  });
}

function groupRow(group: VerifiedGroup, isDry: boolean): readonly string[] {
  const { source, stored } = group;
  return [
    monthText(group.month),
    group.scopeId,
    group.metric,
    String(source.points),
    String(stored.points),
    source.quantity.toString(),
    stored.quantity.toString(),
    source.price.toString(),
    stored.price.toString(),
    noiseText(group.floatNoise),
    verdictText([group], isDry),
  ];
}

function total(amounts: readonly Amounts[]): Amounts {
  return amounts.reduce((sum, { points, quantity, price }) => ({
    points: sum.points + points,
    quantity: sum.quantity.plus(quantity),
    price: sum.price.plus(price),
  }));
}

function verdictText(groups: readonly VerifiedGroup[], isDry: boolean): string {
  if (isDry) return groups.some(({ verdict }) => verdict === 'different') ? 'to take over' : 'there already';
  for (const verdict of ['different', 'noise'] as const)
    if (groups.some((group) => group.verdict === verdict)) return verdict;
  return 'equal';
}

/** Noise is a matter of magnitude: three digits tell it. */
function noiseText(noise: Decimal): string {
  return noise.round(3).toString();
}

function amountsJson({ points, quantity, price }: Amounts) {
  return { points, quantity: quantity.toString(), price: price.toString() };
}

/** `2026-01` */
function monthText(month: number): string {
  return month === 0 ? '' : `${Math.floor(month / 100)}-${String(month % 100).padStart(2, '0')}`;
}
