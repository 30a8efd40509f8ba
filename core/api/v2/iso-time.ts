import type { Instant } from '../../plugin-api/index.js';

/** A date, perhaps with a time, perhaps with an offset; year, or year and month, alone will do (spec: date-times). */
const ISO_TIME =
  /^(\d{4})(?:(?:-(\d{1,2})|(\d{2})(?!$))(?:(?:-(\d{1,2})|(\d{2}))(?:[ T](\d{2})(?::?(\d{2}))?(?::?(\d{1,2})(?:[.,]\d+)?)?(Z|[+-]\d{2}:?(?:\d{2})?)?)?)?)?$/;
/** 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z. */
const FIRST_INSTANT = -62_135_596_800;
const LAST_INSTANT = 253_402_300_799;

/** The instant of an ISO 8601 time, in UTC where it names no offset; fractions of a second are cut off. */
export function parseIsoTime(text: string): Instant | undefined {
  const match = ISO_TIME.exec(text);
  if (match === null) return undefined;
  const number = (place: number, fallback: number) =>
    match[place] === undefined ? fallback : Number(match[place]);
  const [year, month, day] = [Number(match[1]), number(2, number(3, 1)), number(4, number(5, 1))];
  const [hour, minute, second] = [number(6, 0), number(7, 0), number(8, 0)];
  const offset = offsetSeconds(match[9]);
  if (offset === undefined || hour > 23 || minute > 59 || second > 59) return undefined;
  const midnight = midnightOf(year, month, day);
  if (midnight === undefined) return undefined;
  const instant = midnight + hour * 3600 + minute * 60 + second - offset;
  return instant >= FIRST_INSTANT && instant <= LAST_INSTANT ? instant : undefined;
}

/** `2026-01-01T00:00:00+00:00`: the time zone of the reference's server is UTC. */
export function offsetTime(instant: Instant): string {
  return `${nakedTime(instant)}+00:00`;
}

/** `2026-01-01T00:00:00` in UTC. */
export function nakedTime(instant: Instant): string {
  return new Date(instant * 1000).toISOString().slice(0, 19);
}

/** Undefined when the calendar has no such day. */
function midnightOf(year: number, month: number, day: number): Instant | undefined {
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  const exists =
    year > 0 &&
    date.getUTCFullYear() === year &&
    date.getUTCMonth() === month - 1 &&
    date.getUTCDate() === day;
  return exists ? date.getTime() / 1000 : undefined;
}

function offsetSeconds(text: string | undefined): number | undefined {
  if (text === undefined || text === 'Z') return 0;
  const digits = text.slice(1).replace(':', '');
  const [hours, minutes] = [Number(digits.slice(0, 2)), Number(digits.slice(2))];
  if (hours > 23 || minutes > 59) return undefined;
  return (text.startsWith('-') ? -1 : 1) * (hours * 3600 + minutes * 60);
}
