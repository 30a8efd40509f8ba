import type { ErrorKind } from '../plugin-api/index.js';

/** The links of the chain, in the order in which they are looked at. */
export const AREAS = [
  'configuration',
  'database',
  'disk',
  'clock',
  'keystone',
  'catalogue',
  'scopes',
  'collector',
  'metrics',
  'modules',
  'rules',
  'prices',
  'progress',
  'processors',
  'reprocessing',
] as const;

export type Area = (typeof AREAS)[number];

/**
 * - ok: looked at, nothing to do.
 * - skipped: not looked at, because something it needs is missing.
 * - warn: it works, but probably not as meant.
 * - fail: something does not work until somebody acts.
 */
export type Level = 'ok' | 'skipped' | 'warn' | 'fail';

export interface Finding {
  readonly area: Area;
  readonly level: Level;
  /** Stable name for scripts: `metric-nothing`. */
  readonly id: string;
  /** What was found, for people; never a secret. */
  readonly what: string;
  /** File and line, pipeline, scope or metric. */
  readonly where?: string | undefined;
  /** What to do about it. */
  readonly fix?: string | undefined;
  /** Code of the error behind it. */
  readonly code?: string | undefined;
  /** Who must act on a failure; decides the exit code. */
  readonly kind?: ErrorKind | undefined;
}

/** What a finding may say beside its name and text. */
export type Details = Pick<Finding, 'where' | 'fix' | 'code' | 'kind'>;

const RANK: Readonly<Record<Level, number>> = { ok: 0, skipped: 1, warn: 2, fail: 3 };

/** The worst level of all; `ok` when there is nothing. */
export function worstLevel(findings: readonly Pick<Finding, 'level'>[]): Level {
  return findings.reduce<Level>((worst, { level }) => (RANK[level] > RANK[worst] ? level : worst), 'ok');
}
