import {
  Attributes,
  type AttributeValue,
  Decimal,
  type Instant,
  type RatedPoint,
  type StoredFrame,
  type VisibleScopes,
} from '../../../core/plugin-api/index.js';
import { CALENDAR_TAGS } from '../../shared/outside-storage/calendar-tags.js';
import { comparePeriods, ownerTest } from '../../shared/outside-storage/owner.js';
import type { Cell, InfluxClient, Rows } from './client.js';
import { anyOf, equals, POINTS, SOURCE_TAG } from './layout.js';
import { type MarkerReader, range } from './marker-reader.js';
import { MAX_CONDITIONS } from './visible.js';
import { tagText } from './wire-text.js';

const PAGE = 10_000;
const CALENDAR: ReadonlySet<string> = new Set(CALENDAR_TAGS);
/** Length of a period that was stored by a CloudKitty which did not say it: its default. */
const DEFAULT_SECONDS = 3600;

/** How points that CloudKitty wrote are looked at. */
export interface ReferenceOptions {
  /** The source they are shown under. */
  readonly source: string;
  /** The attribute that names their scope. */
  readonly scope_key: string;
}

/**
 * The condition of points without a tag of Ratecat; undefined when none of them can be visible. A list of more than
 * `MAX_CONDITIONS` scopes does not narrow it: whoever deletes gives shorter ones.
 */
export function referenceCondition(
  { source, scope_key }: ReferenceOptions,
  visible: VisibleScopes,
): string | undefined {
  const foreign = equals(SOURCE_TAG, '');
  if (visible === 'all') return foreign;
  const ids = visible
    .filter((selector) => selector.key === scope_key && (selector.source ?? source) === source)
    .filter(({ id }) => tagText(id) === id) // no tag of CloudKitty is anything else
    .map(({ id }) => equals(scope_key, id));
  if (ids.length === 0) return undefined;
  return ids.length > MAX_CONDITIONS ? foreign : `${foreign} AND ${anyOf(ids)}`;
}

/** Reads points that CloudKitty wrote, as far as nothing of Ratecat has taken their place. */
export class ReferenceReader {
  readonly #client: InfluxClient;
  readonly #markers: MarkerReader;
  readonly #options: ReferenceOptions;

  constructor(client: InfluxClient, markers: MarkerReader, options: ReferenceOptions) {
    this.#client = client;
    this.#markers = markers;
    this.#options = options;
  }

