import type { Instant } from '../../plugin-api/index.js';
import { knownInstant, midnightOf, nakedTime, offsetSeconds } from '../utc-time.js';

/** A date, perhaps with a time, perhaps with an offset; year, or year and month, alone will do (spec: date-times). */
const ISO_TIME =
  /^(\d{4})(?:(?:-(\d{1,2})|(\d{2})(?!$))(?:(?:-(\d{1,2})|(\d{2}))(?:[ T](\d{2})(?::?(\d{2}))?(?::?(\d{1,2})(?:[.,]\d+)?)?(Z|[+-]\d{2}:?(?:\d{2})?)?)?)?)?$/;
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
  return knownInstant(midnight + hour * 3600 + minute * 60 + second - offset);
}

/** `2026-01-01T00:00:00+00:00`: the time zone of the reference's server is UTC. */
export function offsetTime(instant: Instant): string {
  return `${nakedTime(instant)}+00:00`;
}
