import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { cronSchedule, periodSchedule } from '../../../core/processing/tick-schedule.js';

const at = (text: string) => Date.parse(text) / 1000;
const iso = (instant: number) => new Date(instant * 1000).toISOString();

describe('the schedule of ticks', () => {
  it("depends on the given instant alone, however far that is from the machine's own clock", () => {
    for (const year of [1970, 2026, 2036, 2060, 2100, 2400]) {
      assert.equal(
        iso(periodSchedule(3600).next(at(`${year}-02-27T02:00:00Z`))),
        `${year}-02-27T03:00:00.000Z`,
      );
      assert.equal(
        iso(periodSchedule(10).next(at(`${year}-12-31T23:59:55Z`))),
        `${year + 1}-01-01T00:00:00.000Z`,
      );
    }
  });

  it('knows leap years and days of the week far ahead', () => {
    const monthly = cronSchedule('0 0 0 29 2 *', 0);
    assert.equal(iso(monthly.next(at('2037-01-01T00:00:00Z'))), '2040-02-29T00:00:00.000Z');
    const sundays = cronSchedule('0 0 0 * * 0', 0);
    const next = sundays.next(at('2041-05-14T12:00:00Z'));
    assert.equal(new Date(next * 1000).getUTCDay(), 0);
    assert.equal(iso(next), '2041-05-19T00:00:00.000Z');
  });
});
