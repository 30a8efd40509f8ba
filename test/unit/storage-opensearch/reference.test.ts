import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hour, plainFrame, sampleFrame } from '../../../core/testkit/samples.js';
import type { JsonObject } from '../../support/search-server/mapping.js';
import type { Product, SearchServer } from '../../support/search-server/search-server.js';
import {
  ALPHA,
  EVERYTHING,
  isCode,
  never,
  POINTS,
  read,
  type Setup,
  using,
  versionFrame,
  WRITE,
} from './opened-storage.js';

/** The mapping that CloudKitty's Elasticsearch driver makes. */
const REFERENCE_MAPPING: JsonObject = {
  dynamic_templates: [
    { strings_as_keywords: { match_mapping_type: 'string', mapping: { type: 'keyword' } } },
  ],
  dynamic: false,
  properties: {
    start: { type: 'date' },
    end: { type: 'date' },
    type: { type: 'keyword' },
    unit: { type: 'keyword' },
    qty: { type: 'double' },
    price: { type: 'double' },
    groupby: { dynamic: true, type: 'object' },
    metadata: { dynamic: true, type: 'object' },
  },
};

function isoText(index: number): string {
  return new Date(hour(index) * 1000).toISOString().replace('.000Z', '+00:00');
}

/** What CloudKitty stored for one project and hour. */
function referenceDocuments(project: string, index: number): readonly JsonObject[] {
  const times = { start: isoText(index), end: isoText(index + 1) };
  const calendar = { day_of_the_year: '1', week_of_the_year: '00', month: '1', year: '2026' };
  return [
    {
      ...times,
      type: 'instance',
      unit: 'instance',
      description: 'text',
      qty: 1,
      price: 0.1,
      groupby: { id: 'a', project_id: project, ...calendar },
      metadata: { flavor: 'm1', size: 5 },
    },
    {
      ...times,
      type: 'cpu',
      unit: 'core',
      qty: 2.0,
      price: 0.2,
      groupby: { id: 'b', project_id: project },
      metadata: {},
    },
  ];
}

/** An index as each of the two drivers of CloudKitty leaves it. */
function prepareIndex(server: SearchServer, product: Product): void {
  if (product.startsWith('elasticsearch')) server.createIndex(POINTS, REFERENCE_MAPPING);
  // The OpenSearch driver stores the mapping as a document.
  else server.fill(POINTS, [REFERENCE_MAPPING]);
}

async function everyPoint(storage: Parameters<typeof read>[0]): Promise<readonly string[]> {
  const frames = await read(storage);
  return frames.flatMap(({ scope, points }) =>
    points.map(({ descriptor }) => `${scope.id} ${descriptor.metric}`),
  );
}

