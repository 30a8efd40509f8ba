import type { Clock, Instant, PointQuery, SqlDatabase } from '../../../core/plugin-api/index.js';
import type { Owner } from '../../shared/outside-storage/owner.js';
import { ownerKey } from '../../shared/outside-storage/owner.js';
import type { PeriodReader } from '../../shared/outside-storage/period-reader.js';
import { thinPeriods } from '../../shared/outside-storage/thin-periods.js';
import { addUseless } from './leftover-table.js';
import { hidePeriods, type LokiPeriod, periodConditions } from './period-table.js';
import type { PeriodWriter } from './period-writer.js';
import type { ReferenceReader } from './reference-reader.js';
import { lockScope, lockScopeRows, visibleRows } from './scope-table.js';

export interface PeriodRemoverParts {
  readonly database: SqlDatabase;
  readonly periods: PeriodReader<LokiPeriod>;
  readonly writer: PeriodWriter;
  readonly reference: ReferenceReader | undefined;
  readonly clock: Clock;
}

/** Removes periods, or single points of them. */
export class PeriodRemover {
  readonly #parts: PeriodRemoverParts;

  constructor(parts: PeriodRemoverParts) {
    this.#parts = parts;
  }

  async remove(query: PointQuery, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (query.visible.length === 0 || query.begin >= query.end) return;
    const { periods, writer } = this.#parts;
    const isWhole = query.metrics === undefined && (query.filters ?? []).length === 0;
    if (isWhole) await this.#removePeriods(query, signal);
    else await thinPeriods(periods, (frame) => writer.replace(frame, frame, signal), query, signal);
  }

  /** Readers stop seeing all of them at once; the points are left over. */
  async #removePeriods(query: PointQuery, signal: AbortSignal): Promise<void> {
    const { database, clock } = this.#parts;
    const hidden = await this.#readable(query, signal);
    await database.transaction(async (tx) => {
      const scopes = await visibleRows(tx, query.visible);
      await lockScopeRows(tx, scopes);
      if (scopes.length > 0) {
        const conditions = periodConditions(scopes, query);
        await addUseless(tx, conditions, Math.floor(clock.now() / 1000));
        // Hidden periods stay so.
        await tx.execute(
          `DELETE FROM ratecat_loki_periods ${conditions.where} AND version IS NOT NULL`,
          conditions.parameters,
        );
      }
      for (const { owner, begins } of hidden) await hidePeriods(tx, await lockScope(tx, owner), begins);
    }, signal);
  }

  /** Periods that CloudKitty stored, and those of Ratecat that may have taken the place of such. */
  async #readable(
    query: PointQuery,
    signal: AbortSignal,
  ): Promise<readonly { readonly owner: Owner; readonly begins: readonly Instant[] }[]> {
    const { reference, periods } = this.#parts;
    if (reference === undefined) return [];
    const owners = new Map<string, { readonly owner: Owner; readonly begins: Instant[] }>();
    for await (const { source, scope, begin } of periods.periods(query, signal)) {
      const owner = { source, scope };
      if (!reference.mayHave(owner)) continue;
      const known = owners.get(ownerKey(owner)) ?? { owner, begins: [] };
      known.begins.push(begin);
      owners.set(ownerKey(owner), known);
    }
    return [...owners.values()];
  }
}
