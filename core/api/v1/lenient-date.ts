/** Dates as people write them, for arguments of reports (spec: date-times; the reference asks python-dateutil). */
import { knownInstant, midnightOf, offsetSeconds } from '../utc-time.js';

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
const LONGEST = 64;

const WEEKDAY = /^(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+/i;
/** A time behind a date: 10:00, 10:00:00.5, 10:00 pm, each perhaps with an offset. A lost `+` arrives as a blank. */
const TIME =
  /(?:[T\s]|^)\s*(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?\s*(am|pm)?\s*(Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?|(?<=\d) \d{2}:\d{2})?$/i;
const COMPACT =
  /^(\d{4})(\d{2})(\d{2})(?:T?(\d{2})(\d{2})(\d{2})?(?:[.,](\d{1,9}))?(Z|[+-]\d{2}:?\d{2})?)?$/i;
const YEAR_FIRST = /^(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})$/;
const YEAR_LAST = /^(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})$/;
const NAME_FIRST = /^([a-z]{3,9})\.?\s+(\d{1,2})(?:st|nd|rd|th)?,?\s+(\d{4})$/i;
const NAME_MIDDLE = /^(\d{1,2})(?:st|nd|rd|th)?[\s-]+([a-z]{3,9})\.?,?[\s-]+(\d{4})$/i;

/**
 * Seconds since 1970 with their fraction, in UTC where the text names no offset; undefined when it is no full date. A date
 * without its day or year is refused: the reference takes the missing part from today.
 */
export function parseLenientDate(text: string): number | undefined {
  if (text.length > LONGEST) return undefined;
  const trimmed = text.trim().replace(WEEKDAY, '');
  const compact = COMPACT.exec(trimmed);
  if (compact !== null) return compactDate(compact);
  const time = TIME.exec(trimmed);
  const midnight = parseDay((time === null ? trimmed : trimmed.slice(0, time.index)).replace(/,?\s*$/, ''));
  if (midnight === undefined || time === null) return midnight;
  return withTime(midnight, clock(time), offsetSeconds(time[6]));
}

function compactDate(match: RegExpExecArray): number | undefined {
  const [, year, month, day, hour, minute, second, fraction, offset] = match;
  const midnight = midnightOf(Number(year), Number(month), Number(day));
  if (midnight === undefined || hour === undefined) return midnight;
  const time = seconds(Number(hour), Number(minute), Number(second ?? 0), fraction);
  return withTime(midnight, time, offsetSeconds(offset));
}

function parseDay(text: string): number | undefined {
  const compact = COMPACT.exec(text);
  if (compact !== null && compact[4] === undefined) return compactDate(compact);
  const yearFirst = YEAR_FIRST.exec(text);
  if (yearFirst !== null) return midnightOf(Number(yearFirst[1]), Number(yearFirst[2]), Number(yearFirst[3]));
  const yearLast = YEAR_LAST.exec(text);
  if (yearLast !== null) {
    // The month comes first, unless it cannot be one.
    const [first, second, year] = yearLast.slice(1).map(Number) as [number, number, number];
    return first > 12 ? midnightOf(year, second, first) : midnightOf(year, first, second);
  }
  const nameFirst = NAME_FIRST.exec(text);
  if (nameFirst !== null)
    return midnightOf(Number(nameFirst[3]), monthOf(nameFirst[1]!), Number(nameFirst[2]));
  const nameMiddle = NAME_MIDDLE.exec(text);
  if (nameMiddle !== null) {
    return midnightOf(Number(nameMiddle[3]), monthOf(nameMiddle[2]!), Number(nameMiddle[1]));
  }
  return undefined;
}

/** 0 when there is no such month. */
function monthOf(name: string): number {
  return MONTHS.indexOf(name.slice(0, 3).toLowerCase()) + 1;
}

function clock([, hour, minute, second, fraction, half]: RegExpExecArray): number | undefined {
  const written = Number(hour);
  if (half === undefined) return seconds(written, Number(minute), Number(second ?? 0), fraction);
  if (written < 1 || written > 12) return undefined;
  const hours = (written % 12) + (half.toLowerCase() === 'pm' ? 12 : 0);
  return seconds(hours, Number(minute), Number(second ?? 0), fraction);
}

function seconds(
  hour: number,
  minute: number,
  second: number,
  fraction: string | undefined,
): number | undefined {
  if (hour > 23 || minute > 59 || second > 59) return undefined;
  const micros = Number((fraction ?? '').slice(0, 6).padEnd(6, '0'));
  return hour * 3600 + minute * 60 + second + micros / 1e6;
}

function withTime(
  midnight: number,
  time: number | undefined,
  offset: number | undefined,
): number | undefined {
  if (time === undefined || offset === undefined) return undefined;
  return knownInstant(midnight + time - offset);
}
