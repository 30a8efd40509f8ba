import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isRatecatError } from '../../../core/plugin-api/index.js';
import type { JsonObject } from '../../support/search-server/mapping.js';
import { type Answer, SearchServer } from '../../support/search-server/search-server.js';
import {
  create,
  EVERYTHING,
  HastyClock,
  isCode,
  never,
  PERIODS,
  POINTS,
  PRODUCTS,
  prices,
  read,
  using,
  versionFrame,
  WRITE,
} from './opened-storage.js';

const error = (status: number, type: string): Answer => ({
  status,
  body: { error: { type, reason: 'said s3cret' }, status },
});

describe('starting', () => {
  for (const product of PRODUCTS) {
    it(`makes both indices on ${product}, and finds them again`, () =>
      using(
        async (_storage, server) => {
          assert.deepEqual([...server.indices.keys()], [POINTS, PERIODS]);
          const again = await create(server, { product });
          await again.start?.(never);
          await again.stop?.();
        },
        { product },
      ));
  }

  it('completes an index that is there, and changes nothing else of it', () =>
    using(
      async (_storage, server) => {
        const { properties } = server.indices.get(POINTS)!.mapping.toJson() as {
          readonly properties: JsonObject;
        };
        assert.deepEqual(Object.keys(properties), ['start', 'ratecat']);
        assert.deepEqual(properties.start, { type: 'date' });
      },
      { prepare: (server) => server.createIndex(POINTS, { properties: { start: { type: 'date' } } }) },
    ));

  const refusals: readonly (readonly [string, (server: SearchServer) => void, readonly string[]])[] = [
    [
      'an index whose own field has another type',
      (server) => server.fill(POINTS, [{ ratecat: { version: 'text' } }]),
      [POINTS, 'version', 'text', 'keyword'],
    ],
    [
      'a field of that name that is no object',
      (server) => server.fill(POINTS, [{ ratecat: 'text' }]),
      [POINTS, 'ratecat', 'cannot be changed'],
    ],
    [
      'an index of periods that is none',
      (server) => server.fill(PERIODS, [{ begin: 'text' }]),
      [PERIODS, 'begin', 'long'],
    ],
    [
      'an alias of several indices',
      (server) => {
        server.createIndex('a');
        server.createIndex('b');
        server.aliases.set(POINTS, ['a', 'b']);
      },
      [POINTS, '2 indices'],
    ],
    [
      'a data stream',
      (server) => {
        server.createIndex('.ds-cloudkitty-000001');
        server.aliases.set(POINTS, ['.ds-cloudkitty-000001']);
      },
      [POINTS, 'data stream', 'reference.index_name'],
    ],
    [
      'a server with types',
      (server) => {
        server.intercept = () => ({
          status: 200,
          body: { [POINTS]: { mappings: { _doc: { properties: {} } } } },
        });
      },
      ['older than Elasticsearch 7'],
    ],
  ];
  for (const [name, prepare, words] of refusals) {
    it(`refuses ${name}`, async () => {
      const server = await SearchServer.start();
      prepare(server);
      const storage = await create(server);
      await assert.rejects(
        storage.start?.(never) ?? Promise.resolve(),
        isCode('RATECAT_SEARCH_INDEX', ...words),
      );
      await storage.stop?.();
      await server.stop();
    });
  }

  it('an index that vanishes later is named', () =>
    using(async (storage, server) => {
      server.indices.delete(PERIODS);
      await assert.rejects(read(storage), isCode('RATECAT_SEARCH_INDEX', PERIODS));
    }));
});

describe('credentials', () => {
  const basic = `Basic ${Buffer.from('joe:s3cret').toString('base64')}`;
  const cases = [
    [{ username: 'joe', password: 's3cret' }, basic],
    [{ api_key: 'VGhlS2V5' }, 'ApiKey VGhlS2V5'],
    [{ api_key: 'id:s3cret' }, `ApiKey ${Buffer.from('id:s3cret').toString('base64')}`],
  ] as const;
  for (const [options, authorization] of cases) {
    it(`are sent with every request: ${Object.keys(options).join(', ')}`, () =>
      using(
        async (storage) => {
          await storage.replacePeriod(versionFrame(1), WRITE, never);
          assert.equal((await prices(storage)).length, 3);
          await storage.deletePeriods(EVERYTHING, {}, never);
        },
        { options, server: { authorization } },
      ));
  }

  it('that are wrong end with an error that does not say them', async () => {
    const server = await SearchServer.start({ authorization: 'Basic other' });
    const storage = await create(server, { options: { username: 'joe', password: 's3cret' } });
    await assert.rejects(storage.start?.(never) ?? Promise.resolve(), (found) => {
      assert.ok(isCode('RATECAT_UPSTREAM_REJECTED')(found));
      return !String(found).includes('s3cret');
    });
    await storage.stop?.();
    await server.stop();
  });
});

