import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { openFrameFiles } from '../../../core/migrating/frame-files.js';
import { LineProblem, parseLine } from '../../../core/migrating/line-protocol.js';
import { RatedRows, type RatedUnit } from '../../../core/migrating/rated-rows.js';
import { SourceSchema } from '../../../core/migrating/source-schema.js';
import { type DataError, isRatecatError } from '../../../core/plugin-api/index.js';
import { sampleSeed } from '../../../core/testkit/samples.js';

const HOUR = 3600;
const START = Date.UTC(2026, 0, 30) / 1000;
const NEVER = new AbortController().signal;
const folder = mkdtempSync(join(tmpdir(), 'ratecat-frame-files-'));
after(() => rmSync(folder, { recursive: true, force: true }));

let serial = 0;
function fileOf(content: string | Buffer): string {
  const path = join(folder, `export-${++serial}`);
  writeFileSync(path, content);
  return path;
}

async function unitsOf(...files: readonly string[]): Promise<readonly RatedUnit[]> {
  let bytes = 0;
  const options = {
    files,
    folder: join(folder, 'data'),
    scopeKey: 'project_id',
    periodSeconds: HOUR,
    onBytes: (more: number) => {
      bytes += more;
    },
  };
  const opened = await openFrameFiles(options, NEVER);
  try {
    const rows = new RatedRows(opened.source, await SourceSchema.read(opened.source));
    const units: RatedUnit[] = [];
    for await (const unit of rows.units({})) units.push(unit);
    assert.ok(bytes > 0, 'progress was told');
    return units;
  } finally {
    await opened.source.close();
    await opened.close();
  }
}

async function failureOf(...files: readonly string[]): Promise<string> {
  try {
    await unitsOf(...files);
  } catch (error) {
    assert.ok(isRatecatError(error), String(error));
    assert.equal((error as DataError).code, 'RATECAT_MIGRATE_FILE_INVALID');
    assert.deepEqual(readdirSync(join(folder, 'data')), [], 'nothing is left behind');
    return error.message;
  }
  return assert.fail('it was taken');
}

function shown(units: readonly RatedUnit[]) {
  return units.map(({ scopeId, period, rows }) => ({
    scope: scopeId,
    hour: (period.begin - START) / HOUR,
    hours: (period.end - period.begin) / HOUR,
    rows: rows.map(({ metric, unit, quantity, price, description }) =>
      [metric, unit, quantity, price, description].join(' '),
    ),
  }));
}

interface Fields {
  readonly qty: string;
  readonly price: string;
}

/** As the exporters of InfluxDB write a point: a line for each of its fields. */
function exported(
  tags: string,
  hour: number,
  { qty, price }: Fields,
  more: readonly string[] = [],
): string[] {
  const time = `${START + hour * HOUR}000000000`;
  const fields = [
    `qty=${qty}`,
    `price=${price}`,
    'unit="GiB"',
    'groupby="id|project_id|month|empty"',
    'metadata="flavor|size"',
    'flavor="m1 \\"tiny\\", \\\\ really"',
    'size=2.50',
    `__ck_collect_period=${HOUR}i`,
    ...more,
  ];
  return fields.map((field) => `dataframes,${tags} ${field} ${time}`);
}

const HEADER = [
  '# INFLUXDB EXPORT: 1677-09-21T00:12:43Z - 2262-04-11T23:47:16Z',
  '# DDL',
  'CREATE DATABASE cloudkitty WITH NAME autogen',
  '# DML',
  '# CONTEXT-DATABASE:cloudkitty',
  '# CONTEXT-RETENTION-POLICY:autogen',
  '# writing tsm data',
];

