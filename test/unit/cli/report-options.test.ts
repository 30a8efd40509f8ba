import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { gatherFilters, parseGroups, parseInstant, parseRange } from '../../../core/cli/report-options.js';
import { billingCalendar } from '../../../core/daemon/billing-calendar.js';

const at = (text: string) => Date.parse(text) / 1000;
const berlin = billingCalendar('Europe/Berlin');
const now = at('2026-03-31T22:30:00Z');

describe('report options', () => {
  it('read times without offset in the billing time zone', () => {
    assert.equal(parseInstant('2026-03', 'Europe/Berlin'), at('2026-02-28T23:00:00Z'));
    assert.equal(parseInstant('2026-03-31', 'Europe/Berlin'), at('2026-03-30T22:00:00Z'));
    assert.equal(parseInstant('2026-03-31T10:00', 'Europe/Berlin'), at('2026-03-31T08:00:00Z'));
    assert.equal(parseInstant('2026-03-31T10:00:00Z', 'Europe/Berlin'), at('2026-03-31T10:00:00Z'));
  });

  it('refuse what is no time in whole seconds', () => {
    for (const text of ['yesterday', '2026-13-01', '2026-01-01T00:00:00.5Z', '1969-12-31T00:00:00Z', ''])
      assert.throws(() => parseInstant(text, 'UTC'), /is not a time in whole seconds/, text);
  });

  it('mean the current month of the billing time zone by default', () => {
    // Half past midnight on the first of April in Berlin.
    assert.deepEqual(parseRange({}, berlin, now), {
      begin: at('2026-03-31T22:00:00Z'),
      end: at('2026-04-30T22:00:00Z'),
    });
  });

  it('let one end of the range be left open', () => {
    assert.deepEqual(parseRange({ begin: '2025-12-01' }, berlin, now), {
      begin: at('2025-11-30T23:00:00Z'),
      end: at('2026-04-30T22:00:00Z'),
    });
    // The month that the end closes.
    assert.deepEqual(parseRange({ end: '2026-02' }, berlin, now), {
      begin: at('2025-12-31T23:00:00Z'),
      end: at('2026-01-31T23:00:00Z'),
    });
  });

  it('refuse an empty range', () => {
    assert.throws(
      () => parseRange({ begin: '2026-01-02', end: '2026-01-02' }, berlin, now),
      /range is empty/,
    );
  });

  it('tell group keys apart', () => {
    assert.deepEqual(parseGroups('type, scope,time,time-w,flavor,constructor'), [
      { kind: 'type' },
      { kind: 'scope' },
      { kind: 'time', unit: 'period' },
      { kind: 'time', unit: 'week' },
      { kind: 'attribute', name: 'flavor' },
      { kind: 'attribute', name: 'constructor' },
    ]);
    assert.throws(() => parseGroups('type,,scope'), /commas/);
  });

  it('take filters of one attribute as alternatives', () => {
    const filters = ['flavor=a', 'note=x=y', 'flavor='].reduce(
      (former, text) => gatherFilters(text, former),
      [] as ReturnType<typeof gatherFilters>,
    );
    assert.deepEqual(filters, [
      { name: 'flavor', values: ['a', ''], in: 'any' },
      { name: 'note', values: ['x=y'], in: 'any' },
    ]);
  });
});
