import { inflateSync } from 'node:zlib';
import type { Instant, SqlValue } from '../plugin-api/index.js';
import { optionalNumber, optionalText, type SourceSchema } from './source-schema.js';

/** A script that is not deleted. */
export interface SourceScript {
  readonly id: string;
  readonly name: string;
  readonly data: string;
  readonly description: string | undefined;
  readonly start: Instant;
  readonly end: Instant | undefined;
  readonly createdAt: Instant | undefined;
  readonly createdBy: string | undefined;
}

/** 2014-01-01: what CloudKitty gives scripts that are older than their dates. */
const FIRST_START = 1_388_534_400;

export interface SourceScripts {
  readonly scripts: readonly SourceScript[];
  readonly deleted: number;
}

/** Scripts in the order in which they run. */
export async function readScripts(schema: SourceSchema): Promise<SourceScripts> {
  const table = 'pyscripts_scripts';
  const rows = await schema.rows(
    table,
    [
      'name',
      'data',
      schema.column(table, 'description'),
      schema.instant(table, 'start'),
      schema.instant(table, 'end'),
      schema.instant(table, 'created_at'),
      schema.column(table, 'created_by'),
      schema.column(table, 'deleted'),
      'script_id',
    ],
    'id',
  );
  const alive = rows.filter((row) => row[7] === null);
  return {
    deleted: rows.length - alive.length,
    scripts: alive.map(([name, data, description, start, end, createdAt, createdBy, , id]) => ({
      id: String(id),
      name: String(name),
      data: sourceText(data),
      description: optionalText(description),
      start: optionalNumber(start) ?? FIRST_START,
      end: optionalNumber(end),
      createdAt: optionalNumber(createdAt),
      createdBy: optionalText(createdBy),
    })),
  };
}

/** Compressed, except by hands that wrote the table directly. */
function sourceText(data: SqlValue | undefined): string {
  const bytes = data instanceof Uint8Array ? Buffer.from(data) : Buffer.from(String(data ?? ''));
  try {
    return inflateSync(bytes).toString('utf8');
  } catch {
    return bytes.toString('utf8');
  }
}
