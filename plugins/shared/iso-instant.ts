import type { Instant } from '../../core/plugin-api/index.js';

/** `2026-01-01T00:00:00+00:00`: ISO 8601 with an offset, as the reference sends times. */
export function isoInstant(instant: Instant): string {
  return `${new Date(instant * 1000).toISOString().slice(0, 19)}+00:00`;
}
