import type { Instant } from '../plugin-api/index.js';

/** `2026-01-31T12:00:00Z`: instants in messages and logs. */
export function isoTime(instant: Instant): string {
  return new Date(instant * 1000).toISOString().replace('.000Z', 'Z');
}