for (const product of ['elasticsearch 7', 'elasticsearch 8', 'opensearch 1', 'opensearch 2'] as const) {
  describe(`beside documents of the reference on ${product}`, () => {
    const setup: Setup = {
      product,
      options: { reference: { source: 'openstack', scope_key: 'project_id' } },
      prepare: (server) => prepareIndex(server, product),
    };
    const fill = (server: SearchServer, ...some: readonly (readonly [string, number])[]) =>
      server.fill(
        POINTS,
        some.flatMap(([project, index]) => referenceDocuments(project, index)),
      );
    const stored = (server: SearchServer) =>
      server
        .sources(POINTS)
        .filter(({ groupby, type }) => groupby !== undefined && type !== undefined)
        .map(({ groupby, type }) => `${String((groupby as JsonObject).project_id)} ${String(type)}`)
        .sort();

    it('they are read as periods of their scope, with floats as their shortest decimals', () =>
      using(async (storage, server) => {
        fill(server, ['alpha', 0], ['alpha', 1], ['beta', 0]);
        await storage.replacePeriod(sampleFrame({ hour: 2, points: [{ price: '1e-20' }] }), WRITE, never);
        const frames = await read(storage, { visible: ALPHA });
        assert.deepEqual(
          frames.map(({ period, points }) => [period.begin, period.end, points.length]),
          [
            [hour(0), hour(1), 2],
            [hour(1), hour(2), 2],
            [hour(2), hour(3), 1],
          ],
        );
        assert.deepEqual(plainFrame(frames[0]!), {
          source: 'openstack',
          scope: ['project_id', 'alpha'],
          period: [hour(0), hour(1)],
          snapshot: '',
          gaps: [],
          points: [
            ['["cpu","core",{"id":"b","project_id":"alpha"},{},null]', '2', '0.2'],
            [
              '["instance","instance",{"id":"a","project_id":"alpha"},{"flavor":"m1","size":5},"text"]',
              '1',
              '0.1',
            ],
          ],
        });
        const { rows } = await storage.total({ ...EVERYTHING, visible: ALPHA, groupby: [] }, never);
        assert.equal(rows[0]!.price.toString(), '0.60000000000000000001');
        assert.equal(await storage.countPoints({ ...EVERYTHING, metrics: ['cpu'] }, never), 3);
        const scopes = await storage.scopesWithData(EVERYTHING, never);
        assert.deepEqual(scopes.map(({ scope }) => scope.id).sort(), ['alpha', 'beta']);
        const page = await read(storage, { offset: 3, limit: 3 });
        assert.deepEqual(
          page.flatMap(({ points }) => points.map(({ descriptor }) => descriptor.metric)),
          ['instance', 'cpu', 'instance'],
        );
        const middle = await read(storage, { begin: hour(1), end: hour(2) });
        assert.deepEqual(
          middle.map(({ period }) => period.begin),
          [hour(1)],
        );
      }, setup));

    it('they are not read and not deleted unless the options say whose they are', () =>
      using(
        async (storage, server) => {
          fill(server, ['alpha', 0]);
          assert.deepEqual(await read(storage), []);
          await storage.deletePeriods(EVERYTHING, {}, never);
          assert.equal(stored(server).length, 2);
        },
        { ...setup, options: {} },
      ));

    it('a period that Ratecat stores takes the place of theirs, for both', () =>
      using(async (storage, server) => {
        fill(server, ['alpha', 0], ['alpha', 1], ['beta', 0]);
        await storage.replacePeriod(versionFrame(7), WRITE, never);
        assert.deepEqual(
          (await read(storage, { visible: ALPHA })).map(({ points }) => points.length),
          [3, 2],
        );
        assert.deepEqual(stored(server), [
          'alpha cpu',
          'alpha instance',
          'alpha instance',
          'alpha instance',
          'alpha instance',
          'beta cpu',
          'beta instance',
        ]);
      }, setup));

    it('they are deleted by scope, metric and attribute, and nothing else is', () =>
      using(async (storage, server) => {
        fill(server, ['alpha', 0], ['beta', 0], ['gamma', 0]);
        await storage.deletePeriods({ ...EVERYTHING, visible: ALPHA }, {}, never);
        const beta = [{ key: 'project_id', id: 'beta' }];
        await storage.deletePeriods({ ...EVERYTHING, visible: beta, metrics: ['cpu'] }, {}, never);
        await storage.deletePeriods(
          { ...EVERYTHING, visible: [{ key: 'domain_id', id: 'gamma' }] },
          {},
          never,
        );
        await storage.deletePeriods(
          { ...EVERYTHING, visible: [{ source: 'api', key: 'project_id', id: 'gamma' }] },
          {},
          never,
        );
        await storage.deletePeriods({ ...EVERYTHING, visible: [{ key: 'project_id', id: '' }] }, {}, never);
        assert.deepEqual(stored(server), ['beta instance', 'gamma cpu', 'gamma instance']);
        const filters = [{ name: 'id', values: ['a'], in: 'groupby' as const }];
        await storage.deletePeriods({ ...EVERYTHING, filters }, {}, never);
        assert.deepEqual(await everyPoint(storage), ['gamma cpu']);
      }, setup));

    it('their pages are put together whole', () =>
      using(async (storage, server) => {
        for (let index = 0; index < 3; index++)
          fill(server, ...Array.from({ length: 900 }, (_, project) => [`p${project}`, index] as const));
        assert.equal(await storage.countPoints(EVERYTHING, never), 5_400);
        const { rows } = await storage.total({ ...EVERYTHING, groupby: [{ kind: 'type' }] }, never);
        assert.deepEqual(
          rows.map(({ price }) => price.toString()),
          ['540', '270'],
        );
      }, setup));

    it('a reader that stops early closes its scroll', () =>
      using(async (storage, server) => {
        fill(server, ...Array.from({ length: 1_100 }, (_, index) => ['alpha', index] as const));
        for await (const _ of storage.readPeriods(EVERYTHING, never)) break;
        assert.ok(server.calls.some(({ method, path }) => method === 'DELETE' && path[1] === 'scroll'));
      }, setup));

    it('a scroll that the server forgot is an error, never the end', () =>
      using(async (storage, server) => {
        fill(server, ...Array.from({ length: 1_100 }, (_, index) => ['alpha', index] as const));
        server.intercept = ({ path, method }) => {
          if (path[1] === 'scroll' && method === 'POST') server.expireScrolls();
          return undefined;
        };
        await assert.rejects(read(storage), isCode('RATECAT_SEARCH_PARTIAL', 'scroll_duration'));
      }, setup));

    it("the reference's own queries find what Ratecat stored", () =>
      using(async (storage, server) => {
        for (const index of [0, 1, 2]) {
          for (const project_id of ['alpha', 'beta']) {
            const points = ['a', 'a', 'b'].map((id) => ({ groupby: { id, project_id }, price: '0.5' }));
            await storage.replacePeriod(
              sampleFrame({ hour: index, scope: project_id, points }),
              WRITE,
              never,
            );
          }
        }
        const suffix = product.startsWith('elasticsearch') ? '' : '.keyword';
        const query = {
          bool: {
            must: [
              { range: { start: { gte: isoText(0) } } },
              { range: { end: { lte: isoText(2) } } },
              { terms: { [`type${suffix}`]: ['instance'] } },
            ],
            should: [
              { term: { [`groupby.project_id${suffix}`]: 'alpha' } },
              { term: { [`metadata.project_id${suffix}`]: 'alpha' } },
            ],
            minimum_should_match: 1,
          },
        };
        const composite = {
          size: 5000,
          sources: [
            { type: { terms: { field: `type${suffix}` } } },
            { id: { terms: { field: `groupby.id${suffix}` } } },
            { year: { terms: { field: `groupby.year${suffix}` } } },
            { begin: { terms: { field: 'start' } } },
          ],
        };
        const sums = { sum_price: { sum: { field: 'price' } }, sum_qty: { sum: { field: 'qty' } } };
        const aggs = { sum_and_price: { composite, aggregations: sums } };
        const answer = await ask(server, { query, aggs, size: 0 });
        const { buckets } = answer.aggregations!.sum_and_price;
        assert.deepEqual(
          buckets.map(({ key, sum_price, sum_qty }) => [key, sum_price.value, sum_qty.value]),
          ['a', 'b'].flatMap((id) =>
            [0, 1].map((index) => [
              { type: 'instance', id, year: '2026', begin: hour(index) * 1000 },
              id === 'a' ? 1 : 0.5,
              id === 'a' ? 2 : 1,
            ]),
          ),
        );
        const found = await ask(server, { query, size: 5 });
        assert.equal(found.hits.total.value, 6);
        assert.equal(found.hits.hits.length, 5);
      }, setup));
  });
}

