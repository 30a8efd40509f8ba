import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import fc from 'fast-check';
import { Attributes, Decimal } from '../../../core/plugin-api/index.js';
import { sampleSeed } from '../../../core/testkit/samples.js';
import { member } from '../../support/api.js';
import { describeOnEngines } from '../../support/engines.js';
import { DAY, frame, HOUR, MONDAY, type OpenedV2, openV2, point, push, time } from './v2-support.js';

const PROJECTS = ['alpha', 'beta'] as const;
const RUNS = { sqlite: 3000, mariadb: 600 };
const { signal } = new AbortController();

/** A text that only the points of one project hold. */
function marker(project: string, place: string): string {
  return `secret-of-${project}-${place}`;
}

/** Every text of it is the project's own; the numbers too: prices of the projects are different powers of ten. */
function secretPoint(project: string, id: number) {
  const price = project === 'alpha' ? '1000' : '7';
  return {
    metric: marker(project, 'metric'),
    unit: marker(project, 'unit'),
    price,
    groupby: { project_id: project, id: marker(project, `id${id}`), [marker(project, 'name')]: 'x' },
    metadata: { flavor: marker(project, 'flavor'), shared: 'same' },
  };
}

describeOnEngines('projects', (engine) => {
  let api: OpenedV2;
  before(async () => {
    api = await openV2({ url: await engine.newDatabase() });
    for (const project of PROJECTS) {
      const points = [1, 2, 3].map((id) => secretPoint(project, id));
      await push(api, [
        frame(MONDAY, { shared: points.map(point) }),
        frame(MONDAY + HOUR, { [marker(project, 'metric')]: points.map(point) }),
      ]);
      await api.services.storage.replacePeriod(
        {
          source: 'default',
          scope: { key: 'project_id', id: project },
          period: { begin: MONDAY, end: MONDAY + HOUR },
          gaps: [],
          points: points.map(({ metric, unit, price, groupby, metadata }) => ({
            descriptor: {
              metric,
              unit,
              groupby: Attributes.from(groupby),
              // An attribute may name another project; it does not matter.
              metadata: Attributes.from({ ...metadata, tenant: PROJECTS.find((one) => one !== project)! }),
              description: marker(project, 'description'),
            },
            quantity: Decimal.ONE,
            price: Decimal.parse(price),
          })),
        },
        { fence: 0, generation: 1, snapshot: marker(project, 'snapshot') },
        signal,
      );
    }
  });
  after(() => api.close());

  const names = fc.constantFrom(
    'project_id',
    'id',
    'type',
    'time',
    'time-d',
    'time-m',
    'flavor',
    'tenant',
    'shared',
    'month',
    'year',
    'nothing',
    'scope_id',
    ...PROJECTS.map((project) => marker(project, 'name')),
  );
  const values = fc.constantFrom(
    'alpha',
    'beta',
    'shared',
    'same',
    'x',
    '',
    '__UNDEF__',
    '1',
    '2026',
    '*',
    '%',
    "' OR 1=1 --",
    ...PROJECTS.flatMap((project) => ['metric', 'flavor', 'id1'].map((place) => marker(project, place))),
  );
  const filters = fc.array(fc.tuple(names, values), { maxLength: 2 });
  const requests = fc.record({
    reader: fc.constantFrom('/v2/dataframes', '/v2/summary'),
    filters,
    groupby: fc.array(names, { maxLength: 4 }),
    offset: fc.nat(4),
    limit: fc.constantFrom(1, 2, 100, 1_000_000),
    format: fc.constantFrom('table', 'object'),
    custom: fc.constantFrom(
      undefined,
      'SUM(price)',
      'COUNT(qty) AS qty',
      'SUM(qty), SUM(price) AS id',
      'MIN(price), MAX(price) AS rate, MEAN(qty)',
    ),
    extra: fc.oneof(
      { arbitrary: fc.constant(''), weight: 9 },
      fc.constantFrom('&project_id=alpha', '&tenant_id=beta', '&all_tenants=1', '&scope_id=alpha'),
    ),
  });

  it('never see anything of each other, by any combination of parameters', async () => {
    const seen = new Map<string, number>();
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...PROJECTS), requests, async (own, asked) => {
        const query = new URLSearchParams({ begin: time(MONDAY - DAY), end: time(MONDAY + 2 * DAY) });
        query.set('offset', String(asked.offset));
        query.set('limit', String(asked.limit));
        for (const [name, value] of asked.filters) query.append('filters', `${name}:${value}`);
        if (asked.reader === '/v2/summary') {
          if (asked.groupby.length > 0) query.set('groupby', asked.groupby.join(','));
          query.set('response_format', asked.format);
          if (asked.custom !== undefined) query.set('custom_fields', asked.custom);
        }
        const target = `${asked.reader}?${query}${asked.extra}`;
        const got = await api.call('GET', target, { identity: member(own) });
        const other = PROJECTS.find((project) => project !== own)!;
        assert.ok(got.status < 500, `${target} gave ${got.status}`);
        // An error may show what the caller sent.
        if (got.status !== 200) return;
        // Names of columns are those that the caller sent.
        const text = asked.groupby.reduce((left, name) => left.replaceAll(`"${name}"`, ''), got.text);
        seen.set(own, (seen.get(own) ?? 0) + (got.text.includes(`secret-of-${own}`) ? 1 : 0));
        assert.ok(!text.includes(`secret-of-${other}`), `${own} asked ${target} and got ${got.text}`);
        assertOwnPrices(own, got.json, target);
      }),
      { seed: sampleSeed(), numRuns: RUNS[engine.name] },
    );
    for (const project of PROJECTS)
      assert.ok((seen.get(project) ?? 0) > RUNS[engine.name] / 20, 'the readers did give something');
  });

  it('are both seen by an admin', async () => {
    const range = `begin=${time(MONDAY)}&end=${time(MONDAY + DAY)}`;
    const { text } = await api.call('GET', `/v2/dataframes?${range}`);
    for (const project of PROJECTS) assert.ok(text.includes(`secret-of-${project}`));
    const { json } = await api.call('GET', `/v2/summary?${range}&groupby=project_id`);
    assert.deepEqual(
      json.results.map((row: unknown[]) => row.slice(3)),
      [
        [9000, 'alpha'],
        [63, 'beta'],
      ],
    );
  });
});

/** Sums of nine points of one project only: multiples of 1000, or of 7 up to 63. */
// biome-ignore lint/suspicious/noExplicitAny: answers of every shape
function assertOwnPrices(own: string, json: any, target: string): void {
  const prices: number[] = [];
  for (const row of json.results ?? []) {
    const rate = Array.isArray(row) ? row[json.columns.indexOf('rate')] : row.rate;
    if (typeof rate === 'number') prices.push(rate);
  }
  for (const { usage } of json.dataframes ?? [])
    for (const list of Object.values(usage) as { rating: { price: number } }[][])
      prices.push(...list.map(({ rating }) => rating.price));
  for (const price of prices)
    assert.ok(own === 'alpha' ? price % 1000 === 0 : price % 7 === 0 && price <= 63, `${target}: ${price}`);
}
