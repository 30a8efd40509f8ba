/** Dates as people write them, for arguments of reports (spec: date-times; the reference asks python-dateutil). */

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

/** `2026-01-01T00:00:00`, in UTC; microseconds only where there are some. */
export function nakedTime(seconds: number): string {
  const whole = Math.floor(seconds);
  const micros = Math.round((seconds - whole) * 1e6);
  const fraction = micros === 0 ? '' : `.${String(micros).padStart(6, '0')}`;
  return `${new Date(whole * 1000).toISOString().slice(0, 19)}${fraction}`;
}

function compactDate(match: RegExpExecArray): number | undefined {
  const [, year, month, day, hour, minute, second, fraction, offset] = match;
  const midnight = dayOf(Number(year), Number(month), Number(day));
  if (midnight === undefined || hour === undefined) return midnight;
  const time = seconds(Number(hour), Number(minute), Number(second ?? 0), fraction);
  return withTime(midnight, time, offsetSeconds(offset));
}

function parseDay(text: string): number | undefined {
  const compact = COMPACT.exec(text);
  if (compact !== null && compact[4] === undefined) return compactDate(compact);
  const yearFirst = YEAR_FIRST.exec(text);
  if (yearFirst !== null) return dayOf(Number(yearFirst[1]), Number(yearFirst[2]), Number(yearFirst[3]));
  const yearLast = YEAR_LAST.exec(text);
  if (yearLast !== null) {
    // The month comes first, unless it cannot be one.
    const [first, second, year] = yearLast.slice(1).map(Number) as [number, number, number];
    return first > 12 ? dayOf(year, second, first) : dayOf(year, first, second);
  }
  const nameFirst = NAME_FIRST.exec(text);
  if (nameFirst !== null) return dayOf(Number(nameFirst[3]), monthOf(nameFirst[1]!), Number(nameFirst[2]));
  const nameMiddle = NAME_MIDDLE.exec(text);
  if (nameMiddle !== null) {
    return dayOf(Number(nameMiddle[3]), monthOf(nameMiddle[2]!), Number(nameMiddle[1]));
  }
  return undefined;
}

/** Undefined when the calendar has no such day. */
function dayOf(year: number, month: number, day: number): number | undefined {
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  const exists =
    year > 0 &&
    date.getUTCFullYear() === year &&
    date.getUTCMonth() === month - 1 &&
    date.getUTCDate() === day;
  return exists ? date.getTime() / 1000 : undefined;
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

/** Years 1 to 9999, whatever the offset is. */
function withTime(
  midnight: number,
  time: number | undefined,
  offset: number | undefined,
): number | undefined {
  if (time === undefined || offset === undefined) return undefined;
  const instant = midnight + time - offset;
  return instant >= -62_135_596_800 && instant < 253_402_300_800 ? instant : undefined;
}

function offsetSeconds(text: string | undefined): number | undefined {
  const offset = (text ?? 'Z').trim();
  if (/^[a-z]/i.test(offset)) return 0;
  const digits = offset.replace(/^[+-]/, '').replace(':', '');
  const [hours, minutes] = [Number(digits.slice(0, 2)), Number(digits.slice(2))];
  if (hours > 23 || minutes > 59) return undefined;
  return (offset.startsWith('-') ? -1 : 1) * (hours * 3600 + minutes * 60);
}
