import assert from 'node:assert/strict';
import { describe, it, test } from 'node:test';
import { HOSTILE_TEXTS } from '../../../core/testkit/hostile-texts.js';
import { sampleFrame } from '../../../core/testkit/samples.js';
import { labelIs, labelIsAnyOf, lineHasAnyOf, queryText } from '../../../plugins/storage/loki/logql.js';
import { compileLogql } from '../../support/loki-server/logql.js';
import {
  create,
  EVERYTHING,
  HastyClock,
  isCode,
  never,
  newDatabase,
  prices,
  read,
  using,
  versionFrame,
  WRITE,
} from './opened-storage.js';

const TEXTS = [
  ...HOSTILE_TEXTS,
  'a|b',
  '.*',
  '^$',
  '\\',
  '"',
  '\n',
  '`',
  '"} or {a="',
  'a\u2028b',
  '[a-z]+(?i)',
].filter((text) => !/\p{Cs}/u.test(text));

describe('text on its way into LogQL', () => {
  it('a label is compared with the text as it is', () => {
    for (const text of TEXTS.filter((some) => some !== '')) {
      const query = compileLogql(queryText({ matchers: [labelIs('a', text)] }));
      assert.ok(query.matches({ a: text }), JSON.stringify(text));
      assert.ok(!query.matches({ a: `${text}x` }) && !query.matches({ a: 'x' }), JSON.stringify(text));
      const some = compileLogql(queryText({ matchers: [labelIsAnyOf('a', ['other', text])] }));
      assert.ok(some.matches({ a: text }) && some.matches({ a: 'other' }), JSON.stringify(text));
      assert.ok(!some.matches({ a: `${text}x` }) && !some.matches({ a: 'x' }), JSON.stringify(text));
    }
  });

  it('a line is looked through for the text as it is', () => {
    for (const text of TEXTS.filter((some) => some !== '')) {
      for (const filters of [lineHasAnyOf([text]), lineHasAnyOf([text, 'never there'])]) {
        const query = compileLogql(queryText({ matchers: [labelIs('a', 'b')], filters }));
        assert.ok(query.keeps(`<${text}>`), JSON.stringify(text));
        assert.ok(!query.keeps('<>'), JSON.stringify(text));
      }
    }
  });
});

describe('requests to Loki', () => {
  it('carry the tenant, and see nothing of another', () =>
    using(
      async (storage, server, setup) => {
        await storage.replacePeriod(versionFrame(1), WRITE, never);
        assert.deepEqual(
          new Set(server.calls.map(({ headers }) => headers['x-scope-orgid'])),
          new Set(['b-c']),
        );
        const other = await create(server, { ...setup, options: { tenant: 'other' } });
        await assert.rejects(prices(other), isCode('RATECAT_LOKI_DAMAGED'));
        await other.stop?.();
      },
      { options: { tenant: 'b-c' } },
    ));

  it('that come too fast are sent again after growing delays, or after those that Loki asks for', () => {
    const clock = new HastyClock();
    return using(
      async (storage, server) => {
        let rejections = 0;
        server.intercept = ({ path }) => {
          if (path !== 'push' || ++rejections > 4) return undefined;
          const headers: Record<string, string> = rejections === 3 ? { 'retry-after': '7' } : {};
          return { status: 429, body: 'ingestion rate limit exceeded', headers };
        };
        await storage.replacePeriod(versionFrame(1), WRITE, never);
        assert.deepEqual(await prices(storage), ['1.1', '1.1', '1.1']);
        assert.deepEqual(clock.waits, [250, 500, 7_000, 2_000]);
        server.intercept = ({ path }) => (path === 'push' ? { status: 429, body: 'too fast' } : undefined);
        await assert.rejects(
          storage.replacePeriod(versionFrame(2), WRITE, never),
          isCode('RATECAT_UPSTREAM_UNAVAILABLE', 'too fast'),
        );
        server.intercept = undefined;
        assert.deepEqual(await prices(storage), ['1.1', '1.1', '1.1']);
      },
      { clock },
    );
  });

  for (const [status, code] of [
    [260, 'RATECAT_LOKI_REFUSED'],
    [400, 'RATECAT_LOKI_REFUSED'],
    [413, 'RATECAT_LOKI_REFUSED'],
    [422, 'RATECAT_LOKI_REFUSED'],
    [401, 'RATECAT_UPSTREAM_REJECTED'],
    [403, 'RATECAT_UPSTREAM_REJECTED'],
    [404, 'RATECAT_UPSTREAM_REJECTED'],
    [500, 'RATECAT_UPSTREAM_UNAVAILABLE'],
    [503, 'RATECAT_UPSTREAM_UNAVAILABLE'],
  ] as const) {
    it(`a push that is answered with ${status} fails the period, which stays as it was`, () =>
      using(async (storage, server) => {
        await storage.replacePeriod(versionFrame(1), WRITE, never);
        server.intercept = ({ path }) => (path === 'push' ? { status, body: 'what Loki says' } : undefined);
        await assert.rejects(
          storage.replacePeriod(versionFrame(2), WRITE, never),
          isCode(code, 'what Loki says'),
        );
        server.intercept = undefined;
        assert.deepEqual(await prices(storage), ['1.1', '1.1', '1.1']);
      }));
  }

  it('whose answers are none of Loki are errors, never empty reports', () =>
    using(async (storage, server) => {
      await storage.replacePeriod(versionFrame(1), WRITE, never);
      for (const body of [
        'no JSON',
        '<html>gateway</html>',
        {},
        { status: 'error' },
        { status: 'success', data: { resultType: 'matrix', result: [] } },
        { status: 'success', data: { resultType: 'streams', result: [{ values: [['x', 'y']] }] } },
        {
          status: 'success',
          data: { resultType: 'streams', result: [{ values: [['1767225600000000000', 5]] }] },
        },
      ]) {
        server.intercept = ({ path }) => (path === 'query_range' ? { status: 200, body } : undefined);
        await assert.rejects(prices(storage), isCode('RATECAT_UPSTREAM_MALFORMED'), JSON.stringify(body));
      }
    }));

  it('a start says what a server does not allow', async () => {
    const clock = new HastyClock();
    await using(
      async (_storage, server, setup) => {
        const asking = await create(server, { ...setup, options: { max_entries: 101 } });
        await assert.rejects(
          asking.start!(never),
          isCode('RATECAT_UPSTREAM_REJECTED', 'max_entries_limit_per_query', '101 > 100'),
        );
        await asking.stop?.();
      },
      { clock, options: { max_entries: 100 }, server: { maxEntries: 100 } },
    );
  });
});

