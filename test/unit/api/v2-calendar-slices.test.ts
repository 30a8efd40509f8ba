import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type CalendarCondition, matchingSlices } from '../../../core/api/v2/calendar-slices.js';
import { Fault } from '../../../core/api/v2/faults.js';
import { billingCalendar } from '../../../core/daemon/billing-calendar.js';
import { type CalendarUnit, calendarText } from '../../../core/reporting/calendar-keys.js';
import { sampleSeed } from '../../../core/testkit/samples.js';

const HOUR = 3600;
const DAY = 24 * HOUR;
/** 2025-01-01T00:00:00Z */
const YEAR = 1_735_689_600;
const ZONES = ['UTC', 'Europe/Berlin', 'Asia/Kathmandu', 'Pacific/Apia', 'America/Sao_Paulo'] as const;
const VALUES: Readonly<Record<CalendarUnit, readonly string[]>> = {
  year: ['2024', '2025', '2026'],
  month: ['1', '2', '3', '10', '12', '01', ''],
  week: ['00', '01', '09', '52', '53', '1'],
  day: ['1', '60', '61', '89', '365', '366', 'x'],
};

describe('the slices of a range that filters by date leave', () => {
  it('hold exactly the hours whose date fulfils all conditions, in any time zone', () => {
    const seed = sampleSeed();
    const conditions = fc.uniqueArray(
      fc
        .constantFrom<CalendarUnit>('year', 'month', 'week', 'day')
        .chain((unit) =>
          fc
            .subarray([...VALUES[unit]])
            .map((values): CalendarCondition => ({ unit, values: new Set(values) })),
        ),
      { minLength: 1, maxLength: 3 },
    );
    let found = 0;
    fc.assert(
      fc.property(
        fc.constantFrom(...ZONES),
        fc.integer({ min: -400 * 24, max: 400 * 24 }),
        fc.integer({ min: -5, max: 120 * 24 }),
        conditions,
        (zone, offset, hours, wanted) => {
          const calendar = billingCalendar(zone);
          const begin = YEAR + offset * HOUR;
          const end = begin + hours * HOUR;
          const slices = matchingSlices(calendar, { begin, end }, wanted);
          for (const [place, slice] of slices.entries()) {
            assert.ok(slice.begin < slice.end && slice.begin >= begin && slice.end <= end);
            assert.ok(place === 0 || slices[place - 1]!.end < slice.begin, 'in order, without seams');
          }
          for (let hour = begin; hour < end; hour += HOUR) {
            const day = calendar.day(hour);
            const fits = wanted.every(({ unit, values }) => values.has(calendarText(unit, day)));
            assert.equal(
              slices.some((slice) => slice.begin <= hour && hour < slice.end),
              fits,
              `${zone} ${new Date(hour * 1000).toISOString()}`,
            );
            if (fits) found++;
          }
        },
      ),
      { seed, numRuns: 150 },
    );
    assert.ok(found > 0, `seed ${seed} tried nothing`);
  });

  it('are the range itself without conditions, empty or not', () => {
    const calendar = billingCalendar('UTC');
    for (const range of [
      { begin: YEAR, end: YEAR + 1 },
      { begin: YEAR, end: YEAR - 1 },
    ])
      assert.deepEqual(matchingSlices(calendar, range, []), [range]);
  });

  it('are cut at the ends of the range, not at those of months', () => {
    const calendar = billingCalendar('Europe/Berlin');
    const range = { begin: YEAR + 5 * DAY + 17, end: YEAR + 35 * DAY };
    assert.deepEqual(matchingSlices(calendar, range, [{ unit: 'month', values: new Set(['1']) }]), [
      { begin: range.begin, end: YEAR + 31 * DAY - HOUR },
    ]);
  });

  it('are refused when there would be too many, or too many days to look at', () => {
    const calendar = billingCalendar('UTC');
    const odd = new Set(Array.from({ length: 183 }, (_, place) => String(2 * place + 1)));
    const year = { begin: YEAR, end: YEAR + 365 * DAY };
    const long = { begin: YEAR, end: YEAR + 4001 * DAY };
    for (const [range, values] of [
      [year, odd],
      [long, new Set<string>()],
    ] as const)
      assert.throws(
        () => matchingSlices(calendar, range, [{ unit: 'day', values }]),
        (error) => error instanceof Fault && error.status === 400,
      );
  });
});
