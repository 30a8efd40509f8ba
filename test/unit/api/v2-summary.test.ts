import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { calendarText } from '../../../core/reporting/calendar-keys.js';
import { member } from '../../support/api.js';
import { describeOnEngines } from '../../support/engines.js';
import { DAY, frame, HOUR, MONDAY, type OpenedV2, openV2, point, push } from './v2-support.js';

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
    const refused = [
      '',
      '*',
      'DROP qty',
      'MAX(price) AS top',
      'SUM(qty)) FROM x; --',
      'SUM(qty) AS a, SUM(price) AS a',
      'SUM(qty),',
      'SUM(unit)',
      Array.from({ length: 40 }, (_, place) => `SUM(qty) AS c${place}`).join(','),
    ];
    for (const text of refused) {
      const answer = await api.call('GET', `/v2/summary?${fields(text)}`);
      assert.equal(answer.status, 400, text);
      assert.match(answer.json.message, /SUM\(qty\), SUM\(price\), COUNT|same name/);
    }
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
