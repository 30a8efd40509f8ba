import { createHash } from 'node:crypto';
import type { Instant } from '../../../core/plugin-api/index.js';
import { type Owner, ownerKey } from '../../shared/outside-storage/owner.js';
import { labelIs } from './logql.js';

export type Labels = Readonly<Record<string, string>>;

/** What a stream of Ratecat holds: `points`. */
export const KIND_LABEL = 'ratecat';
/** Whose points a stream holds. */
export const OWNER_LABEL = 'ratecat_owner';

/** Longer lists do not go into a query: what it gives is looked through here instead. */
export const MAX_NAMES = 50;

export const DAY_SECONDS = 86_400;
const NANOSECONDS = 1_000_000_000n;

/** Nanoseconds since 1970; begin is in the range, end is not. */
export interface TimeRange {
  readonly from: bigint;
  readonly to: bigint;
}

export function nanoseconds(instant: Instant): bigint {
  return BigInt(Math.floor(instant)) * NANOSECONDS;
}

/** Times for messages. */
export function timeText(time: bigint): string {
  return new Date(Number(time / 1_000_000n)).toISOString();
}

export function matchersOf(labels: Labels): readonly string[] {
  return Object.entries(labels).map(([name, text]) => labelIs(name, text));
}

/** Of one length for any scope, made of letters, digits, `-` and `_`. */
export function ownerHash(owner: Owner): string {
  return createHash('sha256').update(ownerKey(owner)).digest('base64url');
}
