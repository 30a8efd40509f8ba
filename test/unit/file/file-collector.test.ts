import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { BEGIN, csv, Drop, HEADER, HOUR, metric, row } from './drop.js';

async function dropped(
  files: Readonly<Record<string, string | Buffer>>,
  options: Record<string, unknown> = {},
): Promise<Drop> {
  const drop = new Drop();
  for (const [name, content] of Object.entries(files)) drop.put(name, content);
  await drop.start(options);
  return drop;
}

test('lines of CSV files are samples, in the period in which they begin, exact to the last digit', async () => {
  const exact = '0.1234567890123456789012345678';
  const drop = await dropped({
    'a.csv': csv(row(0, 'p1', 'vm', exact, 'i1'), row(1, 'p1', 'vm', '2', 'i1')),
  });
  const collected = await drop.ask();
  assert.equal(collected.kind, 'measured');
  if (collected.kind !== 'measured') return;
  assert.equal(collected.samples.length, 1);
  assert.equal(collected.samples[0]!.value.toString(), exact);
  assert.deepEqual(
    [...collected.samples[0]!.groupby],
    [
      ['id', 'i1'],
      ['project_id', 'p1'],
    ],
  );
  assert.deepEqual([...collected.samples[0]!.metadata], [['flavor', 'm']]);
  assert.equal(await drop.total('vm', 1), '2');
  assert.equal(await drop.total('vm', 2), 'nothing');
  assert.equal(await drop.total('vm', 0, 'p2'), 'nothing');
  await drop.stop();
});

test('lines of NDJSON files are samples; numbers keep their digits, names of objects are just names', async () => {
  const line = `{"timestamp":${BEGIN},"scope":"p1","metric":"vm","quantity":12345678901234567890.10,"id":1.0,"__proto__":"x","constructor":"y"}`;
  const drop = await dropped({ 'a.ndjson': `${line}\n` });
  const period = { begin: BEGIN, end: BEGIN + HOUR };
  const odd = { ...metric('vm'), groupby: ['id', '__proto__', 'constructor'], metadata: ['toString'] };
  const scope = { key: 'project_id', id: 'p1' };
  const collected = await drop.collector.collect(
    { metric: odd, scope, period },
    new AbortController().signal,
  );
  assert.equal(collected.kind, 'measured', JSON.stringify(drop.rejects()));
  if (collected.kind !== 'measured') return;
  const [sample] = collected.samples;
  assert.equal(sample!.value.toString(), '12345678901234567890.1');
  assert.equal(sample!.groupby.canonical(), '{"__proto__":"x","constructor":"y","id":1.0}');
  assert.deepEqual(sample!.metadata.values, ['']);
  await drop.stop();
});

test('a sample belongs to the period when begin <= its time < end, whatever its fraction of a second', async () => {
  const drop = await dropped({
    'a.csv': [
      'timestamp,scope,metric,quantity',
      '2026-01-01T00:00:00Z,p1,vm,1',
      '2026-01-01T00:59:59.999999Z,p1,vm,10',
      '2026-01-01T01:00:00Z,p1,vm,100',
      '2026-01-01T09:00:00+08:30,p1,vm,1000',
      `${BEGIN + 5},p1,vm,10000`,
      `${BEGIN - 1}.9,p1,vm,100000`,
      '2026-01-01 00:30,p1,vm,1000000',
    ].join('\n'),
  });
  assert.equal(await drop.total(), '1011011');
  assert.equal(await drop.total('vm', -1), '100000');
  assert.equal(await drop.total('vm', 1), '100');
  await drop.stop();
});

test('samples of one group become one, by the aggregation of the metric', async () => {
  const lines = ['5', '1', '4'].map((quantity, i) => row(0, 'p1', 'vm', quantity, 'i', `f${i}`));
  const drop = await dropped({ 'a.csv': csv(...lines, row(0, 'p1', 'vm', '7', 'other')) });
  const expected = {
    sum: '10',
    mean: '3.333333333333333333333333333',
    max: '5',
    min: '1',
    last: '4',
  } as const;
  for (const [aggregation, value] of Object.entries(expected)) {
    const collected = await drop.ask('vm', 0, 'p1', { aggregation: aggregation as keyof typeof expected });
    assert.equal(collected.kind, 'measured');
    if (collected.kind !== 'measured') return;
    assert.deepEqual(
      collected.samples.map((sample) => [
        sample.groupby.get('id'),
        sample.value.toString(),
        sample.metadata.get('flavor'),
      ]),
      [
        ['i', value, 'f2'],
        ['other', '7', 'm'],
      ],
      aggregation,
    );
  }
  await drop.stop();
});

