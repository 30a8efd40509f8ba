import {
  Attributes,
  type AttributeValue,
  type Clock,
  canonicalDescriptor,
  compareText,
  Decimal,
  type Descriptor,
  type Instant,
  type RatedPoint,
  type SqlDatabase,
  type StoredFrame,
  type VisibleScopes,
} from '../../../core/plugin-api/index.js';
import { attributeText } from '../../shared/outside-storage/attribute-text.js';
import { CALENDAR_TAGS } from '../../shared/outside-storage/calendar-tags.js';
import { comparePeriods, type Owner, ownerTest } from '../../shared/outside-storage/owner.js';
import type { PeriodQuery } from '../../shared/outside-storage/period-reader.js';
import type { LokiClient } from './client.js';
import { damaged } from './failures.js';
import { DAY_SECONDS, KIND_LABEL, type Labels, MAX_NAMES, matchersOf, nanoseconds } from './layout.js';
import { labelIs, labelIsAnyOf } from './logql.js';
import { readMarkers } from './period-table.js';

/** How lines that CloudKitty wrote are looked at. */
export interface ReferenceOptions {
  /** The source they are shown under. */
  readonly source: string;
  /** The attribute that names their scope. */
  readonly scope_key: string;
  /** CloudKitty's option of this name. */
  readonly stream: Labels;
  /** Seconds of the longest period that CloudKitty rated. */
  readonly period: number;
}

export interface ReferenceReaderParts {
  readonly client: LokiClient;
  readonly clock: Clock;
  readonly database: SqlDatabase;
  readonly options: ReferenceOptions;
}

/** A line of CloudKitty with what it says. */
interface Found {
  readonly begin: Instant;
  readonly end: Instant;
  readonly scope: string;
  readonly point: RatedPoint;
}

const CALENDAR: ReadonlySet<string> = new Set(CALENDAR_TAGS);
/** The one attribute that CloudKitty makes a label of. */
const PROJECT_LABEL = 'project_id';
/** Longer lists of scopes do not go into a query. */
const MAX_MATCHER_CHARACTERS = 3_000;
/** No clock of a daemon or of Loki is further off than this. */
const SKEW_SECONDS = 3_600;
/** Loki takes nothing that is much older than a week, unless it was told to. */
const OLDEST_SECONDS = 31 * DAY_SECONDS;
/** CloudKitty could not store anything in Loki before this. */
const FIRST_DAY: Instant = Date.UTC(2024, 0, 1) / 1000;

/**
 * Lines that CloudKitty wrote, as far as nothing of Ratecat has taken their place or removed them. They are never deleted:
 * a row about the period hides them. Their time is the end of their period.
 */
export class ReferenceReader {
  readonly #client: LokiClient;
  readonly #clock: Clock;
  readonly #database: SqlDatabase;
  readonly #options: ReferenceOptions;
  #first: Instant = FIRST_DAY;
  #isFound = false;

  constructor({ client, clock, database, options }: ReferenceReaderParts) {
    this.#client = client;
    this.#clock = clock;
    this.#database = database;
    this.#options = options;
  }

  /** Whether CloudKitty's lines can be about a scope. */
  mayHave({ source, scope }: Owner): boolean {
    return source === this.#options.source && scope.key === this.#options.scope_key;
  }

