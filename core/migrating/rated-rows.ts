import {
  DataError,
  Decimal,
  type Instant,
  type Period,
  type SqlRow,
  type SqlValue,
} from '../plugin-api/index.js';
import { shortestSingle } from './single-float.js';
import type { SourceDatabase } from './source-database.js';
import { dateText, optionalText, type SourceSchema } from './source-schema.js';

/** What CloudKitty writes for a period without usage; such rows only say that the period was processed. */
const NO_DATA = '_NO_DATA_';
const TABLE = 'rated_data_frames';
const DAY = 86_400;
const END_OF_TIME = 2 ** 40;

/** A rated point as CloudKitty keeps it. */
export interface RatedRow {
  readonly metric: string;
  readonly unit: string;
  readonly quantity: Decimal;
  readonly price: Decimal;
  /** Metadata overlaid by groupby, as JSON. */
  readonly description: string;
}

/** All points of one scope and period. */
export interface RatedUnit {
  readonly scopeId: string;
  readonly period: Period;
  readonly rows: readonly RatedRow[];
}

/** A point without what describes it. */
export interface RatedAmount {
  readonly scopeId: string;
  readonly begin: Instant;
  readonly metric: string;
  readonly quantity: Decimal;
  readonly price: Decimal;
  /** The price as the database adds it up. */
  readonly float: number;
}

/** Rows whose period begins in `[begin, end)`; absent: no limit. */
export interface RatedRange {
  readonly begin?: Instant | undefined;
  readonly end?: Instant | undefined;
}

/** Where a reader that stopped goes on: everything up to and with this unit has been read. */
export interface UnitPosition {
  readonly begin: Instant;
  readonly scopeId: string;
}

export interface NewestFrame extends Period {
  readonly scopeId: string;
}

/** Reads `rated_data_frames` in all its schemas: with or without tenant, indexes and whichever decimals. */
export class RatedRows {
  readonly #source: SourceDatabase;
  readonly #schema: SourceSchema;
  readonly #isSingle: boolean;

  constructor(source: SourceDatabase, schema: SourceSchema) {
    this.#source = source;
    this.#schema = schema;
    this.#isSingle = source.engine === 'mysql' && schema.type(TABLE, 'rate') === 'float';
  }

  get exists(): boolean {
    return this.#schema.has(TABLE);
  }

  /** Number of points of a range, by whole days of UTC. */
  async count(range: RatedRange): Promise<number> {
    if (!this.exists) return 0;
    const { where, parameters } = conditions(range);
    const rows = await this.#source.query(`SELECT COUNT(*) FROM ${TABLE} ${where}`, parameters);
    return Number(rows[0]![0]);
  }

  /** The newest period of each scope, one without usage included. */
  async newest(): Promise<readonly NewestFrame[]> {
    if (!this.exists || this.#schema.type(TABLE, 'tenant_id') === undefined) return [];
    const rows = await this.#source.query(
      `SELECT MAX(tenant_id), ${this.#schema.seconds('MAX("begin")')}, ${this.#schema.seconds('MAX("end")')}
       FROM ${TABLE} WHERE tenant_id IS NOT NULL GROUP BY ${this.#schema.bytes('tenant_id')}`,
    );
    return rows.map(([scope, begin, end]) => ({
      scopeId: optionalText(scope)!,
      begin: Number(begin),
      end: Number(end),
    }));
  }

  /**
   * Units in order of begin, then of the scope id's bytes. Holds one unit at a time, or one begin where rows lack their tenant.
   * @throws DataError RATECAT_MIGRATE_ROW_INVALID
   */
  async *units(range: RatedRange, after?: UnitPosition): AsyncGenerator<RatedUnit, void, void> {
    const begin = after === undefined ? range.begin : Math.max(after.begin, range.begin ?? after.begin);
    for await (const unit of this.#grouped({ ...range, begin })) {
      if (after === undefined || isAfter(unit, after)) yield unit;
    }
  }

  /** Every point of a range in the engine's order, without its description. */
  async *amounts(range: RatedRange): AsyncGenerator<RatedAmount, void, void> {
    if (!this.exists) return;
    const { where, parameters } = conditions(range);
    const tenant = this.#schema.column(TABLE, 'tenant_id');
    const sql = `SELECT id, ${tenant}, ${this.#instant('begin')}, res_type, qty, rate,
      CASE WHEN ${tenant} IS NULL THEN "desc" END FROM ${TABLE} ${where}`;
    for await (const row of this.#source.iterate(sql, parameters)) {
      const [id, scope, begin, metric, quantity, price, description] = row;
      yield {
        scopeId: scopeOf(id, scope, description),
        begin: instantOf(id, begin),
        metric: String(metric),
        quantity: decimalOf(id, quantity, 'qty'),
        price: this.#price(id, price),
        float: Number(price),
      };
    }
  }

  async *#grouped(range: RatedRange): AsyncGenerator<RatedUnit, void, void> {
    let units = new Map<string, MutableUnit>();
    let begin: number | undefined;
    let isMixed = false;
    for await (const row of this.#ordered(range)) {
      const [id, tenant] = row;
      const at = instantOf(id, row[2]);
      const scopeId = scopeOf(id, tenant, row[8]);
      if (at !== begin) isMixed = tenant === null;
      const key = `${scopeId}\0${String(row[3])}`;
      if (at !== begin || !(isMixed || units.has(key))) {
        yield* inOrder(units);
        units = new Map();
      }
      begin = at;
      let unit = units.get(key);
      if (unit === undefined) {
        unit = { scopeId, period: { begin: at, end: instantOf(id, row[3]) }, rows: [] };
        units.set(key, unit);
      }
      unit.rows.push(this.#row(row));
    }
    yield* inOrder(units);
  }

