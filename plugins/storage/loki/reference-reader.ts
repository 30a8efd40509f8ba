import type {
  Clock,
  Instant,
  SqlDatabase,
  StoredFrame,
  VisibleScopes,
} from '../../../core/plugin-api/index.js';
import { type Owner, ownerTest } from '../../shared/outside-storage/owner.js';
import type { PeriodQuery } from '../../shared/outside-storage/period-reader.js';
import {
  type ReferenceOwner,
  type ReferencePoint,
  readReferencePoint,
  referenceFrames,
} from '../../shared/outside-storage/reference-documents.js';
import type { LokiClient } from './client.js';
import { damaged } from './failures.js';
import { DAY_SECONDS, KIND_LABEL, type Labels, MAX_NAMES, matchersOf, nanoseconds } from './layout.js';
import { labelIs, labelIsAnyOf } from './logql.js';
import { readMarkers } from './period-table.js';

/** How lines that CloudKitty wrote are looked at. */
export interface ReferenceOptions extends ReferenceOwner {
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
    let open: ReferencePoint[] = [];
    for await (const entries of this.#client.entries({ matchers }, range, signal)) {
      for (const { line } of entries) {
        const found = readLine(line, key);
        if (found.end - found.begin > period) throw tooLong(found, period);
        if (found.begin < begin || found.begin >= end) continue;
        if (isVisible({ source, scope: { key, id: found.scope } })) open.push(found);
      }
      const last = entries.at(-1);
      // Lines may expire between two requests.
      if (last === undefined) continue;
      // No later line is about a period that began before this.
      const settled = Number(last.time / 1_000_000_000n) - period;
      const whole = open.filter((found) => found.begin < settled);
      open = open.filter((found) => found.begin >= settled);
      if (whole.length > 0) yield await this.#withoutHidden(referenceFrames(whole, this.#options), signal);
    }
    if (open.length > 0) yield await this.#withoutHidden(referenceFrames(open, this.#options), signal);
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
    // Lines of older releases, and those whose project is metadata, have no such label.
    const project = labelIsAnyOf(PROJECT_LABEL, ['', ...ids]);
    return project.length > MAX_MATCHER_CHARACTERS ? theirs : [...theirs, project];
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

function tooLong({ begin, end, scope }: ReferencePoint, period: number): Error {
  return damaged(
    `a line of CloudKitty about '${scope}' has a period of ${end - begin} seconds from ${new Date(begin * 1000).toISOString()}, and reference.period says at most ${period}`,
  );
}

function readLine(line: string, scopeKey: string): ReferencePoint {
  const said = parsed(line);
  const found = said && readReferencePoint(said, scopeKey);
  if (found !== undefined) return found;
  throw damaged(
    `the stream of CloudKitty holds ${JSON.stringify(line.slice(0, 120))}, which is no point of a period`,
  );
}

function parsed(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
