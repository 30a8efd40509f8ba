/** Dates of rules: whole seconds, UTC. */
import type { Instant } from '../../core/plugin-api/index.js';

const DATE =
  /^(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:[.,]\d+)?)?\s*(Z|[+-]\d{2}:?\d{2})?)?$/i;
const LAST_SECOND_OF_DAY = 86_399;
/** 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z: the dates that clients in Python can read. */
const EARLIEST = -62_135_596_800;
const LATEST = 253_402_300_799;
const DAY = 86_400;

/**
 * Reads an ISO 8601 date, or date and time; without an offset it is UTC, fractions of a second are dropped. A date alone
 * means its first second, or for an `end` its last one. Undefined when the text is something else.
 */
export function parseDate(text: string, meaning: 'start' | 'end'): Instant | undefined {
  const match = DATE.exec(text.trim());
  if (match === null) return undefined;
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map((part) => Number(part ?? 0)) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  // The calendar rolls 30 February over into March; that is not what was written.
  if (date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return undefined;
  if (hour > 23 || minute > 59 || second > 59) return undefined;
  const midnight = date.getTime() / 1000;
  if (year === 0) return undefined;
  if (match[4] === undefined) return meaning === 'end' ? midnight + LAST_SECOND_OF_DAY : midnight;
  const offset = offsetSeconds(match[7] ?? 'Z');
  const instant = midnight + hour * 3600 + minute * 60 + second - offset;
  return Math.abs(offset) < DAY && instant >= EARLIEST && instant <= LATEST ? instant : undefined;
}

/** `2024-01-01T00:00:00`, as the API writes UTC. */
export function naiveDate(instant: Instant): string {
  return new Date(instant * 1000).toISOString().slice(0, -5);
}

/** `2024-01-01 00:00:00`, as error texts write UTC. */
export function spacedDate(instant: Instant): string {
  return naiveDate(instant).replace('T', ' ');
}

function offsetSeconds(offset: string): number {
  if (offset.toUpperCase() === 'Z') return 0;
  const [hours, minutes] = [Number(offset.slice(1, 3)), Number(offset.slice(-2))];
  return (offset.startsWith('-') ? -1 : 1) * (hours * 3600 + minutes * 60);
}
