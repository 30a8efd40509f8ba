import { type Command, InvalidArgumentError } from 'commander';
import { DateTime } from 'luxon';
import type { Services } from '../daemon/composition-root.js';
import {
  type AttributeFilter,
  type Calendar,
  type GroupKey,
  type Instant,
  type Period,
  type PointQuery,
  type ScopeSelector,
  type TimeUnit,
  type VisibleScopes,
} from '../plugin-api/index.js';
import { UsageError } from './cli.js';

/** Options that choose what a report looks at. */
export interface SelectionOptions {
  readonly begin?: string;
  readonly end?: string;
  readonly scope?: readonly string[];
  readonly metric?: readonly string[];
  readonly filter?: readonly AttributeFilter[];
}

export function addSelection(command: Command): Command {
  return command
    .option(
      '-b, --begin <time>',
      'from this instant on: 2026-01, 2026-01-31, 2026-01-31T12:00, 2026-01-31T12:00:00Z',
    )
    .option('-e, --end <time>', 'up to, not including, this instant')
    .option('-s, --scope <id>', 'this scope only; may be repeated', gather)
    .option('-m, --metric <name>', 'this metric only; may be repeated', gather)
    .option('-f, --filter <name=value>', 'points with this attribute only; may be repeated', gatherFilters);
}

export function gather(value: string, former: readonly string[] = []): readonly string[] {
  return [...former, value];
}

/** Values of one attribute are alternatives; different attributes all have to match. */
export function gatherFilters(
  text: string,
  former: readonly AttributeFilter[] = [],
): readonly AttributeFilter[] {
  const place = text.indexOf('=');
  if (place < 1) throw new InvalidArgumentError("Write NAME=VALUE, such as 'flavor=m1.small'.");
  const name = text.slice(0, place);
  const value = text.slice(place + 1);
  const same = former.find((filter) => filter.name === name);
  if (same === undefined) return [...former, { name, values: [value], in: 'any' }];
  return former.map((filter) =>
    filter === same ? { ...filter, values: [...filter.values, value] } : filter,
  );
}

export function wholeNumber(least: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d{1,15}$/.test(text) && value >= least) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${least} on.`);
  };
}

/** Instants without an offset are meant in the billing time zone. @throws UsageError */
export function parseInstant(text: string, timeZone: string): Instant {
  const time = DateTime.fromISO(text, { zone: timeZone });
  const seconds = time.toSeconds();
  if (time.isValid && Number.isSafeInteger(seconds) && seconds >= 0) return seconds;
  throw new UsageError(
    `'${text}' is not a time in whole seconds. Write 2026-01-31, 2026-01-31T12:00:00 (${timeZone}) or 2026-01-31T12:00:00Z.`,
  );
}

/** The chosen range; what is left open is the current month. @throws UsageError */
export function parseRange(
  { begin, end }: Pick<SelectionOptions, 'begin' | 'end'>,
  calendar: Calendar,
  now: Instant,
): Period {
  const { timeZone } = calendar;
  const last = end === undefined ? undefined : parseInstant(end, timeZone);
  const month = calendar.slice(last === undefined ? now : Math.min(now, last - 1), 'month');
  const range = {
    begin: begin === undefined ? month.begin : parseInstant(begin, timeZone),
    end: last ?? Math.max(month.end, now + 1),
  };
  if (range.begin < range.end) return range;
  const [from, to] = [range.begin, range.end].map((instant) => new Date(instant * 1000).toISOString());
  throw new UsageError(`The range is empty: it begins at ${from} and ends at ${to}.`);
}

const TIME_GROUPS: Readonly<Record<string, TimeUnit>> = {
  time: 'period',
  'time-d': 'day',
  'time-w': 'week',
  'time-m': 'month',
  'time-y': 'year',
};

/** `type,scope,time-d,flavor` */
export function parseGroups(text: string): readonly GroupKey[] {
  return text.split(',').map((part): GroupKey => {
    const name = part.trim();
    if (name === '')
      throw new InvalidArgumentError("Write keys with commas between them, such as 'type,flavor'.");
    if (name === 'type' || name === 'scope') return { kind: name };
    const unit = Object.hasOwn(TIME_GROUPS, name) ? TIME_GROUPS[name] : undefined;
    if (unit !== undefined) return { kind: 'time', unit };
    if (name.startsWith('time-'))
      throw new InvalidArgumentError(`The time groups are ${Object.keys(TIME_GROUPS).join(', ')}.`);
    return { kind: 'attribute', name };
  });
}

export function groupTitle(key: GroupKey): string {
  if (key.kind === 'attribute') return key.name;
  return key.kind === 'time' ? `time (${key.unit})` : key.kind;
}

/** What the options choose, as storages understand it. @throws UsageError when a scope is unknown. */
export async function toQuery(
  options: SelectionOptions,
  range: Period,
  services: Services,
  signal: AbortSignal,
): Promise<PointQuery> {
  return {
    ...range,
    visible: await visibleScopes(options.scope, range, services, signal),
    ...(options.metric === undefined ? {} : { metrics: options.metric }),
    ...(options.filter === undefined ? {} : { filters: options.filter }),
  };
}

async function visibleScopes(
  ids: readonly string[] | undefined,
  range: Period,
  { states, storage }: Services,
  signal: AbortSignal,
): Promise<VisibleScopes> {
  if (ids === undefined) return 'all';
  const known = (await states.list()).map(({ source, scope }) => ({ source, scope }));
  const selectors = (
    from: readonly { source: string; scope: { key: string; id: string } }[],
  ): ScopeSelector[] =>
    from
      .filter(({ scope }) => ids.includes(scope.id))
      .map(({ source, scope }) => ({ source, key: scope.key, id: scope.id }));
  const found = selectors(known);
  const isFound = (id: string) => found.some((selector) => selector.id === id);
  if (!ids.every(isFound)) {
    // Frames that were pushed from outside have no state.
    const stored = await storage.scopesWithData({ ...range, visible: 'all' }, signal);
    found.push(...selectors(stored));
  }
  const missing = ids.find((id) => !isFound(id));
  if (missing === undefined) return found;
  throw new UsageError(`There is no scope '${missing}'. 'ratecat status' lists them.`);
}
