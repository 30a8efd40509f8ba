import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { csvHeader, csvLine, renderTable } from '../../../core/cli/table.js';
import { humanSeconds, visibleText } from '../../../core/config/human-text.js';

const COLUMNS = [{ title: 'name' }, { title: 'price', isNumber: true }];

describe('tables', () => {
  it('align text to the left and numbers to the right, wide letters counted as two', () => {
    const table = renderTable(COLUMNS, [
      ['a', '1'],
      ['가나', '-12.5'],
    ]);
    assert.equal(table, 'NAME  PRICE\na         1\n가나  -12.5');
  });

  it('show controls in names instead of obeying them', () => {
    assert.equal(
      renderTable([{ title: 'x' }], [['a\u001b[31m\nb\u202ec']], false),
      'a\\u001b[31m\\u000ab\\u202ec',
    );
    assert.equal(visibleText('naïve 가'), 'naïve 가');
  });
});

describe('CSV', () => {
  it('quotes what needs it', () => {
    assert.equal(csvLine(COLUMNS, ['a,"b"\nc', '1']), '"a,""b""\nc",1');
    assert.equal(csvHeader([{ title: '=x' }, { title: 'price', isNumber: true }]), "'=x,price");
  });

  it('defuses what a spreadsheet takes for a formula, and leaves numbers numbers', () => {
    for (const text of ['=1+1', '+1', '-1', '@SUM(A1)', '\t=1', '\r=1', ' =1'])
      assert.match(csvLine(COLUMNS, [text, '-1']), /^"?'.*,-1$/s, JSON.stringify(text));
    assert.equal(csvLine(COLUMNS, ['a=1', '-0.5']), 'a=1,-0.5');
  });
});

describe('durations', () => {
  it('are told in their two largest units', () => {
    assert.deepEqual([0, 0.4, 59, 60, 61, 3600, 5400, 86_400, 90_061].map(humanSeconds), [
      '0 s',
      '0 s',
      '59 s',
      '1 min',
      '1 min 1 s',
      '1 h',
      '1 h 30 min',
      '1 d',
      '1 d 1 h',
    ]);
  });
});
