import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { describe, it } from 'node:test';
import { formatOf, readUsage, type UsageFormat, type UsageLine } from '../../../core/cli/usage-file.js';

const read = (text: string, format: UsageFormat) =>
  readUsage(Readable.from([Buffer.from(text)]), format, 'usage');
const shown = (line: UsageLine) => ({
  ...line,
  quantity: line.quantity.toFixedScale(),
  attributes: line.attributes.canonical(),
});

describe('usage files', () => {
  it('are told apart by the end of their name', () => {
    assert.deepEqual(['a.csv', 'a.NDJSON', 'a.jsonl', 'a.json', 'a', '-'].map(formatOf), [
      'csv',
      'ndjson',
      'ndjson',
      'ndjson',
      'csv',
      'csv',
    ]);
  });

  it('keep every digit, in CSV and in NDJSON', async () => {
    const digits = '123456789012345678901234567890.12345678901234567890';
    const [fromCsv] = await read(
      `\ufeffquantity,metric,unit,begin,scope,x\n${digits},m,u,2026-01-01,s, "1,0"\n`,
      'csv',
    );
    assert.deepEqual(shown(fromCsv!), {
      metric: 'm',
      quantity: digits,
      unit: 'u',
      scope: 's',
      begin: Date.UTC(2026, 0, 1) / 1000,
      attributes: '{"x":"1,0"}',
    });
    const [fromJson] = await read(
      `{"metric":"m","quantity":${digits},"n":1.0,"__proto__":{"a":null}}`,
      'ndjson',
    );
    assert.deepEqual(shown(fromJson!), {
      metric: 'm',
      quantity: digits,
      unit: '',
      scope: undefined,
      begin: undefined,
      attributes: '{"__proto__":{"a":null},"n":1.0}',
    });
  });

  it('leave out empty cells of CSV', async () => {
    const [line] = await read('metric,quantity,flavor,size\nm,1,,2\n', 'csv');
    assert.equal(line!.attributes.canonical(), '{"size":"2"}');
  });

  for (const [what, format, text, says] of [
    ['an empty file', 'csv', '', /usage: there is no usage in it/],
    ['a header alone', 'csv', 'metric,quantity\n', /usage: there is no usage in it/],
    ['a header without quantity', 'csv', 'metric,qty\nm,1\n', /usage:1: .*quantity missing/],
    [
      'a column named twice',
      'csv',
      'metric,quantity,a,a\nm,1,2,3\n',
      /usage:1: the column 'a' is there twice/,
    ],
    [
      'a short line',
      'csv',
      'metric,quantity,a\nm,1,x\nm,1\n',
      /usage:3: has 2 columns, the first line has 3/,
    ],
    ['an open quote', 'csv', 'metric,quantity\nm,1\nm,"2\n', /usage:\d: Quote Not Closed/],
    ['no number', 'csv', 'metric,quantity\nm,NaN\n', /usage:2: the quantity 'NaN' is not a number/],
    ['no metric', 'ndjson', '\n{"quantity":1}\n', /usage:2: metric is missing/],
    ['no object', 'ndjson', '[1]\n', /usage:1: is not a JSON object/],
    ['cut JSON', 'ndjson', '{"metric":"m","quan\n', /usage:1: is not JSON/],
    [
      'a key given twice',
      'ndjson',
      '{"metric":"m","metric":"n","quantity":1}\n',
      /usage:1: is not JSON.*metric/,
    ],
    [
      'a quantity that is a list',
      'ndjson',
      '{"metric":"m","quantity":[1]}\n',
      /usage:1: quantity is not text/,
    ],
    ['a bad begin', 'ndjson', '{"metric":"m","quantity":1,"begin":5}\n', /usage:1: begin '5' is not like/],
    ['a deep nest', 'ndjson', `{"a":${'['.repeat(100_000)}\n`, /usage:1: is not JSON/],
  ] as const) {
    it(`are refused for ${what}, with the line`, async () => {
      await assert.rejects(read(text, format), { code: 'RATECAT_USAGE_MALFORMED', message: says });
    });
  }

  it('have all their bad lines named, up to a limit', async () => {
    const text = `metric,quantity\n${'m,x\n'.repeat(25)}`;
    await assert.rejects(read(text, 'csv'), (error: Error) => {
      assert.match(error.message, /25 problems/);
      assert.match(error.message, /usage:21: [^\n]+\n… and 5 more$/);
      return true;
    });
  });

  it('pass on that a file cannot be read', async () => {
    const broken = () =>
      new Readable({
        read() {
          this.destroy(Object.assign(new Error('EACCES'), { code: 'EACCES', syscall: 'open' }));
        },
      });
    for (const format of ['csv', 'ndjson'] as const)
      await assert.rejects(readUsage(broken(), format, 'usage'), { code: 'EACCES' });
  });
});