  /** Rows in order of begin and tenant; those without tenant come first. */
  async *#ordered(range: RatedRange): AsyncGenerator<SqlRow, void, void> {
    const tenant = this.#schema.column(TABLE, 'tenant_id');
    const columns = `id, ${tenant}, ${this.#instant('begin')}, ${this.#instant('end')}, res_type, unit, qty, rate, "desc"`;
    const order = tenant === 'NULL' ? '"begin", id' : `"begin", ${this.#schema.bytes(tenant)}, id`;
    for (const window of await this.#windows(range)) {
      const { where, parameters } = conditions(window);
      yield* this.#source.iterate(`SELECT ${columns} FROM ${TABLE} ${where} ORDER BY ${order}`, parameters);
    }
  }

  /** Days where the engine finds them by an index, so that it never sorts more than one. */
  async #windows(range: RatedRange): Promise<readonly RatedRange[]> {
    if (!this.exists) return [];
    if (!(await this.#schema.isIndexed(TABLE, 'begin'))) return [range];
    const { where, parameters } = conditions(range);
    const [bounds] = await this.#source.query(
      `SELECT ${this.#schema.seconds('MIN("begin")')}, ${this.#schema.seconds('MAX("begin")')} FROM ${TABLE} ${where}`,
      parameters,
    );
    if (bounds?.[0] === null || bounds?.[0] === undefined) return [];
    const windows: RatedRange[] = [];
    const last = Number(bounds[1]);
    for (let begin = Number(bounds[0]); begin <= last; begin = nextDay(begin))
      windows.push({ begin, end: Math.min(nextDay(begin), last + 1) });
    return windows;
  }

  #instant(column: string): string {
    return this.#schema.instant(TABLE, column);
  }

  #row([id, , , , metric, unit, quantity, price, description]: SqlRow): RatedRow {
    return {
      metric: String(metric),
      unit: String(unit),
      quantity: decimalOf(id, quantity, 'qty'),
      price: this.#price(id, price),
      description: optionalText(description) ?? '',
    };
  }

  #price(id: SqlValue | undefined, value: SqlValue | undefined): Decimal {
    if (this.#isSingle && typeof value === 'number') return decimalOf(id, shortestSingle(value), 'rate');
    return decimalOf(id, value, 'rate');
  }
}

interface MutableUnit extends RatedUnit {
  readonly rows: RatedRow[];
}

/** What orders units: the order of the engine. */
export function compareBytes(left: string, right: string): number {
  return Buffer.compare(Buffer.from(left), Buffer.from(right));
}

function* inOrder(units: ReadonlyMap<string, RatedUnit>): Generator<RatedUnit, void, void> {
  if (units.size < 2) yield* units.values();
  else yield* [...units.values()].sort((left, right) => compareBytes(left.scopeId, right.scopeId));
}

function isAfter({ scopeId, period }: RatedUnit, after: UnitPosition): boolean {
  return period.begin > after.begin || compareBytes(scopeId, after.scopeId) > 0;
}

function nextDay(instant: Instant): Instant {
  return (Math.floor(instant / DAY) + 1) * DAY;
}

function conditions({ begin, end }: RatedRange): { where: string; parameters: readonly string[] } {
  const parts = [`res_type <> '${NO_DATA}'`];
  const parameters: string[] = [];
  if (begin !== undefined) {
    parts.push('"begin" >= ?');
    parameters.push(dateText(begin));
  }
  if (end !== undefined && end < END_OF_TIME) {
    parts.push('"begin" < ?');
    parameters.push(dateText(end));
  }
  return { where: `WHERE ${parts.join(' AND ')}`, parameters };
}

/** Rows of the first release have no tenant beside the description. */
function scopeOf(
  id: SqlValue | undefined,
  tenant: SqlValue | undefined,
  description: SqlValue | undefined,
): string {
  const named = optionalText(tenant);
  if (named !== undefined && named !== '') return named;
  try {
    const { project_id: project, tenant_id: other } = JSON.parse(optionalText(description) ?? '{}') ?? {};
    const found = project ?? other;
    if (typeof found === 'string' && found !== '') return found;
  } catch {
    // Told below.
  }
  throw invalid(id, 'it names no tenant, neither in tenant_id nor in its description');
}

function instantOf(id: SqlValue | undefined, value: SqlValue | undefined): Instant {
  if (typeof value === 'number') return value;
  throw invalid(id, 'begin or end is no date');
}

function decimalOf(id: SqlValue | undefined, value: SqlValue | undefined, column: string): Decimal {
  const decimal = value === null || value === undefined ? undefined : Decimal.tryParse(String(value));
  if (decimal !== undefined) return decimal;
  throw invalid(id, `${column} is ${String(value).slice(0, 40)}, not a number`);
}

function invalid(id: SqlValue | undefined, problem: string): DataError {
  return new DataError(
    'RATECAT_MIGRATE_ROW_INVALID',
    `The row of rated_data_frames with id ${String(id)} cannot be taken over: ${problem}. Correct or delete it in CloudKitty's ` +
      'database, or leave its time out with --since and --until; the next run goes on where this one stopped.',
  );
}