test('byte order mark, CRLF, quoted cells and a missing last line break are read', async () => {
  const text = `\uFEFF${HEADER}\r\n${row(0, 'p1', 'vm', '1', '"a ""b"", c"')}\r\n\r\n${row(0, 'p1', 'vm', '2', 'd')}`;
  const drop = await dropped({
    'a.csv': text,
    'b.ndjson': `\uFEFF{"timestamp":${BEGIN},"scope":"p1","metric":"vm","quantity":"4"}\r\n`,
  });
  const collected = await drop.ask();
  assert.equal(collected.kind, 'measured', JSON.stringify(drop.rejects()));
  if (collected.kind !== 'measured') return;
  assert.deepEqual(
    collected.samples.map((sample) => [sample.groupby.get('id'), sample.value.toString()]),
    [
      ['a "b", c', '1'],
      ['d', '2'],
      ['', '4'],
    ],
  );
  assert.deepEqual(drop.names('rejected'), []);
  await drop.stop();
});

test('bad lines go to quarantine with number and reason, good lines of the same file count', async () => {
  const bad: readonly (readonly [string, RegExp])[] = [
    [row(0, 'p1', 'vm', 'abc'), /quantity 'abc' is not a decimal number/],
    [row(0, 'p1', 'vm', 'NaN'), /not a decimal number/],
    [row(0, 'p1', 'vm', 'Infinity'), /not a decimal number/],
    [row(0, 'p1', 'vm', ''), /not a decimal number/],
    [row(0, 'p1', 'vm', '-1'), /negative/],
    [row(0, 'p1', 'vm', '1e40'), /digits before the point/],
    [row(0, '', 'vm', '1'), /scope is empty/],
    [row(0, ' p1', 'vm', '1'), /begins or ends with a blank/],
    [row(0, 'p1', '', '1'), /metric is empty/],
    [row(0, 'p'.repeat(256), 'vm', '1'), /scope is longer than 255/],
    [row(0, 'p\u0007', 'vm', '1'), /control character/],
    ['2026-02-30,,p1,vm,1,i,m', /begin '2026-02-30' is neither/],
    ['0099-01-01,,p1,vm,1,i,m', /begin '0099-01-01' is neither/],
    ['1767225600000,,p1,vm,1,i,m', /milliseconds\?/],
    ['yesterday,,p1,vm,1,i,m', /begin 'yesterday' is neither/],
    ['2026-01-01T02:00:00Z,2026-01-01T01:00:00Z,p1,vm,1,i,m', /end is before begin/],
    ['only,three,cells', /the line has 3 columns, the header 7/],
    [`${row(0, 'p1', 'vm', '1')},more`, /the line has 8 columns, the header 7/],
    [row(0, 'p1', 'vm', '1', '"open'), /quote is not closed/],
    [row(0, 'p1', 'vm', '1', '"a"b'), /follows the closing quote/],
    [row(0, 'p1', 'vm', '1', 'a"b'), /must be quoted/],
    [row(0, 'p1', 'vm', '1', 'a\0b'), /zero byte/],
    [HEADER, /the header again/],
  ];
  const drop = await dropped({
    'a.csv': csv(...bad.flatMap(([line], i) => [line, row(0, 'p1', 'vm', '1', `good${i}`)])),
  });
  assert.equal(await drop.total(), String(bad.length));
  const rejects = drop.rejects();
  assert.equal(rejects.length, bad.length, JSON.stringify(rejects, undefined, 1));
  bad.forEach(([line, reason], i) => {
    assert.match(rejects[i]!.reason, reason);
    assert.equal(rejects[i]!.line, 2 + 2 * i);
    assert.equal(rejects[i]!.text, line);
  });
  assert.match(drop.names('accepted').join(), /^a\.[0-9a-f]{12}\.csv$/);
  assert.match(drop.names('rejected').join(), /^a\.[0-9a-f]{12}\.csv\.ndjson$/);
  await drop.stop();
});