  /** Frames in order; each page ends with an instant. */
  async *read(
    {
      visible,
      begin,
      end,
    }: { readonly visible: VisibleScopes; readonly begin: Instant; readonly end: Instant },
    signal: AbortSignal,
  ): AsyncGenerator<readonly StoredFrame[]> {
    const condition = referenceCondition(this.#options, visible);
    if (condition === undefined) return;
    const isVisible = ownerTest(visible);
    for (let from = begin; from < end; ) {
      let rows = await this.#rows([...range(from, end), condition], PAGE, signal);
      const times = timesOf(rows);
      const last = times.at(-1);
      if (rows.values.length < PAGE || last === undefined) from = end;
      else if (times[0] === last) {
        rows = await this.#rows([...range(last, last + 1), condition], undefined, signal);
        from = last + 1;
      } else {
        rows = { ...rows, values: rows.values.filter((_row, index) => times[index]! < last) };
        from = last;
      }
      const frames = this.#frames(rows).filter(isVisible);
      yield await this.#withoutReplaced(frames, signal);
    }
  }

  async #rows(conditions: readonly string[], limit: number | undefined, signal: AbortSignal): Promise<Rows> {
    const statement = `SELECT * FROM ${this.#client.source(POINTS)} WHERE ${conditions.join(' AND ')}`;
    const [rows] = await this.#client.query(
      [limit === undefined ? statement : `${statement} LIMIT ${limit}`],
      signal,
    );
    return rows!;
  }

  #frames(rows: Rows): readonly StoredFrame[] {
    const cellsOf = rowReader(rows);
    const frames = new Map<string, StoredFrame & { readonly points: RatedPoint[] }>();
    for (const row of rows.values) {
      const cell = cellsOf(row);
      const begin = cell('time') as Instant;
      const id = textOf(cell(this.#options.scope_key));
      const key = `${begin} ${id}`;
      let frame = frames.get(key);
      if (frame === undefined) {
        const seconds = Number(cell('__ck_collect_period') ?? DEFAULT_SECONDS);
        frame = {
          source: this.#options.source,
          scope: { key: this.#options.scope_key, id },
          period: { begin, end: begin + seconds },
          points: [],
          gaps: [],
          snapshot: '',
        };
        frames.set(key, frame);
      }
      frame.points.push(pointOf(cell));
    }
    for (const { points } of frames.values()) points.sort(byMetric);
    return [...frames.values()].sort((left, right) =>
      comparePeriods({ ...left, begin: left.period.begin }, { ...right, begin: right.period.begin }),
    );
  }

  async #withoutReplaced(
    frames: readonly StoredFrame[],
    signal: AbortSignal,
  ): Promise<readonly StoredFrame[]> {
    const [first, last] = [frames[0], frames.at(-1)];
    if (first === undefined || last === undefined) return frames;
    const { source, scope_key: key } = this.#options;
    const ids = [...new Set(frames.map(({ scope }) => scope.id))];
    const visible = ids.map((id) => ({ source, key, id }));
    const replaced = new Set<string>();
    const query = { visible, begin: first.period.begin, end: last.period.begin + 1 };
    for await (const markers of this.#markers.read(query, signal)) {
      for (const { begin, scope, state } of markers)
        if (state.committed !== undefined) replaced.add(`${begin} ${scope.id}`);
    }
    return frames.filter(({ period, scope }) => !replaced.has(`${period.begin} ${scope.id}`));
  }
}

type CellReader = (name: string) => Cell;

function rowReader({ columns }: Rows): (row: readonly Cell[]) => CellReader {
  const places = new Map(columns.map((name, place) => [name, place]));
  return (row) => (name) => {
    const place = places.get(name);
    return place === undefined ? null : (row[place] ?? null);
  };
}

function timesOf({ columns, values }: Rows): readonly Instant[] {
  const place = columns.indexOf('time');
  return values.map((row) => row[place] as Instant);
}

function pointOf(cell: CellReader): RatedPoint {
  const description = cell('description');
  const groupby = keysOf(cell('groupby')).filter((name) => !CALENDAR.has(name));
  return {
    descriptor: {
      metric: textOf(cell('type')),
      unit: textOf(cell('unit')),
      description: description === null ? undefined : textOf(description),
      groupby: attributesOf(groupby, cell),
      metadata: attributesOf(keysOf(cell('metadata')), cell),
    },
    quantity: numberOf(cell('qty')),
    price: numberOf(cell('price')),
  };
}

function keysOf(joined: Cell): readonly string[] {
  const text = textOf(joined);
  return text === '' ? [] : [...new Set(text.split('|'))];
}

function attributesOf(names: readonly string[], cell: CellReader): Attributes {
  return Attributes.of(
    names,
    names.map((name): AttributeValue => {
      const value = cell(name);
      if (value === null) return '';
      return typeof value === 'number' ? numberOf(value) : value;
    }),
  );
}

/** The shortest decimal that reads back as the same float: 0.1 is 0.1. */
function numberOf(value: Cell): Decimal {
  return typeof value === 'number' ? Decimal.parse(String(value)) : Decimal.ZERO;
}

function textOf(value: Cell): string {
  return value === null ? '' : String(value);
}

function byMetric(left: RatedPoint, right: RatedPoint): number {
  const [one, other] = [left.descriptor.metric, right.descriptor.metric];
  return one < other ? -1 : one > other ? 1 : 0;
}
