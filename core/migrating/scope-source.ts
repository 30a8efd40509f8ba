import type { Instant } from '../plugin-api/index.js';
import type { NewestFrame } from './rated-rows.js';
import { optionalNumber, optionalText, type SourceSchema } from './source-schema.js';

/** How far CloudKitty has rated a scope. */
export interface SourceScope {
  readonly id: string;
  /** Begin of the newest period that is rated. */
  readonly lastBegin: Instant;
  readonly active: boolean;
  readonly toggledAt: Instant | undefined;
}

/** What the scopes of a pipeline are known by. */
export interface PipelineNames {
  readonly scopeKey: string;
  readonly fetcher: string;
  readonly collector: string;
}

export interface SourceScopes {
  readonly scopes: readonly SourceScope[];
  /** States of scopes with another key, which belong to another pipeline. */
  readonly ofOtherKeys: number;
}

/** A window that CloudKitty has not finished rating anew. */
export interface SourceReprocess {
  readonly scopeId: string;
  readonly begin: Instant;
  readonly end: Instant;
  readonly reason: string;
}

interface StateRow extends SourceScope {
  readonly key: string | undefined;
  readonly fetcher: string | undefined;
  readonly collector: string | undefined;
}

/**
 * The scopes of a pipeline: of the state table in any of its schemas, of the hybrid storage's, and those that only have
 * frames. Where several states have one id, that of the pipeline's fetcher and collector counts, then the newest.
 */
export async function readScopes(
  schema: SourceSchema,
  names: PipelineNames,
  newest: readonly NewestFrame[],
): Promise<SourceScopes> {
  const states = [...(await stateRows(schema)), ...(await hybridRows(schema))];
  const own = states.filter(({ key }) => key === undefined || key === names.scopeKey);
  const scopes = new Map<string, StateRow>();
  for (const state of own) {
    const other = scopes.get(state.id);
    if (other === undefined || isBetter(state, other, names)) scopes.set(state.id, state);
  }
  for (const { scopeId, begin } of newest) {
    if (scopes.has(scopeId)) continue;
    const missing = { key: undefined, fetcher: undefined, collector: undefined, toggledAt: undefined };
    scopes.set(scopeId, { id: scopeId, lastBegin: begin, active: true, ...missing });
  }
  return {
    scopes: [...scopes.values()].map(({ id, lastBegin, active, toggledAt }) => ({
      id,
      lastBegin,
      active,
      toggledAt,
    })),
    ofOtherKeys: states.length - own.length,
  };
}

async function stateRows(schema: SourceSchema): Promise<readonly StateRow[]> {
  const table = 'cloudkitty_storage_states';
  if (!schema.has(table)) return [];
  const last =
    schema.type(table, 'last_processed_timestamp') === undefined ? 'state' : 'last_processed_timestamp';
  const rows = await schema.rows(
    table,
    [
      'identifier',
      schema.instant(table, last),
      schema.column(table, 'active', '1'),
      schema.instant(table, 'scope_activation_toggle_date'),
      schema.column(table, 'scope_key'),
      schema.column(table, 'fetcher'),
      schema.column(table, 'collector'),
    ],
    'id',
  );
  return rows
    .filter((row) => row[1] !== null)
    .map(([id, lastBegin, active, toggledAt, key, fetcher, collector]) => ({
      id: optionalText(id)!,
      lastBegin: Number(lastBegin),
      active: active === null || Number(active) !== 0,
      toggledAt: optionalNumber(toggledAt),
      key: optionalText(key),
      fetcher: optionalText(fetcher),
      collector: optionalText(collector),
    }));
}

async function hybridRows(schema: SourceSchema): Promise<readonly StateRow[]> {
  const table = 'hybrid_storage_states';
  // Where both are there, the newer table took over from this one.
  if (!schema.has(table) || schema.has('cloudkitty_storage_states')) return [];
  const rows = await schema.rows(table, ['tenant_id', schema.instant(table, 'state')], 'id');
  return rows
    .filter((row) => row[1] !== null)
    .map(([id, lastBegin]) => ({
      id: optionalText(id)!,
      lastBegin: Number(lastBegin),
      active: true,
      toggledAt: undefined,
      key: undefined,
      fetcher: undefined,
      collector: undefined,
    }));
}

function isBetter(state: StateRow, other: StateRow, names: PipelineNames): boolean {
  const difference = fit(state, names) - fit(other, names);
  return difference > 0 || (difference === 0 && state.lastBegin > other.lastBegin);
}

function fit({ fetcher, collector }: StateRow, names: PipelineNames): number {
  return Number(fetcher === names.fetcher) + Number(collector === names.collector);
}

/** Windows that are not finished, from the period on that comes next. The progress is the begin of the last one done. */
export async function readReprocesses(
  schema: SourceSchema,
  periodSeconds: number,
): Promise<readonly SourceReprocess[]> {
  const table = 'storage_scope_reprocessing_schedule';
  const rows = await schema.rows(
    table,
    [
      'identifier',
      schema.instant(table, 'start_reprocess_time'),
      schema.instant(table, 'end_reprocess_time'),
      schema.instant(table, 'current_reprocess_time'),
      'reason',
    ],
    'id',
  );
  return rows
    .map(([id, begin, end, current, reason]) => ({
      scopeId: optionalText(id)!,
      begin: current === null ? Number(begin) : Number(current) + periodSeconds,
      end: Number(end),
      reason: optionalText(reason) ?? '',
    }))
    .filter(({ begin, end }) => begin < end);
}
