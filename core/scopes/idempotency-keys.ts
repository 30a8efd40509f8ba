import { createHash } from 'node:crypto';
import {
  DataError,
  type Instant,
  type SqlDatabase,
  type SqlReader,
  type SqlTransaction,
} from '../plugin-api/index.js';

/** How long a key is remembered; a client that repeats a call later than this repeats its effect. */
const KEPT_SECONDS = 7 * 86_400;

/** A call that its sender may repeat without repeating its effect. */
export interface IdempotentCall {
  /** Who calls, what, and under which key: two callers never share a key. */
  readonly identity: string;
  /** Digest of what is asked for. */
  readonly content: string;
}

export function idempotentCall(
  caller: readonly (string | undefined)[],
  key: string,
  body: Uint8Array,
): IdempotentCall {
  return {
    identity: digest(JSON.stringify([...caller.map((part) => part ?? null), key])),
    content: digest(body),
  };
}

/**
 * Takes the key inside the transaction that has the effect: key and effect are stored together or not at all. Of two calls
 * with one key the later waits here for the earlier.
 * @throws DataError RATECAT_IDEMPOTENCY_CONFLICT when the key was used for something else.
 */
export async function claimKey(
  tx: SqlTransaction,
  call: IdempotentCall,
  now: Instant,
): Promise<'first' | 'repeated'> {
  await tx.insertRows({
    table: 'ratecat_idempotency',
    columns: ['identity', 'content', 'uses', 'created_at'],
    rows: [[call.identity, call.content, 1, now]],
    onConflict: { key: ['identity'], addInteger: ['uses'] },
  });
  const [stored] = await tx.query('SELECT content, uses FROM ratecat_idempotency WHERE identity = ?', [
    call.identity,
  ]);
  assertSame(call, String(stored![0]));
  return Number(stored![1]) === 1 ? 'first' : 'repeated';
}

/** Whether the call was made before. @throws DataError RATECAT_IDEMPOTENCY_CONFLICT */
export async function wasMade(reader: SqlReader, call: IdempotentCall): Promise<boolean> {
  const [stored] = await reader.query('SELECT content FROM ratecat_idempotency WHERE identity = ?', [
    call.identity,
  ]);
  if (stored === undefined) return false;
  assertSame(call, String(stored[0]));
  return true;
}

/** Removes keys that are old enough. */
export async function forgetOldKeys(database: SqlDatabase, now: Instant): Promise<void> {
  await database.transaction((tx) =>
    tx.execute('DELETE FROM ratecat_idempotency WHERE created_at < ?', [now - KEPT_SECONDS]),
  );
}

function assertSame(call: IdempotentCall, content: string): void {
  if (content === call.content) return;
  throw new DataError(
    'RATECAT_IDEMPOTENCY_CONFLICT',
    'This Idempotency-Key was already used with another body; nothing was stored. Send a new key with new content.',
  );
}

function digest(content: string | Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}
