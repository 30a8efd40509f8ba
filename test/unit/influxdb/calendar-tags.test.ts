import assert from 'node:assert/strict';
import { test } from 'node:test';
import { utcCalendar } from '../../../core/testkit/fakes.js';
import { CALENDAR_TAGS, calendarTags } from '../../../plugins/shared/outside-storage/calendar-tags.js';

/** Day of the year, month, week and year, as the reference's collectors write them. */
const DATES: readonly (readonly [string, string])[] = [
  ['2017-01-01', '1 1 01 2017'],
  ['2017-12-31', '365 12 53 2017'],
  ['2019-01-01', '1 1 00 2019'],
  ['2020-02-29', '60 2 08 2020'],
  ['2020-12-31', '366 12 52 2020'],
  ['2026-01-04', '4 1 01 2026'],
  ['1969-12-31', '365 12 52 1969'],
];

test('calendar attributes are those of the reference', () => {
  assert.deepEqual(CALENDAR_TAGS, ['day_of_the_year', 'month', 'week_of_the_year', 'year']);
  for (const [date, expected] of DATES)
    assert.equal(calendarTags(Date.parse(`${date}T23:00:00Z`) / 1000, utcCalendar).join(' '), expected, date);
});
