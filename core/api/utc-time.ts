/** What the dates of both versions of CloudKitty's API have in common. */

/** 0001-01-01T00:00:00Z and 10000-01-01T00:00:00Z. */
const FIRST_INSTANT = -62_135_596_800;
const END_OF_TIME = 253_402_300_800;

/** Seconds since 1970; undefined when the calendar has no such day. */
export function midnightOf(year: number, month: number, day: number): number | undefined {
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  const exists =
    year > 0 &&
    date.getUTCFullYear() === year &&
    date.getUTCMonth() === month - 1 &&
    date.getUTCDate() === day;
  return exists ? date.getTime() / 1000 : undefined;
}

/** Seconds of `+01:00`, `-0130`, `+01`; 0 for names of UTC and where there is none. Undefined for more than 23:59. */
export function offsetSeconds(text: string | undefined): number | undefined {
  const offset = (text ?? 'Z').trim();
  if (/^[a-z]/i.test(offset)) return 0;
  const digits = offset.replace(/^[+-]/, '').replace(':', '');
  const [hours, minutes] = [Number(digits.slice(0, 2)), Number(digits.slice(2))];
  if (hours > 23 || minutes > 59) return undefined;
  return (offset.startsWith('-') ? -1 : 1) * (hours * 3600 + minutes * 60);
}

/** The instant, when it lies in the years 1 to 9999. */
export function knownInstant(seconds: number): number | undefined {
  return seconds >= FIRST_INSTANT && seconds < END_OF_TIME ? seconds : undefined;
}

/** `2026-01-01T00:00:00`, in UTC; microseconds only where there are some. */
export function nakedTime(seconds: number): string {
  const whole = Math.floor(seconds);
  const micros = Math.round((seconds - whole) * 1e6);
  const fraction = micros === 0 ? '' : `.${String(micros).padStart(6, '0')}`;
  return `${new Date(whole * 1000).toISOString().slice(0, 19)}${fraction}`;
}
