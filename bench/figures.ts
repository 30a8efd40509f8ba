/** What a bench found, and how it stands to its target. */
import Table from 'cli-table3';

export interface Figure {
  /** Key in the JSON; stable, so that results can be compared. */
  readonly id: string;
  readonly what: string;
  /** Absent when it could not be measured; `note` says why. */
  readonly value?: number | undefined;
  readonly unit: string;
  readonly target?: Target | undefined;
  readonly note?: string | undefined;
}

export type Target = { readonly atLeast: number } | { readonly atMost: number };

export interface Section {
  readonly title: string;
  readonly seconds: number;
  readonly figures: readonly Figure[];
}

/** Undefined when there is no target or no value. */
export function isMet({ value, target }: Figure): boolean | undefined {
  if (value === undefined || target === undefined) return undefined;
  return 'atLeast' in target ? value >= target.atLeast : value <= target.atMost;
}

export function renderSections(sections: readonly Section[]): string {
  const table = new Table({
    head: ['bench', 'figure', 'unit', 'target', 'met', 'note'],
    colAligns: ['left', 'right', 'left', 'right', 'left', 'left'],
    style: { head: [], border: [], compact: true },
  });
  for (const { title, seconds, figures } of sections) {
    table.push([{ colSpan: 6, content: `${title} (${seconds.toFixed(1)} s)` }]);
    for (const figure of figures) {
      table.push([
        `  ${figure.what}`,
        figure.value === undefined ? '-' : shown(figure.value),
        figure.unit,
        targetText(figure.target),
        { true: 'yes', false: 'NO', undefined: '' }[String(isMet(figure))] ?? '',
        figure.note ?? '',
      ]);
    }
  }
  return table.toString();
}

function targetText(target: Target | undefined): string {
  if (target === undefined) return '';
  return 'atLeast' in target ? `>= ${shown(target.atLeast)}` : `<= ${shown(target.atMost)}`;
}

/** Three significant digits are more than a shared machine can tell. */
export function shown(value: number): string {
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en');
  return String(Number(value.toPrecision(3)));
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((left, right) => left - right);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Milliseconds that the work takes. */
export async function timed(work: () => unknown): Promise<number> {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
}

/** Frees what former benches left, when the program runs with --expose-gc. */
export function collectGarbage(): void {
  globalThis.gc?.();
}