  /** Frames in order; each page ends with an instant. */
  async *read(query: PeriodQuery, signal: AbortSignal): AsyncGenerator<readonly StoredFrame[]> {
    const { source, scope_key: key, period } = this.#options;
    const matchers = this.#matchers(query.visible);
    const end = Math.min(query.end, this.#now() + SKEW_SECONDS);
    if (matchers === undefined || query.begin >= end) return;
    const oldest = await this.#oldest(signal);
    if (oldest === undefined) return;
    const begin = Math.max(query.begin, oldest - period);
    if (begin >= end) return;
    const isVisible = ownerTest(query.visible);
    const range = { from: nanoseconds(begin) + 1n, to: nanoseconds(end + period) };
    let open: Found[] = [];
    for await (const entries of this.#client.entries({ matchers }, range, signal)) {
      for (const { line } of entries) {
        const found = readFound(line, key);
        if (found.end - found.begin > period) throw tooLong(found, period);
        if (found.begin < begin || found.begin >= end) continue;
        if (isVisible({ source, scope: { key, id: found.scope } })) open.push(found);
      }
      // No later line is about a period that began before this.
      const settled = Number(entries.at(-1)!.time / 1_000_000_000n) - period;
      const whole = open.filter((found) => found.begin < settled);
      open = open.filter((found) => found.begin >= settled);
      if (whole.length > 0) yield await this.#withoutHidden(this.#frames(whole), signal);
    }
    if (open.length > 0) yield await this.#withoutHidden(this.#frames(open), signal);
  }

  /** No line is older than this; undefined when there is none. Years are looked through once, in Loki's index. */
  async #oldest(signal: AbortSignal): Promise<Instant | undefined> {
    if (this.#isFound) return this.#first;
    const now = this.#now();
    const range = { from: nanoseconds(this.#first), to: nanoseconds(now + SKEW_SECONDS) };
    const found = await this.#client.firstPart(this.#theirs(), range, signal);
    this.#isFound = found !== undefined;
    this.#first = found === undefined ? now - OLDEST_SECONDS : Number(found.from / 1_000_000_000n);
    return this.#isFound ? this.#first : undefined;
  }

  #now(): Instant {
    return Math.floor(this.#clock.now() / 1000);
  }

  #theirs(): readonly string[] {
    return [...matchersOf(this.#options.stream), labelIs(KIND_LABEL, '')];
  }

  /** Undefined when no line can be visible. */
  #matchers(visible: VisibleScopes): readonly string[] | undefined {
    const { source, scope_key: key, stream } = this.#options;
    const theirs = this.#theirs();
    if (visible === 'all') return theirs;
    const ids = visible
      .filter((selector) => selector.key === key && (selector.source ?? source) === source)
      .map(({ id }) => id);
    if (ids.length === 0) return undefined;
    if (key !== PROJECT_LABEL || PROJECT_LABEL in stream || ids.length > MAX_NAMES) return theirs;
    // What is no whole text here is no whole text there either.
    const project = labelIsAnyOf(PROJECT_LABEL, ids);
    return project.length > MAX_MATCHER_CHARACTERS ? theirs : [...theirs, project];
  }

  #frames(found: readonly Found[]): readonly StoredFrame[] {
    const { source, scope_key: key } = this.#options;
    const frames = new Map<
      string,
      { end: Instant; readonly begin: Instant; readonly id: string; readonly points: RatedPoint[] }
    >();
    for (const { begin, end, scope, point } of found) {
      const name = `${begin} ${scope}`;
      const frame = frames.get(name) ?? { begin, end, id: scope, points: [] };
      frame.end = Math.max(frame.end, end);
      frame.points.push(point);
      frames.set(name, frame);
    }
    return [...frames.values()]
      .map(({ begin, end, id, points }) => ({
        source,
        scope: { key, id },
        period: { begin, end },
        points: inOrder(points),
        gaps: [],
        snapshot: '',
      }))
      .sort((left, right) =>
        comparePeriods({ ...left, begin: left.period.begin }, { ...right, begin: right.period.begin }),
      );
  }

  async #withoutHidden(frames: readonly StoredFrame[], signal: AbortSignal): Promise<readonly StoredFrame[]> {
    const { source, scope_key: key } = this.#options;
    const ids = [...new Set(frames.map(({ scope }) => scope.id))];
    const visible = ids.map((id) => ({ source, key, id }));
    const [begin, end] = [frames[0]!.period.begin, frames.at(-1)!.period.begin + 1];
    const hidden = new Set<string>();
    for await (const markers of readMarkers(this.#database, { visible, begin, end }, signal))
      for (const marker of markers) hidden.add(`${marker.begin} ${marker.scope.id}`);
    return frames.filter(({ period, scope }) => !hidden.has(`${period.begin} ${scope.id}`));
  }
}

/** Loki gives lines of one time in no certain order. */
function inOrder(points: readonly RatedPoint[]): readonly RatedPoint[] {
  return points
    .map((point) => {
      const { descriptor, quantity, price } = point;
      return { point, key: `${canonicalDescriptor(descriptor)} ${quantity} ${price}` };
    })
    .sort(
      (left, right) =>
        compareText(left.point.descriptor.metric, right.point.descriptor.metric) ||
        compareText(left.key, right.key),
    )
    .map(({ point }) => point);
}

function tooLong({ begin, end, scope }: Found, period: number): Error {
  return damaged(
    `a line of CloudKitty about '${scope}' has a period of ${end - begin} seconds from ${new Date(begin * 1000).toISOString()}, and reference.period says at most ${period}`,
  );
}

function readFound(line: string, scopeKey: string): Found {
  const said = parsed(line);
  const [begin, end] = [instantOf(said?.start), instantOf(said?.end)];
  if (said === undefined || begin === undefined || end === undefined)
    throw damaged(
      `the stream of CloudKitty holds ${JSON.stringify(line.slice(0, 120))}, which is no point of a period`,
    );
  const descriptor = {
    metric: textOf(said.type),
    unit: textOf(said.unit),
    description: typeof said.description === 'string' ? said.description : undefined,
    groupby: attributesOf(said.groupby, CALENDAR),
    metadata: attributesOf(said.metadata, new Set()),
  };
  const point = { descriptor, quantity: numberOf(said.qty), price: numberOf(said.price) };
  return { begin, end, scope: scopeOf(descriptor, scopeKey), point };
}

function parsed(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function scopeOf({ groupby, metadata }: Descriptor, key: string): string {
  return attributeText(groupby.get(key) ?? metadata.get(key));
}

/** A time with a zone; without one it is UTC. */
function instantOf(value: unknown): Instant | undefined {
  if (typeof value !== 'string') return undefined;
  const hasZone = /(Z|[+-]\d\d:?\d\d)$/i.test(value);
  const time = Date.parse(hasZone ? value : `${value}Z`);
  return Number.isNaN(time) ? undefined : Math.floor(time / 1000);
}

function attributesOf(value: unknown, without: ReadonlySet<string>): Attributes {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return Attributes.EMPTY;
  const entries = Object.entries(value).filter(([name]) => !without.has(name));
  return Attributes.of(
    entries.map(([name]) => name),
    entries.map(([, item]) => attributeOf(item)),
  );
}

function attributeOf(value: unknown): AttributeValue {
  if (typeof value === 'number') return numberOf(value);
  if (typeof value === 'string' || typeof value === 'boolean' || value === null) return value;
  if (Array.isArray(value)) return value.map(attributeOf);
  return Object.fromEntries(Object.entries(value as object).map(([name, item]) => [name, attributeOf(item)]));
}

/** The shortest decimal that reads back as the same float: 0.1 is 0.1. */
function numberOf(value: unknown): Decimal {
  return typeof value === 'number' ? Decimal.parse(String(value)) : Decimal.ZERO;
}

function textOf(value: unknown): string {
  return value === undefined || value === null ? '' : String(value);
}