test('bad JSON lines go to quarantine with their reasons', async () => {
  const good = `{"timestamp":${BEGIN},"scope":"p1","metric":"vm","quantity":1}`;
  const bad: readonly (readonly [string, RegExp])[] = [
    ['{"timestamp":', /not JSON/],
    ['[1,2]', /not a JSON object/],
    ['17', /not a JSON object/],
    ['null', /not a JSON object/],
    [good.replace('}', ',"id":{"a":1}}'), /'id' is neither text/],
    [good.replace('}', ',"quantity":2}'), /not JSON.*quantity/],
    [good.replace(':1}', ':NaN}'), /not JSON/],
    [good.replace(':1}', ':true}'), /not a decimal/],
    [good.replace(':1}', ':1e999999999}'), /out of range/],
    [good.replace('"quantity":1', '"amount":1'), /quantity '' is not/],
    [good.replace(`"timestamp":${BEGIN},`, ''), /timestamp '' is neither/],
    ['['.repeat(200_000), /nested too deeply/],
  ];
  const drop = await dropped({ 'a.ndjson': bad.flatMap(([line]) => [line, good]).join('\n') });
  assert.equal(await drop.total(), String(bad.length));
  const rejects = drop.rejects();
  assert.equal(rejects.length, bad.length);
  bad.forEach(([, reason], i) => {
    assert.match(rejects[i]!.reason, reason);
    assert.equal(rejects[i]!.line, 1 + 2 * i);
  });
  await drop.stop();
});

test('a file of which nothing can be read goes to quarantine as a whole, with the reason', async () => {
  const junk = Buffer.from(Array.from({ length: 5000 }, (_, i) => (i * 7919) % 256));
  const cases: Readonly<Record<string, readonly [string | Buffer, RegExp]>> = {
    'missing-header.csv': [
      `${row(0, 'p1', 'vm', '1')}\n`,
      /must be a header; it lacks metric, quantity, scope, begin/,
    ],
    'duplicate-column.csv': ['begin,scope,metric,quantity,metric\n', /has the column 'metric' twice/],
    'nameless.csv': ['begin,scope,metric,quantity,\n', /column without a name/],
    'semicolons.csv': [csv(row(0, 'p1', 'vm', '1')).replaceAll(',', ';'), /delimiter/],
    'empty.csv': ['', /the file is empty/],
    'empty.ndjson': ['', /the file is empty/],
    'binary.csv': [junk, /not text|zero byte|header/],
    'utf16.csv': [Buffer.from(`\uFEFF${csv(row(0, 'p1', 'vm', '1'))}`, 'utf16le'), /UTF-16/],
    'long.csv': [Buffer.alloc(10 * 2 ** 20, 'x'), /longer than 1048576 bytes/],
  };
  for (const [name, [content, reason]] of Object.entries(cases)) {
    const drop = await dropped({ [name]: content });
    const rejects = drop.rejects();
    assert.equal(rejects.length, 1, name);
    assert.match(rejects[0]!.reason, reason, name);
    assert.equal(rejects[0]!.line, 0);
    assert.deepEqual(drop.names('accepted'), [], name);
    assert.equal(drop.names('rejected').length, 2, `${name} and its report`);
    await drop.stop();
  }
});

test('a file of binary junk named NDJSON is rejected line by line and kept', async () => {
  const junk = Buffer.from(Array.from({ length: 100_000 }, (_, i) => (i * 7919 + (i >> 8)) % 256));
  const drop = await dropped({ 'junk.ndjson': junk });
  const kept = drop.names('rejected').find((name) => !name.endsWith('.ndjson.ndjson'))!;
  assert.deepEqual(readFileSync(join(drop.folder, 'rejected', kept)), junk);
  assert.ok(drop.rejects().length > 100);
  await drop.stop();
});

test('a line of ten megabytes is rejected and the lines around it count', async () => {
  const long = row(0, 'p1', 'vm', '1', 'x'.repeat(10 * 2 ** 20));
  const drop = await dropped({ 'a.csv': csv(row(0, 'p1', 'vm', '1'), long, row(0, 'p1', 'vm', '2')) });
  assert.equal(await drop.total(), '3');
  const [reject] = drop.rejects();
  assert.equal(reject!.line, 3);
  assert.match(reject!.reason, /longer than 1048576 bytes/);
  assert.ok(reject!.text.length <= 2000);
  await drop.stop();
});

test('files being written and files of others are left alone', async () => {
  const text = csv(row(0, 'p1', 'vm', '1'));
  const drop = await dropped({ 'a.csv.part': text, 'b.csv.tmp': text, '.c.csv': text, 'd.txt': text });
  mkdirSync(join(drop.folder, 'folder.csv'));
  symlinkSync('/etc/passwd', join(drop.folder, 'link.csv'));
  execFileSync('mkfifo', [join(drop.folder, 'pipe.csv')]);
  assert.equal(await drop.total(), 'nothing');
  assert.equal(await drop.total(), 'nothing');
  const left = drop.names('.').filter((name) => !['accepted', 'rejected', '.ratecat'].includes(name));
  assert.deepEqual(left, [
    '.c.csv',
    'a.csv.part',
    'b.csv.tmp',
    'd.txt',
    'folder.csv',
    'link.csv',
    'pipe.csv',
  ]);
  const warned = drop.logger.lines.filter(({ level }) => level === 'warn').map(({ fields }) => fields.file);
  assert.deepEqual(warned.sort(), ['folder.csv', 'link.csv', 'pipe.csv']);
  await drop.stop();
});