describe('a server in trouble', () => {
  it('that says 429 is asked again after a while, which it may set', () => {
    const clock = new HastyClock();
    return using(
      async (storage, server) => {
        const answers = [
          error(429, 'x'),
          { ...error(429, 'x'), headers: { 'retry-after': '7' } },
          error(429, 'x'),
        ];
        server.intercept = () => answers.shift();
        await storage.replacePeriod(versionFrame(1), WRITE, never);
        assert.deepEqual(clock.waits, [250, 7_000, 1_000]);
        assert.equal((await prices(storage)).length, 3);
      },
      { clock },
    );
  });

  it('is an error of whoever must act', () =>
    using(
      async (storage, server) => {
        const cases: readonly (readonly [Answer, string, string])[] = [
          [error(429, 'circuit_breaking_exception'), 'RATECAT_UPSTREAM_UNAVAILABLE', 'unavailable'],
          [error(503, 'cluster_block_exception'), 'RATECAT_UPSTREAM_UNAVAILABLE', 'unavailable'],
          [error(403, 'security_exception'), 'RATECAT_UPSTREAM_REJECTED', 'rejected'],
          [error(400, 'parsing_exception'), 'RATECAT_UPSTREAM_REJECTED', 'rejected'],
          [{ status: 200, body: [] }, 'RATECAT_UPSTREAM_MALFORMED', 'data'],
          [{ status: 200, body: { hits: 5 } }, 'RATECAT_UPSTREAM_MALFORMED', 'data'],
          [
            { status: 200, body: { timed_out: true, hits: { hits: [] } } },
            'RATECAT_SEARCH_PARTIAL',
            'unavailable',
          ],
          [
            { status: 200, body: { _shards: { failed: 1 }, hits: { hits: [] } } },
            'RATECAT_SEARCH_PARTIAL',
            'unavailable',
          ],
        ];
        for (const [answer, code, kind] of cases) {
          server.intercept = () => answer;
          await assert.rejects(read(storage), (found) => {
            assert.ok(isRatecatError(found), String(found));
            assert.deepEqual([found.code, found.kind], [code, kind]);
            assert.ok(!found.message.includes('s3cret'));
            return true;
          });
        }
      },
      { options: { username: 'joe', password: 's3cret' } },
    ));

  it('that deletes or refreshes in part is never taken for done', () =>
    using(async (storage, server) => {
      await storage.replacePeriod(versionFrame(1), WRITE, never);
      const failures = [{ status: 503, cause: { reason: 'primary shard is not active' } }];
      server.intercept = ({ path }) =>
        path[1] === '_delete_by_query'
          ? { status: 200, body: { failures, version_conflicts: 0 } }
          : undefined;
      await assert.rejects(
        storage.deletePeriods(EVERYTHING, {}, never),
        isCode('RATECAT_SEARCH_PARTIAL', 'primary shard'),
      );
      server.intercept = ({ path }) =>
        path[1] === '_refresh' ? { status: 200, body: { _shards: { failed: 1 } } } : undefined;
      await assert.rejects(
        storage.replacePeriod(versionFrame(2), WRITE, never),
        isCode('RATECAT_SEARCH_PARTIAL'),
      );
      server.intercept = undefined;
      await storage.deletePeriods(EVERYTHING, {}, never);
      for (const index of [POINTS, PERIODS]) assert.deepEqual(server.sources(index), []);
    }));

  it('that answers for fewer points than were sent is never taken for done', () =>
    using(async (storage, server) => {
      server.intercept = ({ path }) =>
        path[1] === '_bulk' ? { status: 200, body: { errors: false, items: [] } } : undefined;
      await assert.rejects(
        storage.replacePeriod(versionFrame(1), WRITE, never),
        isCode('RATECAT_SEARCH_PARTIAL'),
      );
      server.intercept = undefined;
      assert.deepEqual(await prices(storage), []);
    }));

  it('whose deletion meets changed documents deletes again', () =>
    using(async (storage, server) => {
      await storage.replacePeriod(versionFrame(1), WRITE, never);
      let rounds = 0;
      server.intercept = ({ path }) =>
        path[1] === '_delete_by_query' && rounds++ < 2
          ? { status: 200, body: { failures: [], version_conflicts: 1 } }
          : undefined;
      await storage.replacePeriod(versionFrame(2), WRITE, never);
      assert.equal(rounds, 3);
      assert.equal(server.sources(POINTS).length, 3);
    }));
});