describe('an export of InfluxDB', () => {
  const lines = [
    ...HEADER,
    ...exported('id=vm\\ 1\\,a\\=b,month=1,project_id=shop,type=cpu', 1, { qty: '1', price: '0.1' }),
    'cpu,host=a usage=1 1769731200000000000',
    ...exported('id=vm\\ 1\\,a\\=b,month=1,project_id=shop,type=cpu', 0, {
      qty: '0.30000000000000004',
      price: '1e-05',
    }),
    ...exported('id=disk,month=1,project_id=shop,type=volume', 0, { qty: '20', price: '0' }),
    ...exported('id=vm,month=1,project_id=lab,type=cpu', 0, { qty: '3i', price: '0.5' }),
  ];
  const cpu =
    '{"empty":"","flavor":"m1 \\"tiny\\", \\\\ really","id":"vm 1,a=b","project_id":"shop","size":2.50}';

  it('gives whole periods in order, numbers with their digits, and no calendar attributes', async () => {
    const units = shown(await unitsOf(fileOf(`${lines.join('\n')}\n`)));
    assert.deepEqual(
      units.map(({ scope, hour, hours }) => [scope, hour, hours]),
      [
        ['lab', 0, 1],
        ['shop', 0, 1],
        ['shop', 1, 1],
      ],
    );
    assert.deepEqual(units[1]!.rows, [
      `volume GiB 20 0 ${cpu.replace('vm 1,a=b', 'disk')}`,
      `cpu GiB 0.30000000000000004 0.00001 ${cpu}`,
    ]);
    assert.deepEqual(units[2]!.rows, [`cpu GiB 1 0.1 ${cpu}`]);
  });

  it('may be packed, in several files that overlap, in any order of its lines', async () => {
    const whole = shown(await unitsOf(fileOf(lines.join('\n'))));
    const backwards = [...lines].reverse();
    const files = [
      fileOf(gzipSync(backwards.slice(0, 20).join('\n'))),
      fileOf(gzipSync(backwards.slice(10).join('\r\n'))),
    ];
    assert.deepEqual(shown(await unitsOf(...files)), whole);
  });

  it('may have several fields in a line, values with line ends, and no length of the period', async () => {
    const time = `${START}000000000`;
    const text = `dataframes,project_id=shop,type=cpu qty=1,price=2,unit="a\nb",groupby="",metadata="ok,",ok,=true ${time}`;
    const [unit] = shown(await unitsOf(fileOf(text.replace('ok,=', 'ok\\,='))));
    assert.deepEqual(unit, { scope: 'shop', hour: 0, hours: 1, rows: ['cpu a\nb 1 2 {"ok,":true}'] });
  });

  for (const [what, content, pattern] of [
    [
      'a line that is cut',
      `${lines.slice(0, 9).join('\n')}\ndataframes,project_id=shop`,
      /export-\d+:10: column 27 has the end/,
    ],
    ['an open quote', 'dataframes,project_id=a,type=b unit="x 1', /ends inside a quoted value/],
    [
      'a point without a price',
      exported('project_id=a,type=b', 0, { qty: '1', price: '1' }).toSpliced(1, 1).join('\n'),
      /2026-01-30T00:00:00.000Z .*project_id.* it has no price/,
    ],
    [
      'a quantity that is no number',
      'dataframes,project_id=a,type=b qty=NaN,price=1 0',
      /qty is 'NaN', not a number/,
    ],
    [
      'a point without a scope',
      exported('tenant_id=a,type=b', 0, { qty: '1', price: '1' }).join('\n'),
      /names no scope in 'project_id'/,
    ],
    ['a point without a type', 'dataframes,project_id=a qty=1,price=1 0', /it has no type/],
    ['no time', 'dataframes,project_id=a,type=b qty=1 soon', /:1: 'soon' is no time/],
    [
      'other measurements only',
      'cpu,host=a usage=1 1\n',
      /no rated frame of CloudKitty.*1 lines of other measurements/,
    ],
    ['nothing at all', '', /no rated frame of CloudKitty/],
    ['bytes that are no UTF-8', Buffer.from([0x61, 0xff, 0x0a]), /:1: the line is not valid UTF-8/],
    [
      'a packed file that is cut',
      gzipSync(lines.join('\n')).subarray(0, 100),
      /cannot be read to its end \(unexpected end of file/,
    ],
  ] as const) {
    it(`with ${what} is refused with its place`, async () => {
      assert.match(await failureOf(fileOf(content)), pattern);
    });
  }

  it('leaves out what Ratecat stored there itself, and refuses to mix databases', async () => {
    const own = 'dataframes,project_id=shop,ratecat_source=x,type=cpu qty=5,price=5 1769731200000000000';
    const [unit] = await unitsOf(fileOf([own, ...lines].join('\n')));
    assert.equal(unit!.rows.length, 1);
    const other = [
      '# CONTEXT-DATABASE:other',
      '# CONTEXT-RETENTION-POLICY:autogen',
      ...lines.slice(HEADER.length),
    ];
    assert.match(
      await failureOf(fileOf([...lines, ...other].join('\n'))),
      /the frames are of 'other\.autogen', those before of 'cloudkitty\.autogen'/,
    );
  });

  it('has digits as far as they can be stored', async () => {
    const [unit] = await unitsOf(
      fileOf('dataframes,project_id=a,type=b qty=1,price=9.313225746154785e-14 0'),
    );
    assert.equal(unit!.rows[0]!.price.toString(), '0.0000000000000931322574615478');
  });

  it('that is not there is named', async () => {
    assert.match(await failureOf(join(folder, 'absent')), /absent: it cannot be read \(ENOENT/);
  });
});

describe('documents of Elasticsearch and OpenSearch', () => {
  const document = (id: string, hour: number, changes: object = {}) => ({
    _index: 'cloudkitty',
    _id: id,
    _score: 1,
    _source: {
      start: new Date((START + hour * HOUR) * 1000).toISOString().replace('.000Z', '+00:00'),
      end: new Date((START + (hour + 1) * HOUR) * 1000).toISOString(),
      type: 'cpu',
      unit: 'core',
      qty: 1.5,
      price: 0.25,
      groupby: { project_id: 'shop', id: 'vm', month: '1' },
      metadata: { flavor: 'tiny', id: 'overlaid' },
      description: null,
      ...changes,
    },
  });
  const ndjson = (...documents: readonly unknown[]) => documents.map((one) => JSON.stringify(one)).join('\n');

  it('give whole periods; a document that two exports hold counts once, two equal ones twice', async () => {
    const first = fileOf(ndjson(document('a', 1), document('b', 0), document('c', 0)));
    const second = fileOf(gzipSync(ndjson(document('c', 0), document('d', 1, { type: 'volume' }))));
    const point = 'core 1.5 0.25 {"flavor":"tiny","id":"vm","project_id":"shop"}';
    assert.deepEqual(
      shown(await unitsOf(first, second)).map(({ hour, rows }) => [hour, ...rows]),
      [
        [0, `cpu ${point}`, `cpu ${point}`],
        [1, `cpu ${point}`, `volume ${point}`],
      ],
    );
  });

  it('keep the digits of their numbers, may stand alone, and are told from the mapping and from those of Ratecat', async () => {
    const text = JSON.stringify(document('a', 0)._source)
      .replace('1.5', '0.30000000000000004')
      .replace('0.25', '1E-7');
    const mapping = ndjson({ _id: 'm', _source: { mappings: { properties: {} } } });
    const [unit] = shown(await unitsOf(fileOf(`${mapping}\n${text}\n`)));
    const withoutZone = document('a', 0, { start: '2026-01-30T00:00:00', end: '2026-01-30T01:00:00' });
    const own = { ...document('b', 0)._source, ratecat: { version: 1 } };
    assert.deepEqual(
      shown(await unitsOf(fileOf(ndjson(withoutZone, own)))).map(({ hour, hours, rows }) => [
        hour,
        hours,
        rows.length,
      ]),
      [[0, 1, 1]],
    );
    assert.match(unit!.rows[0]!, /^cpu core 0\.30000000000000004 0\.0000001 /);
  });

  for (const [what, content, pattern] of [
    ['a line that is cut', ndjson(document('a', 0)).slice(0, 80), /:1: the line is no JSON object/],
    [
      'a document without a quantity',
      ndjson(document('a', 0), document('b', 0, { qty: null })),
      /:2: it has no qty/,
    ],
    [
      'a document without a scope',
      ndjson(document('a', 0, { groupby: {}, metadata: {} })),
      /:1: it names no scope/,
    ],
    ['a date that is none', ndjson(document('a', 0, { start: 'soon' })), /:1: start is no date/],
    [
      'a period that ends before it begins',
      ndjson(document('a', 0, { end: '2020-01-01T00:00:00Z' })),
      /:1: its period does not end/,
    ],
  ] as const) {
    it(`with ${what} are refused with their place`, async () => {
      assert.match(await failureOf(fileOf(content)), pattern);
    });
  }
});

describe('a line of the line protocol', () => {
  it('reads back names and values, whatever they hold', () => {
    const escaped = (text: string) => text.replace(/([,= ])/g, '\\$1');
    // A backslash at the end of a name cannot be written.
    const name = fc.string({ minLength: 1, maxLength: 12 }).filter((text) => !/[\\\n]/.test(text));
    const seed = sampleSeed();
    fc.assert(
      fc.property(
        name,
        fc.array(fc.tuple(name, name)),
        name,
        fc.string(),
        (measurement, tags, field, value) => {
          const labels = tags.map(([key, text]) => `,${escaped(key)}=${escaped(text)}`).join('');
          const quoted = value.replace(/(["\\])/g, '\\$1');
          const line = parseLine(`${escaped(measurement)}${labels} ${escaped(field)}="${quoted}" 12`);
          assert.deepEqual(line, {
            measurement,
            tags,
            fields: [{ name: field, kind: 'text', value }],
            time: '12',
          });
        },
      ),
      { seed },
    );
  });

  it('that is cut anywhere is a problem, never something else', () => {
    const line = 'dataframes,id=vm\\ 1,type=cpu qty=1.5,unit="a b" 1769731200000000000';
    for (let length = 0; length < line.indexOf(' 17') + 2; length++)
      assert.throws(() => parseLine(line.slice(0, length)), LineProblem, `cut at ${length}`);
  });
});
