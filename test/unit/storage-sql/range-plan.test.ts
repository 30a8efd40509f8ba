import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Calendar, type Instant, type TimeUnit } from '../../../core/plugin-api/index.js';
import { utcCalendar } from '../../../core/testkit/fakes.js';
import { HOUR, hour, SampleRandom, sampleSeed } from '../../../core/testkit/samples.js';
import { clampRange, instantOfDay, planRange } from '../../../plugins/storage/sql/range-plan.js';

const HALF = HOUR / 2;

/** A zone with a constant distance from UTC, in seconds. */
function zone(offset: number): Calendar {
  return {
    timeZone: `UTC${offset}`,
    slice(instant: Instant, unit: Exclude<TimeUnit, 'period'>) {
      const { begin, end } = utcCalendar.slice(instant + offset, unit);
      return { begin: begin - offset, end: end - offset };
    },
    day: (instant) => utcCalendar.day(instant + offset),
    month: (instant) => utcCalendar.month(instant + offset),
  };
}

const CALENDARS = [utcCalendar, zone(14 * HOUR), zone(-12 * HOUR), zone(5 * HOUR + HALF)];

describe('the plan of a range', () => {
  const seed = sampleSeed();
  it(`covers every instant once, by the table that it names (RATECAT_SEED=${seed})`, () => {
    const random = new SampleRandom(seed);
    for (let run = 0; run < 120; run++) {
      const calendar = random.pick(CALENDARS);
      const begin = hour(random.below(2_000)) + random.below(2) * HALF;
      const end = begin + random.pick([0, HALF, HOUR, 20 * HOUR, 700 * HOUR, random.below(3_000) * HALF]);
      const level = random.pick(['points', 'days', 'months'] as const);
      const plan = planRange({ begin, end }, calendar, level);
      for (let at = begin - 30 * HOUR; at < end + 30 * HOUR; at += HALF) {
        const holders = [
          ...plan.months.filter((month) => month === calendar.month(at)),
          ...plan.days.filter((day) => day === calendar.day(at)),
          ...plan.edges.filter((edge) => edge.begin <= at && at < edge.end),
        ];
        const expected = begin <= at && at < end ? 1 : 0;
        assert.equal(
          holders.length,
          expected,
          JSON.stringify({ begin, end, at, level, zone: calendar.timeZone, plan }),
        );
      }
      if (level === 'points') continue;
      for (const edge of plan.edges) assert.equal(calendar.day(edge.begin), calendar.day(edge.end - 1));
    }
  });

  it('reads whole months from the months, and their neighbours by day', () => {
    const plan = planRange({ begin: hour(-24), end: hour(60 * 24) }, utcCalendar, 'months');
    assert.deepEqual(plan, { months: [202601, 202602], days: [20251231, 20260301], edges: [] });
  });

  it('is no longer than what is stored, however long the range', () => {
    const forever = { begin: 0, end: Number.MAX_SAFE_INTEGER };
    for (const calendar of CALENDARS) {
      const { begin, end } = clampRange(forever, calendar, { oldest: 202601, newest: 202603 });
      assert.equal(begin, calendar.slice(hour(15 * 24), 'month').begin);
      assert.equal(end, calendar.slice(hour(70 * 24), 'month').end);
    }
  });

  it('finds an instant of every day in every zone', () => {
    for (const calendar of CALENDARS) {
      for (let day = 0; day < 400; day++) {
        const wanted = calendar.day(hour(day * 24));
        assert.equal(calendar.day(instantOfDay(wanted, calendar)), wanted);
      }
    }
  });
});
