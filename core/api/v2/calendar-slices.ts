import type { Calendar, Period } from '../../plugin-api/index.js';
import { type CalendarUnit, calendarText } from '../../reporting/calendar-keys.js';
import { badRequest } from './faults.js';

/** A part of the date by the names that callers give it; collectors of the reference store it under the attribute. */
export interface CalendarName {
  readonly attribute: string;
  readonly unit: CalendarUnit;
}

export const CALENDAR_NAMES: ReadonlyMap<string, CalendarName> = new Map(
  (
    [
      ['time-d', 'day_of_the_year', 'day'],
      ['time-w', 'week_of_the_year', 'week'],
      ['time-m', 'month', 'month'],
      ['time-y', 'year', 'year'],
    ] as const
  ).flatMap(([option, attribute, unit]) => {
    const name: CalendarName = { attribute, unit };
    return [
      [option, name],
      [attribute, name],
    ] as const;
  }),
);

/** The part of the date is one of these texts: month `1`, week `05`. */
export interface CalendarCondition {
  readonly unit: CalendarUnit;
  readonly values: ReadonlySet<string>;
}

/** Ten years of days, or more than three hundred of months. */
const MOST_STEPS = 4000;
/** Each is a query of its own. */
const MOST_SLICES = 100;
const COARSE_FIRST: readonly CalendarUnit[] = ['year', 'month', 'week', 'day'];

/**
 * What of a range fulfils all conditions, in order and without seams; all of it without conditions.
 * @throws Fault 400 when that takes too many steps or gives too many slices.
 */
export function matchingSlices(
  calendar: Calendar,
  range: Period,
  conditions: readonly CalendarCondition[],
): readonly Period[] {
  if (conditions.length === 0) return [range];
  const ordered = conditions.toSorted((a, b) => COARSE_FIRST.indexOf(a.unit) - COARSE_FIRST.indexOf(b.unit));
  const finest = ordered.at(-1)!.unit;
  const slices: Period[] = [];
  let { begin } = range;
  for (let step = 0; begin < range.end; step++) {
    if (step === MOST_STEPS) throw tooLong();
    const day = calendar.day(begin);
    const failed = ordered.find(({ unit, values }) => !values.has(calendarText(unit, day)));
    const end = Math.min(range.end, endOf(calendar, begin, failed?.unit ?? finest));
    if (failed === undefined) append(slices, { begin, end });
    begin = end;
  }
  return slices;
}

/** Weeks of this calendar do not begin when those of the billing calendar do: days are looked at one by one. */
function endOf(calendar: Calendar, instant: number, unit: CalendarUnit): number {
  return calendar.slice(instant, unit === 'week' ? 'day' : unit).end;
}

function append(slices: Period[], slice: Period): void {
  const last = slices.at(-1);
  if (last?.end === slice.begin) slices[slices.length - 1] = { begin: last.begin, end: slice.end };
  else if (slices.length === MOST_SLICES) throw tooLong();
  else slices.push(slice);
}

function tooLong() {
  return badRequest(
    'The range is too long for these filters by date: choose a shorter one, or filter by year.',
  );
}