describe('the documents of Ratecat', () => {
  it('are those of the reference: times, floats, texts and calendar attributes', () =>
    using(async (storage, server) => {
      const groupby = { id: 'server 1', project_id: 'alpha', zone: '' };
      const points = [{ groupby, description: 'an "instance"', quantity: '2', price: '0.1' }];
      await storage.replacePeriod(sampleFrame({ hour: 24 * 31, points }), WRITE, never);
      const [document] = server.sources(POINTS);
      const { ratecat, ...rest } = document!;
      assert.deepEqual(rest, {
        start: '2026-02-01T00:00:00+00:00',
        end: '2026-02-01T01:00:00+00:00',
        type: 'instance',
        unit: 'instance',
        description: 'an "instance"',
        qty: 2,
        price: 0.1,
        groupby: {
          id: 'server 1',
          project_id: 'alpha',
          zone: '',
          day_of_the_year: '32',
          month: '2',
          week_of_the_year: '05',
          year: '2026',
        },
        metadata: { flavor: 'm1.small' },
      });
      const { record, version, ordinal, metric } = ratecat as JsonObject;
      const { qty, price } = JSON.parse(String(record)) as Record<string, unknown>;
      assert.deepEqual([qty, price, ordinal, metric], ['2', '0.1', 0, 'instance']);
      assert.deepEqual([...server.indices.get(POINTS)!.live.keys()], [`${String(version)}-0`]);
    }));

  it('of another index are read too, and replaced where they are', () =>
    using(
      async (storage, server) => {
        assert.equal(await storage.countPoints(EVERYTHING, never), 4);
        await storage.replacePeriod(versionFrame(7), WRITE, never);
        assert.equal(await storage.countPoints(EVERYTHING, never), 5);
        assert.equal(server.sources('.ds-old-000001').length, 2);
        assert.equal(server.sources(POINTS).length, 3);
      },
      {
        options: { reference: { source: 'openstack', index_name: 'old' } },
        prepare(server) {
          server.fill('.ds-old-000001', [
            ...referenceDocuments('alpha', 0),
            ...referenceDocuments('alpha', 1),
          ]);
          server.aliases.set('old', ['.ds-old-000001']);
        },
      },
    ));

  it('a document of the reference without a period is an error that names it', () =>
    using(
      async (storage, server) => {
        server.fill(POINTS, [{ start: isoText(0), type: 'cpu', qty: 1, price: 1 }]);
        await assert.rejects(read(storage), isCode('RATECAT_SEARCH_DAMAGED', 'CloudKitty'));
      },
      { options: { reference: { source: 'openstack' } } },
    ));
});

interface Buckets {
  readonly buckets: readonly {
    readonly key: unknown;
    readonly sum_price: { readonly value: number };
    readonly sum_qty: { readonly value: number };
  }[];
}

interface SearchAnswer {
  readonly hits: { readonly total: { readonly value: number }; readonly hits: readonly unknown[] };
  readonly aggregations?: { readonly sum_and_price: Buckets };
}

async function ask(server: SearchServer, body: unknown): Promise<SearchAnswer> {
  const response = await fetch(`${server.url}/${POINTS}/_search`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  assert.equal(response.status, 200, text);
  return JSON.parse(text) as SearchAnswer;
}