test('hostile file names are taken in and come out harmless', async () => {
  const drop = new Drop();
  const names = [
    'a\nb.csv',
    '%2e%2e%2f..csv',
    `${'x'.repeat(250)}.csv`,
    'käse 🧀.csv',
    '-rf.csv',
    'UPPER.CSV',
  ];
  names.forEach((name, i) => {
    drop.put(name, csv(row(0, 'p1', 'vm', String(10 ** i), `i${i}`)));
  });
  const notText = Buffer.concat([
    Buffer.from(`${drop.folder}/`),
    Buffer.from([0xff, 0xfe]),
    Buffer.from('.csv'),
  ]);
  writeFileSync(notText, csv(row(0, 'p1', 'vm', '1000000')));
  await drop.start();
  assert.equal(await drop.total(), '1111111');
  assert.equal(drop.names('accepted').length, 7);
  for (const name of drop.names('accepted')) assert.ok(!/[\n/]/.test(name) && Buffer.byteLength(name) <= 255);
  await drop.stop();
});

test('the same content counts once, under whatever name and however often it is dropped', async () => {
  const text = csv(row(0, 'p1', 'vm', '1'));
  const drop = await dropped({ 'a.csv': text, 'b.csv': text });
  assert.equal(await drop.total(), '1');
  drop.put('c.csv', text);
  assert.equal(await drop.total(), '1');
  drop.put('c.csv', csv(row(0, 'p1', 'vm', '2')));
  assert.equal(await drop.total(), '3');
  assert.equal(drop.logger.lines.filter(({ message }) => message.includes('taken in before')).length, 2);
  assert.equal(drop.names('accepted').length, 4);
  await drop.stop();
});

test('a name that is used again is another file', async () => {
  const drop = await dropped({ 'a.csv': csv(row(0, 'p1', 'vm', '1')) });
  for (let i = 2; i <= 5; i++) {
    drop.put('a.csv', csv(row(0, 'p1', 'vm', String(i))));
    await drop.ask();
  }
  assert.equal(await drop.total(), '15');
  assert.equal(drop.names('accepted').length, 5);
  await drop.stop();
});

test('a period that no file spans is not answered before it has settled, and nothing after that', async () => {
  const drop = new Drop();
  drop.clock.jumpWallClock((BEGIN + HOUR) * 1000 - drop.clock.now());
  await drop.start({ settle_seconds: 600 });
  await assert.rejects(drop.ask(), {
    code: 'RATECAT_FILE_PERIOD_INCOMPLETE',
    retryable: true,
    message: /2026-01-01T00:00:00.000Z.*closed at 2026-01-01T01:10:00.000Z/,
  });
  drop.clock.jumpWallClock(599_000);
  await assert.rejects(drop.ask(), { code: 'RATECAT_FILE_PERIOD_INCOMPLETE' });
  drop.clock.jumpWallClock(1_000);
  assert.equal((await drop.ask()).kind, 'nothing');
  await drop.stop();
});

test('a file that spans the period answers at once, for its samples and for what it does not mention', async () => {
  const drop = new Drop();
  drop.clock.jumpWallClock((BEGIN + HOUR) * 1000 - drop.clock.now());
  drop.put('half.csv', csv('2026-01-01T00:00:00Z,2026-01-01T00:30:00Z,p1,vm,1,i,m'));
  await drop.start();
  await assert.rejects(drop.ask(), { code: 'RATECAT_FILE_PERIOD_INCOMPLETE' });
  drop.put('whole.csv', csv(row(0, 'p1', 'vm', '5')));
  assert.equal(await drop.total(), '6');
  assert.equal(await drop.total('disk'), 'nothing');
  await drop.stop();
});

test('a late file is kept, counted when asked again, and told with its name and periods', async () => {
  const drop = await dropped({ 'a.csv': csv(row(0, 'p1', 'vm', '1'), row(3, 'p1', 'vm', '1')) });
  for (let hour = 0; hour < 4; hour++) await drop.ask('vm', hour);
  drop.put(
    'late.csv',
    csv(row(1, 'p1', 'vm', '2'), row(2, 'p1', 'vm', '3'), row(9, 'p1', 'vm', '4'), row(1, 'p2', 'vm', '5')),
  );
  assert.equal(await drop.total('vm', 1), '2');
  const told = drop.logger.lines.filter(({ message }) => message.includes('came late'));
  assert.deepEqual(
    told.map(({ level, fields }) => [level, fields]),
    [
      [
        'warn',
        {
          file: 'late.csv',
          samples: 2,
          scopes: 1,
          firstPeriod: '2026-01-01T01:00:00.000Z',
          lastPeriod: '2026-01-01T02:00:00.000Z',
        },
      ],
    ],
  );
  await drop.stop();
});

