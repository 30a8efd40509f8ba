import { DateTime } from 'luxon';
import type { Calendar, Instant, Period, TimeUnit } from '../plugin-api/index.js';

type Unit = Exclude<TimeUnit, 'period'>;

/** Slices remembered per unit; reports ask for the same few days again and again. */
const REMEMBERED = 4096;

/** Days, weeks and months of a time zone. @throws RangeError when the zone is unknown. */
export function billingCalendar(timeZone: string): Calendar {
  if (!DateTime.utc().setZone(timeZone).isValid) throw new RangeError(`unknown time zone '${timeZone}'`);
  const slices = new Map<string, Period>();
  const local = (instant: Instant) => DateTime.fromSeconds(instant, { zone: timeZone });

  function slice(instant: Instant, unit: Unit): Period {
    const key = `${unit}${instant}`;
    const known = slices.get(key);
    if (known !== undefined) return known;
    const begin = local(instant).startOf(unit);
    const found = { begin: begin.toSeconds(), end: begin.plus({ [unit]: 1 }).toSeconds() };
    if (slices.size >= REMEMBERED) slices.clear();
    slices.set(key, found);
    return found;
  }

  return {
    timeZone,
    slice,
    day(instant) {
      const date = local(instant);
      return date.year * 10_000 + date.month * 100 + date.day;
    },
    month(instant) {
      const date = local(instant);
      return date.year * 100 + date.month;
    },
  };
}
