import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { readExtremes } from '../../../core/api/v2/extremes.js';
import { Fault } from '../../../core/api/v2/faults.js';
import type { PointQuery, Storage } from '../../../core/plugin-api/index.js';
import { calendarText } from '../../../core/reporting/calendar-keys.js';
import { utcCalendar } from '../../../core/testkit/fakes.js';
import { member } from '../../support/api.js';
import { describeOnEngines } from '../../support/engines.js';
import { DAY, frame, HOUR, MONDAY, type OpenedV2, openV2, point, push, time } from './v2-support.js';

const RANGE = 'begin=2026-01-05T00:00:00&end=2026-01-06T00:00:00';
const BOUNDS = ['2026-01-05T00:00:00+00:00', '2026-01-06T00:00:00+00:00'];
const NAMES = ['begin', 'end', 'qty', 'rate'];

describeOnEngines('/v2/summary', (engine) => {
  let api: OpenedV2;
  before(async () => {
    api = await openV2({ url: await engine.newDatabase() });
    const of = (project: string, price: string, flavor: string) =>
      point({ qty: 2, price, groupby: { project_id: project, id: `${project}-vm` }, metadata: { flavor } });
    await push(api, [
      frame(MONDAY, {
        compute: [of('p', '0.1', 'small'), of('q', '0.2', 'large')],
        disk: [of('p', '1', '')],
      }),
      frame(MONDAY + HOUR, { compute: [of('p', '0.2', 'small')] }),
      frame(MONDAY + 30 * DAY, { compute: [of('p', '5', 'small')] }),
      frame(MONDAY + 365 * DAY, { compute: [of('p', '7', 'small')] }),
    ]);
  });
  after(() => api.close());

  const rows = async (query: string, options = {}) => {
    const got = await api.call('GET', `/v2/summary?${query}`, options);
    assert.equal(got.status, 200, got.text);
    return got.json;
  };

  it('sums exactly and prints floats, ungrouped as one row', async () => {
    const got = await api.call('GET', `/v2/summary?${RANGE}`);
    assert.equal(
      got.text,
      `{"total": 1, "columns": ["begin", "end", "qty", "rate"], "results": [["${BOUNDS[0]}", "${BOUNDS[1]}", 8.0, 1.5]], "format": "table"}`,
    );
  });

  it('groups by attributes and type in the order asked for, and sorts by them', async () => {
    const got = await rows(`${RANGE}&groupby=type,project_id`);
    assert.deepEqual(got.columns, [...NAMES, 'type', 'project_id']);
    assert.deepEqual(
      got.results.map((row: unknown[]) => row.slice(2)),
      [
        [4, 0.3, 'compute', 'p'],
        [2, 0.2, 'compute', 'q'],
        [2, 1, 'disk', 'p'],
      ],
    );
    const repeated = await rows(`${RANGE}&groupby=type&groupby=project_id&groupby=type`);
    assert.deepEqual(repeated, got);
  });

  it('groups by metadata, and gives an empty text where an attribute is missing', async () => {
    const got = await rows(`${RANGE}&groupby=flavor,nothing`);
    assert.deepEqual(
      got.results.map((row: unknown[]) => row.slice(3)),
      [
        [1, '', ''],
        [0.2, 'large', ''],
        [0.3, 'small', ''],
      ],
    );
  });

  it('gives a row for each period with data under groupby=time, without a column for it', async () => {
    const got = await rows(`${RANGE}&groupby=time,type`);
    assert.deepEqual(got.columns, [...NAMES, 'type']);
    assert.deepEqual(
      got.results.map((row: unknown[]) => [row[0], row[1], row[3], row[4]]),
      [
        ['2026-01-05T00:00:00+00:00', '2026-01-05T01:00:00+00:00', 0.3, 'compute'],
        ['2026-01-05T01:00:00+00:00', '2026-01-05T02:00:00+00:00', 0.2, 'compute'],
        ['2026-01-05T00:00:00+00:00', '2026-01-05T01:00:00+00:00', 1, 'disk'],
      ],
    );
  });

  it('adds up the days, weeks, months and years of the calendar by their names', async () => {
    const years = 'begin=2026-01-01&end=2028-01-01&filters=type:compute,project_id:p';
    const expected: Readonly<Record<string, readonly [string, readonly (readonly [number, string])[]]>> = {
      'time-d': [
        'day_of_the_year',
        [
          [5, '35'],
          [7.3, '5'],
        ],
      ],
      'time-w': [
        'week_of_the_year',
        [
          [7.3, '01'],
          [5, '05'],
        ],
      ],
      'time-m': [
        'month',
        [
          [7.3, '1'],
          [5, '2'],
        ],
      ],
      'time-y': [
        'year',
        [
          [5.3, '2026'],
          [7, '2027'],
        ],
      ],
    };
    for (const [option, [name, values]] of Object.entries(expected)) {
      for (const asked of [option, name]) {
        const got = await rows(`${years}&groupby=${asked}`);
        assert.deepEqual(got.columns, [...NAMES, name]);
        assert.deepEqual(
          got.results.map((row: unknown[]) => row.slice(3)),
          values,
        );
        assert.ok(got.results.every((row: unknown[]) => row[0] === '2026-01-01T00:00:00+00:00'));
      }
    }
    const both = await rows(`${years}&groupby=time-y,time-d&limit=1&offset=1`);
    assert.deepEqual([both.total, both.results[0].slice(3)], [3, [0.3, '2026', '5']]);
    const within = await rows(`${years}&groupby=time,time-m`);
    assert.deepEqual(
      within.results.map((row: unknown[]) => [row[0], row[4]]),
      [
        ['2026-01-05T00:00:00+00:00', '1'],
        ['2026-01-05T01:00:00+00:00', '1'],
        ['2027-01-05T00:00:00+00:00', '1'],
        ['2026-02-04T00:00:00+00:00', '2'],
      ],
    );
  });

  it('refuses other names that look like times', async () => {
    for (const name of ['time-x', 'uptime-avg', 'time-']) {
      const got = await api.call('GET', `/v2/summary?${RANGE}&groupby=${name}`);
      assert.deepEqual(
        [got.status, got.json.message],
        [400, `Invalid groupby time option. There is no groupby processing for [${name}].`],
      );
    }
    assert.equal((await rows(`${RANGE}&groupby=time-d-x`)).results[0][4], '');
    assert.equal((await rows(`${RANGE}&groupby=timestamp`)).results[0][4], '');
  });

  it('filters by any of several values, metadata too', async () => {
    const rate = async (filters: string) => (await rows(`${RANGE}&filters=${filters}`)).results[0]?.[3];
    assert.equal(await rate('project_id:p'), 1.3);
    assert.equal(await rate('project_id:p,project_id:q'), 1.5);
    assert.equal(await rate('type:compute,type:disk,project_id:q'), 0.2);
    assert.equal(await rate('flavor:small'), 0.3);
    assert.equal(await rate('project_id:nobody'), undefined);
  });

  it('gives an empty table where nothing matches, grouped or not, and past the last row', async () => {
    const empty = '{"total": 0, "columns": [], "results": [], "format": "table"}';
    const texts = [
      `begin=2026-01-06&end=2026-01-05`,
      `${RANGE}&filters=project_id:nobody`,
      `${RANGE}&filters=project_id:nobody&groupby=type,time-d`,
    ];
    for (const query of texts) assert.equal((await api.call('GET', `/v2/summary?${query}`)).text, empty);
    const past = await rows(`${RANGE}&groupby=type&offset=9`);
    assert.deepEqual(past, { total: 2, columns: [], results: [], format: 'table' });
  });

  it('answers as objects where asked, and refuses other formats', async () => {
    const got = await api.call('GET', `/v2/summary?${RANGE}&groupby=type&limit=1&response_format=object`);
    assert.equal(
      got.text,
      `{"total": 2, "results": [{"begin": "${BOUNDS[0]}", "end": "${BOUNDS[1]}", "qty": 6.0, "rate": 0.5, "type": "compute"}], "format": "object"}`,
    );
    assert.equal((await api.call('GET', `/v2/summary?response_format=xml`)).status, 400);
  });

  it('understands the custom fields that are exact, and names them when it refuses others', async () => {
    const fields = (text: string) =>
      `${RANGE}&groupby=type&limit=1&custom_fields=${encodeURIComponent(text)}`;
    const got = await rows(fields('sum(price) as cost, COUNT(qty) AS "how many", SUM(qty)'));
    assert.deepEqual(got.columns, ['begin', 'end', 'cost', 'how many', 'sum', 'type']);
    assert.deepEqual(got.results[0].slice(2), [0.5, 3, 6, 'compute']);
    const points = await rows(fields('MIN(price) AS low,max(price) AS top,MEAN(qty),AVG(price)'));
    assert.deepEqual(points.columns, ['begin', 'end', 'low', 'top', 'mean', 'avg', 'type']);
    assert.deepEqual(points.results[0].slice(2), [0.1, 0.2, 2, 0.16666666666666666, 'compute']);
    const refused = [
      '',
      '*',
      'DROP qty',
      'MEDIAN(price) AS middle',
      'SUM(qty)) FROM x; --',
      'SUM(qty) AS a, SUM(price) AS a',
      'SUM(qty),',
      'SUM(unit)',
      'MAX(flavor)',
      'constructor(qty)',
      Array.from({ length: 40 }, (_, place) => `SUM(qty) AS c${place}`).join(','),
    ];
    for (const text of refused) {
      const answer = await api.call('GET', `/v2/summary?${fields(text)}`);
      assert.equal(answer.status, 400, text);
      assert.match(
        answer.json.message,
        /SUM, COUNT, MEAN \(or AVG\), MIN and MAX of qty and price|same name/,
      );
    }
  });

  it('finds the smallest and largest values of each row, whatever it is grouped by, in what the caller may see', async () => {
    const fields = 'custom_fields=MIN(price) AS low,MAX(price) AS top';
    const asked = (query: string, options = {}) => rows(`${encodeURI(fields)}&${query}`, options);
    const values = (table: { results: readonly unknown[][] }) => table.results.map((row) => row.slice(2));
    assert.deepEqual(values(await asked(RANGE)), [[0.1, 1]]);
    assert.deepEqual(values(await asked(`${RANGE}&groupby=flavor,project_id,nothing`)), [
      [1, 1, '', 'p', ''],
      [0.2, 0.2, 'large', 'q', ''],
      [0.1, 0.2, 'small', 'p', ''],
    ]);
    assert.deepEqual(values(await asked(`${RANGE}&groupby=time`)), [
      [0.1, 1],
      [0.2, 0.2],
    ]);
    const years = 'begin=2026-01-01&end=2028-01-01&filters=type:compute';
    assert.deepEqual(values(await asked(`${years}&groupby=time-m`)), [
      [0.1, 7, '1'],
      [5, 5, '2'],
    ]);
    assert.deepEqual(values(await asked(`${years},month:1`)), [[0.1, 7]]);
    assert.deepEqual(values(await asked(`${years}&groupby=time-m&offset=1`)), [[5, 5, '2']]);
    assert.deepEqual(values(await asked(RANGE, { identity: member('q') })), [[0.2, 0.2]]);
    assert.deepEqual((await asked(`${RANGE}&filters=project_id:nobody`)).results, []);
  });

  it('finds them by the same texts of attributes as the sums', async () => {
    const kinds = [5, 1.1, true, null, ['a', 1], { deep: 2 }, 'text', ''];
    const begin = MONDAY + 3000 * DAY;
    const points = kinds.map((kind, place) =>
      point({ price: place + 1, groupby: { project_id: 'kinds', kind } }),
    );
    assert.equal((await push(api, [frame(begin, { x: points })])).status, 204);
    const range = `begin=${time(begin)}&end=${time(begin + HOUR)}`;
    const got = await rows(`${range}&groupby=kind&custom_fields=SUM(price),MIN(price),MAX(price) AS top`);
    assert.ok(got.total >= kinds.length - 1, got.total);
    for (const [, , sum, least, most, kind] of got.results) {
      assert.ok(typeof least === 'number' && typeof most === 'number', kind);
      if (kind !== '') assert.deepEqual([least, most], [sum, sum], kind);
    }
  });

  it('filters by parts of the date, under both names, as it groups by them', async () => {
    const rate = async (query: string) => (await rows(query)).results.map((row: unknown[]) => row[3]);
    const years = 'begin=2026-01-01&end=2028-01-01&filters=type:compute,project_id:p';
    const cases: readonly (readonly [string, readonly number[]])[] = [
      ['month:1', [7.3]],
      ['time-m:1', [7.3]],
      ['month:2', [5]],
      ['month:1,month:2', [12.3]],
      ['month:3', []],
      ['month:01', []],
      ['month:x', []],
      ['year:2026', [5.3]],
      ['year:2027,month:1', [7]],
      ['year:2027,month:2', []],
      ['day_of_the_year:5', [7.3]],
      ['time-d:35', [5]],
      ['week_of_the_year:01', [7.3]],
      ['week_of_the_year:05', [5]],
      ['week_of_the_year:5', []],
    ];
    for (const [filter, expected] of cases)
      assert.deepEqual(await rate(`${years},${filter}`), expected, filter);
    const both = await rows(`${years},month:1&groupby=type,time-y&limit=1&offset=1`);
    assert.deepEqual(both, {
      total: 2,
      columns: [...NAMES, 'type', 'year'],
      results: [['2026-01-01T00:00:00+00:00', '2028-01-01T00:00:00+00:00', 2, 7, 'compute', '2027']],
      format: 'table',
    });
    const one = await rows(`${years},month:2`);
    assert.deepEqual(one.results[0].slice(0, 2), ['2026-01-01T00:00:00+00:00', '2028-01-01T00:00:00+00:00']);
    const periods = await rows(`${years},month:1&groupby=time`);
    assert.deepEqual(
      periods.results.map((row: unknown[]) => [row[0], row[3]]),
      [
        ['2026-01-05T00:00:00+00:00', 0.1],
        ['2026-01-05T01:00:00+00:00', 0.2],
        ['2027-01-05T00:00:00+00:00', 7],
      ],
    );
  });

  it('refuses filters by date over ranges that would take too long', async () => {
    for (const query of [
      'begin=0001-01-01&end=9999-12-31&filters=month:13',
      'begin=1900-01-01&end=2100-01-01&filters=month:1',
      'begin=2000-01-01&end=2020-01-01&filters=day_of_the_year:400',
    ]) {
      const got = await api.call('GET', `/v2/summary?${query}`);
      assert.deepEqual([got.status, /choose a shorter/.test(got.json.message)], [400, true], query);
    }
    assert.deepEqual((await rows('begin=1900-01-01&end=2100-01-01&filters=year:2027,month:1')).total, 1);
  });

  it('lets an attribute named like a column take its place', async () => {
    const got = await rows(`${RANGE}&groupby=qty`);
    assert.deepEqual(got.columns, NAMES);
    assert.deepEqual(got.results[0].slice(2), ['', 1.5]);
  });

  it('shows others than admins their own project, and nothing to those without one', async () => {
    const identity = member('q');
    for (const query of [
      '',
      '&filters=project_id:p',
      '&filters=project_id:p,project_id:q&groupby=project_id',
    ])
      assert.equal((await rows(`${RANGE}${query}`, { identity })).results[0][3], 0.2);
    const nobody = await api.call('GET', `/v2/summary?${RANGE}`, { identity: member(undefined) });
    assert.equal(nobody.text, '{"total": 0, "columns": [], "results": []}');
  });

  it('reads times with offsets, without them as UTC, and dates alone', async () => {
    const total = async (begin: string, end: string) =>
      (await rows(`begin=${encodeURIComponent(begin)}&end=${encodeURIComponent(end)}`)).results[0]?.[3];
    assert.equal(await total('2026-01-05T09:00:00+09:00', '20260105T010000Z'), 1.3);
    assert.equal(await total('2026-01-05 00:00', '2026-01-05T01:30:00.999'), 1.5);
    assert.equal(await total('2026-01', '2026-02'), 1.5);
    assert.equal(await total('2026', '2028'), 13.5);
    assert.equal(await total('2026-1-5', '2026-01-04T20:00:00-0500'), 1.3);
    const refused = [
      '',
      '2026-13',
      '2026-02-30',
      '202601',
      '2026-01-05T24:00',
      '26-01-05',
      '2026-01-05T00:00:60',
      '2026-01-05T00:00+24:00',
      '0000',
      'now',
      '2026-01-05T00:00:00 01:00',
      '10000-01-01',
      '0001-01-01T00:00+01:00',
    ];
    for (const text of refused) {
      const got = await api.call('GET', `/v2/summary?begin=${encodeURIComponent(text)}`);
      assert.equal(got.status, 400, text);
      assert.match(got.json.message, /expected dt_from_iso \(path: '\['begin'\]'\)$/);
    }
  });
});

it('weeks of the year begin on Sunday, days before the first one are in week 00', () => {
  const expected: readonly (readonly [number, string, string])[] = [
    [20260101, '1', '00'],
    [20260103, '3', '00'],
    [20260104, '4', '01'],
    [20261231, '365', '52'],
    [20170101, '1', '01'],
    [20241231, '366', '52'],
    [20231231, '365', '53'],
  ];
  for (const [day, dayOfYear, week] of expected)
    assert.deepEqual([calendarText('day', day), calendarText('week', day)], [dayOfYear, week], String(day));
});

it('smallest and largest values are not looked for in more points than can be read in a moment', async () => {
  const storage = {
    countPoints: async () => 60_000,
    readPeriods: () => assert.fail('nothing is read'),
  } as unknown as Storage;
  const query: PointQuery = { visible: 'all', begin: 0, end: 1 };
  await assert.rejects(
    readExtremes(
      { storage, calendar: utcCalendar },
      { queries: [query, query], keys: [], byPeriod: false },
      new AbortController().signal,
    ),
    (error) =>
      error instanceof Fault && error.status === 400 && /at most 100000 points.*120000/.test(error.message),
  );
});