test('the fetcher lists the scopes of the files with their names, and forgets those long silent', async () => {
  const drop = new Drop();
  drop.clock.jumpWallClock((BEGIN + HOUR) * 1000 - drop.clock.now());
  drop.put(
    'a.ndjson',
    `{"timestamp":${BEGIN},"project_id":"p2","scope_name":"Two","metric":"vm","quantity":1}\n`,
  );
  drop.put('b.csv', csv(row(0, "p1'; DROP TABLE scopes --", 'vm', '1')));
  await drop.start();
  const signal = new AbortController().signal;
  assert.deepEqual(await drop.fetcher.fetchScopes(signal), [
    { key: 'project_id', id: "p1'; DROP TABLE scopes --", name: undefined },
    { key: 'project_id', id: 'p2', name: 'Two' },
  ]);
  assert.equal(await drop.collector.earliest?.({ key: 'project_id', id: 'p2' }, signal), BEGIN);
  assert.equal(await drop.total('vm', 0, "p1'; DROP TABLE scopes --"), '1');
  drop.clock.jumpWallClock(40 * 86_400_000);
  assert.deepEqual(await drop.fetcher.fetchScopes(signal), []);
  await drop.stop();
});

test('samples past their age are removed, and their periods are unmeasurable, never empty', async () => {
  const drop = await dropped({ 'old.csv': csv(row(0, 'p1', 'vm', '1')) }, { keep_days: 200 });
  assert.equal(await drop.total(), '1');
  drop.clock.jumpWallClock(150 * 86_400_000);
  drop.put('new.csv', csv(row(24 * 200, 'p1', 'vm', '2')));
  await drop.stop();
  await drop.start({ keep_days: 200 });
  await new Promise((resolve) => setImmediate(resolve));
  const collected = await drop.ask();
  assert.equal(collected.kind, 'unmeasurable');
  assert.match(
    (collected as { reason: string }).reason,
    /samples before 2026-01-01T01:00:01.000Z were removed.*keep_days/,
  );
  assert.equal(await drop.total('vm', 24 * 200), '2');
  assert.equal(drop.names('accepted').length, 2);
  await drop.stop();
});

test('everything is there after a restart', async () => {
  const drop = await dropped({ 'a.csv': csv(row(0, 'p1', 'vm', '1')) });
  await drop.stop();
  await drop.start();
  assert.equal(await drop.total(), '1');
  assert.equal((await drop.fetcher.fetchScopes(new AbortController().signal)).length, 1);
  await drop.stop();
});

test('two processes on one folder take each file in once', async () => {
  const first = new Drop();
  await first.start();
  const second = new Drop(first.folder);
  await second.start();
  for (let i = 0; i < 20; i++)
    first.put(`${i}.csv`, csv(...Array.from({ length: 50 }, (_, k) => row(0, 'p1', 'vm', '1', `${i}-${k}`))));
  const answer = async (drop: Drop): Promise<string> => {
    for (const deadline = Date.now() + 20_000; ; ) {
      try {
        return await drop.total();
      } catch (error) {
        assert.equal((error as { code?: string }).code, 'RATECAT_FILE_STILL_READING');
        assert.ok(Date.now() < deadline, 'still reading after twenty seconds');
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
  };
  assert.deepEqual(await Promise.all([answer(first), answer(second)]), ['1000', '1000']);
  assert.equal(first.names('accepted').length, 20);
  await first.stop();
  await second.stop();
});

test('a folder that cannot be used is refused with its name', async () => {
  const drop = new Drop();
  writeFileSync(join(drop.folder, 'accepted'), 'a file in the way');
  await assert.rejects(drop.start(), {
    code: 'RATECAT_FILE_FOLDER_UNUSABLE',
    kind: 'config',
    message: new RegExp(drop.folder),
  });
});

test('a file that may not be read is put aside, not tried for ever', async (t) => {
  if (process.getuid?.() === 0) {
    t.diagnostic('root may read every file; the case is checked where tests run as another user');
    return;
  }
  const drop = new Drop();
  drop.put('secret.csv', csv(row(0, 'p1', 'vm', '1')));
  chmodSync(join(drop.folder, 'secret.csv'), 0o000);
  await drop.start();
  assert.equal(drop.names('rejected').length, 1);
  await drop.stop();
});