describe('answers of Loki', () => {
  it('of more lines than one holds are asked for page by page', () =>
    using(
      async (storage, server) => {
        const points = Array.from({ length: 95 }, (_, index) => ({ groupby: { id: `${index}` } }));
        await storage.replacePeriod(sampleFrame({ points }), WRITE, never);
        server.calls.length = 0;
        assert.equal((await read(storage))[0]!.points.length, 95);
        const limits = server.calls.map(({ parameters }) => parameters.get('limit'));
        assert.ok(limits.length >= 10 && limits.every((limit) => limit === '10'), limits.join(' '));
      },
      { options: { max_entries: 10 } },
    ));

  it('that are longer than allowed are asked for in smaller pages', () =>
    using(
      async (storage) => {
        const points = Array.from({ length: 400 }, (_, index) => ({
          groupby: { id: `${index}` },
          metadata: { text: 'y'.repeat(2_000) },
        }));
        await storage.replacePeriod(sampleFrame({ points }), WRITE, never);
        assert.equal((await read(storage))[0]!.points.length, 400);
      },
      { options: { max_response_mib: 0.25 } },
    ));

  it('over a long time are asked for in ranges that a server allows', async () => {
    const clock = new HastyClock(Date.UTC(2026, 0, 1, 12));
    const database = await newDatabase();
    await using(
      async (_storage, server, setup) => {
        const storage = await create(server, { ...setup, database, options: { shard_days: 2 } });
        for (let index = 0; index < 10; index++) {
          await storage.replacePeriod(versionFrame(1, ['a'], index), WRITE, never);
          clock.jumpWallClock(3 * 3_600_000 - 3_600_000);
        }
        server.calls.length = 0;
        assert.equal((await read(storage)).length, 10);
        for (const { parameters } of server.calls) {
          const hours = (Number(parameters.get('end')) - Number(parameters.get('start'))) / 3.6e12;
          assert.ok(hours <= 48, `${hours} hours`);
        }
        await storage.stop?.();
      },
      { clock, server: { maxQueryHours: 48 } },
    );
    await database.close();
  });
});

test('nothing is asked for where the table knows of no points', () =>
  using(async (storage, server) => {
    await storage.replacePeriod(versionFrame(1, []), WRITE, never);
    server.calls.length = 0;
    assert.equal((await read(storage)).length, 1);
    assert.equal((await storage.total({ ...EVERYTHING, groupby: [{ kind: 'type' }] }, never)).total, 0);
    assert.equal(await storage.countPoints({ ...EVERYTHING, visible: [] }, never), 0);
    assert.deepEqual(server.calls, []);
  }));
