import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { billingCalendar } from '../../../core/daemon/billing-calendar.js';
import {
  alignUp,
  dueAt,
  dueCount,
  duePeriods,
  firstBegin,
  firstPeriodOf,
  type PeriodRule,
} from '../../../core/processing/due-periods.js';
import { sampleSeed } from '../../../core/testkit/samples.js';

const HOUR = 3600;
const fixed: PeriodRule = { periodSeconds: HOUR, waitPeriods: 2, compat: 'fixed' };
const strict: PeriodRule = { ...fixed, compat: 'strict' };

function at(text: string): number {
  return Date.parse(text) / 1000;
}

describe('due periods', () => {
  it('waits two periods from the begin, as the reference does', () => {
    const begin = at('2026-03-01T00:00:00Z');
    assert.equal(dueAt(begin, fixed), begin + 2 * HOUR);
    assert.equal(dueAt(begin, strict), begin + 2 * HOUR + 1);
  });

  it('never rates an open period in fixed mode, not even with wait_periods 0', () => {
    const rule = { ...fixed, waitPeriods: 0 };
    assert.equal(dueAt(1000, rule), 1000 + HOUR);
    assert.equal(dueAt(1000, { ...rule, compat: 'strict' as const }), 1001);
  });

  it('applies the wait rule to the first period of a scope too', () => {
    const now = at('2026-03-01T00:30:00Z');
    const watermark = firstBegin(now, undefined, fixed, billingCalendar('UTC'));
    assert.equal(watermark, at('2026-03-01T00:00:00Z'));
    assert.deepEqual(duePeriods(watermark, now, fixed, 10), []);
  });

  it('rates the first period of a scope without waiting in strict mode, as the reference does', () => {
    const begin = at('2026-03-01T00:00:00Z');
    const now = begin + 30 * 60;
    const first = firstPeriodOf({ watermark: begin, lastBegin: undefined });
    assert.equal(first, begin);
    assert.deepEqual(duePeriods(begin, now, strict, 10, first), [{ begin, end: begin + HOUR }]);
    assert.deepEqual(duePeriods(begin, now, fixed, 10, first), [], 'fixed waits for the end of every period');
    assert.deepEqual([dueCount(begin, now, strict, first), dueCount(begin, now, fixed, first)], [1, 0]);
    assert.deepEqual(duePeriods(begin, begin - 1, strict, 10, first), [], 'not before it has begun');
  });

  it('waits in strict mode from the second period on, and for every scope that was rated before', () => {
    const begin = at('2026-03-01T00:00:00Z');
    const rated = { watermark: begin + HOUR, lastBegin: begin };
    assert.equal(firstPeriodOf(rated), undefined);
    assert.equal(firstPeriodOf({ watermark: undefined, lastBegin: undefined }), undefined);
    assert.deepEqual(duePeriods(begin + HOUR, begin + 3 * HOUR, strict, 10, firstPeriodOf(rated)), []);
    const late = duePeriods(begin, begin + 5 * HOUR + 1, strict, 10, begin);
    assert.deepEqual(
      late,
      duePeriods(begin, begin + 5 * HOUR + 1, strict, 10),
      'after a wait it is one of many',
    );
    assert.equal(dueCount(begin, begin + 5 * HOUR + 1, strict, begin), late.length);
  });

  it('starts where the data begin, on the grid of the month, in fixed mode only', () => {
    const now = at('2026-03-10T00:00:00Z');
    const earliest = at('2026-03-09T10:20:00Z');
    const calendar = billingCalendar('UTC');
    assert.equal(firstBegin(now, earliest, fixed, calendar), at('2026-03-09T11:00:00Z'));
    assert.equal(firstBegin(now, earliest, strict, calendar), at('2026-03-01T00:00:00Z'));
    assert.equal(firstBegin(now, at('2025-01-01T00:00:00Z'), fixed, calendar), at('2026-03-01T00:00:00Z'));
  });

  it('takes the month of the billing time zone', () => {
    const now = at('2026-02-28T16:00:00Z');
    assert.equal(
      firstBegin(now, undefined, fixed, billingCalendar('Asia/Seoul')),
      at('2026-02-28T15:00:00Z'),
    );
  });

  it('leaves no gap and no overlap for any clock and period length', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 4_000_000_000 }),
        fc.double({ min: 0, max: 60, noNaN: true }),
        fc.constantFrom(10, 60, 300, 3600, 5400, 86_400),
        fc.integer({ min: 0, max: 4 }),
        fc.constantFrom('strict' as const, 'fixed' as const),
        (watermark, periodsAhead, periodSeconds, waitPeriods, compat) => {
          const rule = { periodSeconds, waitPeriods, compat };
          const now = watermark + Math.floor(periodsAhead * periodSeconds);
          const due = duePeriods(watermark, now, rule, 1000);
          let expected = watermark;
          for (const period of due) {
            assert.equal(period.begin, expected);
            assert.equal(period.end, expected + periodSeconds);
            assert.ok(dueAt(period.begin, rule) <= now);
            if (compat === 'fixed') assert.ok(period.end <= now);
            expected = period.end;
          }
          assert.ok(dueAt(expected, rule) > now);
          assert.equal(dueCount(watermark, now, rule), due.length);
        },
      ),
      { seed: sampleSeed(), numRuns: 50_000 },
    );
  });

  it('aligns up to the grid of a phase', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: -1e9, max: 1e9 }),
        fc.integer({ min: -1e9, max: 1e9 }),
        fc.integer({ min: 1, max: 100_000 }),
        (instant, phase, period) => {
          const aligned = alignUp(instant, phase, period);
          assert.ok(aligned >= instant && aligned - instant < period);
          assert.equal(Math.abs((aligned - phase) % period), 0);
        },
      ),
      { seed: sampleSeed() },
    );
  });
});

describe('billing calendar', () => {
  it('slices days of a zone with daylight saving without gap or overlap', () => {
    const calendar = billingCalendar('Europe/Berlin');
    let begin = calendar.slice(at('2026-01-01T12:00:00Z'), 'day').begin;
    const lengths = new Set<number>();
    for (let day = 0; day < 366; day++) {
      const slice = calendar.slice(begin, 'day');
      assert.equal(slice.begin, begin);
      assert.equal(calendar.day(slice.end - 1), calendar.day(begin));
      lengths.add((slice.end - slice.begin) / HOUR);
      begin = slice.end;
    }
    assert.deepEqual([...lengths].sort(), [23, 24, 25]);
  });

  it('names day and month as numbers and begins weeks on Monday', () => {
    const calendar = billingCalendar('UTC');
    const instant = at('2026-11-22T23:59:59Z');
    assert.equal(calendar.day(instant), 20_261_122);
    assert.equal(calendar.month(instant), 202_611);
    assert.equal(calendar.slice(instant, 'week').begin, at('2026-11-16T00:00:00Z'));
    assert.equal(calendar.slice(instant, 'year').end, at('2027-01-01T00:00:00Z'));
  });

  it('refuses an unknown zone', () => {
    assert.throws(() => billingCalendar('Europe/Atlantis'), /unknown time zone 'Europe\/Atlantis'/);
  });
});
