import { randomInt } from 'node:crypto';
import type { Calendar, SqlDatabase, SqlTransaction } from '../../../core/plugin-api/index.js';
import { Conditions, chunks } from '../../shared/sql-conditions.js';
import { MetricAttributes } from './constant-attributes.js';
import { DESCRIPTOR_COLUMNS, toDescriptor } from './descriptor-reader.js';
import { MAX_REVISION } from './descriptor-writer.js';
import { daysOf } from './range-plan.js';
import { digest } from './stored-values.js';

const STEP = 1_000;
/** A scope that is written all the time is left for the next time. */
const MAX_ATTEMPTS = 3;

interface Orphans {
  /** Of the scope's row when the orphans were looked up. */
  writes: number;
  readonly ids: number[];
}

/**
 * Removes descriptors that no day uses any more. What they had in common is noted, because sums of metrics may still be
 * grouped by it.
 */
export class DescriptorSweeper {
  readonly #database: SqlDatabase;
  readonly #calendar: Calendar;
  /** Found by the call before. */
  #found: { readonly scope: number; readonly orphans: Orphans } | undefined;

  constructor(database: SqlDatabase, calendar: Calendar) {
    this.#database = database;
    this.#calendar = calendar;
  }

  async step(scope: number, signal: AbortSignal): Promise<number> {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const orphans = this.#found?.scope === scope ? this.#found.orphans : await this.#find(scope, signal);
      if (orphans === undefined || orphans.ids.length === 0) break;
      this.#found = undefined;
      const ids = orphans.ids.slice(0, STEP);
      const isRemoved = await this.#database.transaction(
        (tx) => removeDescriptors(tx, scope, orphans.writes, ids),
        signal,
      );
      if (!isRemoved) continue;
      this.#found = { scope, orphans: { writes: orphans.writes + 1, ids: orphans.ids.slice(STEP) } };
      return ids.length;
    }
    this.#found = undefined;
    return 0;
  }

  async #find(scope: number, signal: AbortSignal): Promise<Orphans | undefined> {
    const rows = await this.#database.query('SELECT writes FROM ratecat_sql_scopes WHERE id = ?', [scope]);
    if (rows[0] === undefined) return undefined;
    const used = new Set<number>();
    for (const month of await this.#months(scope)) {
      signal.throwIfAborted();
      const conditions = new Conditions().addIn('day', daysOf(month)).add('scope = ?', scope);
      const sql = `SELECT DISTINCT descriptor FROM ratecat_sql_daily ${conditions.where}`;
      for await (const [id] of this.#database.iterate(sql, conditions.parameters, signal))
        used.add(Number(id));
    }
    const ids: number[] = [];
    const sql = 'SELECT id FROM ratecat_sql_descriptors WHERE scope = ?';
    for await (const [id] of this.#database.iterate(sql, [scope], signal))
      if (!used.has(Number(id))) ids.push(Number(id));
    return { writes: Number(rows[0][0]), ids };
  }

  /** Months from the scope's first period on. */
  async #months(scope: number): Promise<readonly number[]> {
    const rows = await this.#database.query(
      'SELECT MIN(period_begin), MAX(period_begin) FROM ratecat_sql_frames WHERE scope = ?',
      [scope],
    );
    const [first, last] = rows[0]!;
    const months: number[] = [];
    if (first === null || first === undefined) return months;
    for (let at = Number(first); at <= Number(last); at = this.#calendar.slice(at, 'month').end)
      months.push(this.#calendar.month(at));
    return months;
  }
}

/** False when somebody wrote the scope since: one of the descriptors may be in use again. */
async function removeDescriptors(
  tx: SqlTransaction,
  scope: number,
  writes: number,
  ids: readonly number[],
): Promise<boolean> {
  // A new revision: whoever remembers descriptors looks them up again.
  const locked = await tx.execute(
    'UPDATE ratecat_sql_scopes SET writes = writes + 1, revision = ? WHERE id = ? AND writes = ?',
    [randomInt(1, MAX_REVISION), scope, writes],
  );
  if (locked.affected === 0) return false;
  const metrics = await droppedAttributes(tx, scope);
  for (const some of chunks(ids)) {
    const conditions = new Conditions().addIn('d.id', some);
    const rows = await tx.query(
      `SELECT ${DESCRIPTOR_COLUMNS} FROM ratecat_sql_descriptors d ${conditions.where}`,
      conditions.parameters,
    );
    for (const row of rows) {
      const descriptor = toDescriptor(row);
      const attributes = metrics.get(descriptor.metric) ?? new MetricAttributes();
      attributes.add(descriptor);
      metrics.set(descriptor.metric, attributes);
    }
    const named = new Conditions().addIn('id', some);
    await tx.execute(`DELETE FROM ratecat_sql_descriptors ${named.where}`, named.parameters);
  }
  await tx.insertRows({
    table: 'ratecat_sql_dropped',
    columns: ['scope', 'metric_hash', 'metric', 'attributes'],
    rows: [...metrics].map(([metric, attributes]) => [scope, digest(metric), metric, attributes.toText()]),
    onConflict: { key: ['scope', 'metric_hash'], replace: ['attributes'] },
  });
  return true;
}

async function droppedAttributes(tx: SqlTransaction, scope: number): Promise<Map<string, MetricAttributes>> {
  const rows = await tx.query('SELECT metric, attributes FROM ratecat_sql_dropped WHERE scope = ?', [scope]);
  return new Map(
    rows.map(([metric, text]) => {
      const attributes = new MetricAttributes();
      attributes.addText(String(text));
      return [String(metric), attributes];
    }),
  );
}
