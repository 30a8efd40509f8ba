import assert from 'node:assert/strict';
import { describe, it, test } from 'node:test';
import fc from 'fast-check';
import { httpFactory } from '../../../core/loading/http-client.js';
import { isRatecatError } from '../../../core/plugin-api/index.js';
import { fakeContext } from '../../../core/testkit/fakes.js';
import { HOSTILE_TEXTS } from '../../../core/testkit/hostile-texts.js';
import { sampleFrame, sampleSeed } from '../../../core/testkit/samples.js';
import { type ClientOptions, type Entry, LokiClient } from '../../../plugins/storage/loki/client.js';
import {
  labelIs,
  labelIsAnyOf,
  lineHasAnyOf,
  literal,
  queryText,
  quotedPattern,
} from '../../../plugins/storage/loki/logql.js';
import { compileLogql } from '../../support/loki-server/logql.js';
import type { Answer, LokiServer } from '../../support/loki-server/loki-server.js';
import {
  create,
  EVERYTHING,
  HastyClock,
  isCode,
  never,
  newDatabase,
  prices,
  read,
  startServer,
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

describe('a text literal', () => {
  it('is one literal of plain characters, whatever is in it', () => {
    for (const text of ['', ...TEXTS]) {
      const written = literal(text);
      assert.ok(!/[\p{Cc}\u2028\u2029]/u.test(written), JSON.stringify(text));
      const query = compileLogql(`{a="b",c=${written}}`);
      assert.ok(!query.hasFilter, JSON.stringify(text));
      assert.ok(query.matches({ a: 'b', c: text }), JSON.stringify(text));
      assert.ok(!query.matches({ a: 'x', c: text }), 'the other matcher counts still');
      assert.ok(compileLogql(`{a="b"} |= ${written}`).keeps(text), JSON.stringify(text));
    }
  });

  it('has no halves of characters, which Go does not know', () => {
    for (const text of ['\ud800', 'a\udc00b', '\ud800\ud800', '🐈\ud83d'])
      assert.ok(
        compileLogql(`{a=${literal(text)}}`).matches({ a: text.replace(/\p{Cs}/gu, '\ufffd') }),
        JSON.stringify(text),
      );
    assert.equal(literal('🐈'), '"🐈"');
  });

  it('of a pattern matches the text alone, also beside others', () => {
    for (const text of TEXTS) {
      const query = compileLogql(`{a=~${literal(`x|${quotedPattern(text)}`)},b="c"}`);
      assert.ok(query.matches({ a: text, b: 'c' }), JSON.stringify(text));
      assert.ok(!query.matches({ a: `${text}${text}y`, b: 'c' }), JSON.stringify(text));
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

  it('wait as long as Loki asks for, but half a minute at most, and no longer than they are wanted', () => {
    const clock = new HastyClock();
    return using(
      async (storage, server) => {
        const asked = ['120', 'Wed, 21 Oct 2026 07:28:00 GMT', '0', '-5', '0.5'];
        server.intercept = ({ path }) => {
          const retryAfter = path === 'push' ? asked.shift() : undefined;
          if (retryAfter === undefined) return undefined;
          return { status: 429, body: 'too fast', headers: { 'retry-after': retryAfter } };
        };
        await storage.replacePeriod(versionFrame(1), WRITE, never);
        assert.deepEqual(clock.waits, [30_000, 500, 1_000, 2_000, 500]);
        const controller = new AbortController();
        server.intercept = () => {
          controller.abort(new Error('enough'));
          return { status: 429, body: 'too fast' };
        };
        await assert.rejects(storage.replacePeriod(versionFrame(2), WRITE, controller.signal));
        assert.equal(clock.waits.length, 5);
        server.intercept = undefined;
        assert.deepEqual(await prices(storage), ['1.1', '1.1', '1.1']);
      },
      { clock },
    );
  });

  it('that read are sent again too when they come too fast', () => {
    const clock = new HastyClock();
    return using(
      async (storage, server) => {
        await storage.replacePeriod(versionFrame(1), WRITE, never);
        let rejections = 0;
        server.intercept = () => (++rejections > 3 ? undefined : { status: 429, body: 'too many' });
        assert.deepEqual(await prices(storage), ['1.1', '1.1', '1.1']);
        assert.deepEqual(clock.waits, [250, 500, 1_000]);
      },
      { clock },
    );
  });

  for (const [status, code] of [
    [200, 'RATECAT_LOKI_REFUSED'],
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

  it('that read and are refused are errors of whoever must act, never empty reports', () =>
    using(
      async (storage, server) => {
        await storage.replacePeriod(versionFrame(1), WRITE, never);
        const cases = [
          [400, 'RATECAT_UPSTREAM_REJECTED', 'rejected'],
          [401, 'RATECAT_UPSTREAM_REJECTED', 'rejected'],
          [403, 'RATECAT_UPSTREAM_REJECTED', 'rejected'],
          [404, 'RATECAT_UPSTREAM_REJECTED', 'rejected'],
          [302, 'RATECAT_UPSTREAM_REJECTED', 'rejected'],
          [429, 'RATECAT_UPSTREAM_UNAVAILABLE', 'unavailable'],
          [500, 'RATECAT_UPSTREAM_UNAVAILABLE', 'unavailable'],
          [504, 'RATECAT_UPSTREAM_UNAVAILABLE', 'unavailable'],
        ] as const;
        for (const asked of ['query_range', 'series']) {
          for (const [status, code, kind] of cases) {
            server.intercept = ({ path }) =>
              path === asked ? { status, body: 'what Loki says' } : undefined;
            await assert.rejects(read(storage), (error) => {
              assert.ok(isRatecatError(error), String(error));
              assert.deepEqual([error.code, error.kind], [code, kind], `${asked} ${status}`);
              return true;
            });
          }
        }
        server.intercept = undefined;
        assert.deepEqual(await prices(storage), ['1.1', '1.1', '1.1']);
      },
      { options: { reference: { source: 'openstack' } } },
    ));

  it('for streams whose answers are none of Loki are errors too', () =>
    using(
      async (storage, server) => {
        for (const body of ['no JSON', {}, { status: 'error', data: [] }, { status: 'success', data: [5] }]) {
          server.intercept = ({ path }) => (path === 'series' ? { status: 200, body } : undefined);
          await assert.rejects(read(storage), isCode('RATECAT_UPSTREAM_MALFORMED'), JSON.stringify(body));
        }
        const none: Answer = { status: 200, body: { status: 'success' } };
        server.intercept = ({ path }) => (path === 'series' ? none : undefined);
        assert.deepEqual(await read(storage), [], 'Loki leaves out what is empty');
      },
      { options: { reference: { source: 'openstack' } } },
    ));

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

  it('that are longer than allowed with one line are an error, after a few smaller pages', () =>
    using(
      async (storage, server) => {
        const points = [{ metadata: { text: 'y'.repeat(90_000) } }];
        await storage.replacePeriod(sampleFrame({ points }), WRITE, never);
        server.calls.length = 0;
        await assert.rejects(read(storage), isCode('RATECAT_UPSTREAM_TOO_LARGE'));
        const limits = server.calls.map(({ parameters }) => Number(parameters.get('limit')));
        assert.deepEqual(limits, [5_000, 1_250, 313, 79, 20, 5, 2, 1]);
      },
      { options: { max_response_mib: 0.0625 } },
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

const BEGIN = BigInt(Date.UTC(2026, 0, 1)) * 1_000_000n;
const DAY = 86_400_000_000_000n;

type Limits = Partial<Pick<ClientOptions, 'max_entries' | 'shard_days' | 'max_response_mib'>>;

/** The body gets a server and what reads the first days of 2026 page by page. */
async function withPages(
  limits: Limits,
  body: (
    server: LokiServer,
    pages: (days: number) => Promise<readonly (readonly Entry[])[]>,
  ) => Promise<void>,
): Promise<void> {
  const clock = new HastyClock();
  const server = await startServer(clock);
  const common = { tenant: 'cloudkitty', timeout: 60, insecure: false, max_response_mib: 64 };
  const options = { ...common, url: server.url, shard_days: 30, max_entries: 5_000, ...limits };
  const client = new LokiClient(options, fakeContext({ http: httpFactory, clock }));
  try {
    await body(server, async (days) => {
      const found: (readonly Entry[])[] = [];
      const range = { from: BEGIN, to: BEGIN + BigInt(days) * DAY };
      for await (const page of client.entries({ matchers: [labelIs('a', 'b')] }, range, never))
        found.push(page);
      return found;
    });
  } finally {
    await client.close();
    await server.stop();
  }
}

describe('pages of entries', () => {
  it('hold every entry once, in order, and those of one time together', async () => {
    const seed = sampleSeed();
    const stream = fc.constantFrom('x', 'y', 'z');
    // Few times, so that many entries share one, also at the ends of parts and pages.
    const time = fc
      .tuple(fc.constantFrom(0, 1, 2, 9), fc.constantFrom(-1n, 0n, 1n))
      .map(([day, rest]) => BEGIN + BigInt(day) * DAY + rest)
      .filter((at) => at >= BEGIN);
    const entries = fc.array(fc.tuple(stream, time), { maxLength: 60 });
    const limits = fc.record({
      cut: fc.integer({ min: 2, max: 20 }),
      shard_days: fc.integer({ min: 1, max: 10 }),
    });
    await fc.assert(
      fc.asyncProperty(entries, limits, async (some, { cut, shard_days }) => {
        await withPages(
          { shard_days, max_entries: Math.max(cut, mostAtOnce(some) + 1) },
          async (server, pages) => {
            some.forEach(([name, at], index) => {
              server.fill({ a: 'b', stream: name }, [{ time: at, line: `${index}` }]);
            });
            const found = await pages(10);
            const lines = found.flat().map(({ line }) => Number(line));
            assert.deepEqual(
              [...lines].sort((left, right) => left - right),
              some.map((_, index) => index),
            );
            const times = found.map((page) => page.map(({ time: at }) => at));
            const all = times.flat();
            assert.ok(all.every((at, index) => index === 0 || all[index - 1]! <= at));
            for (const [index, page] of times.entries()) {
              assert.ok(page.length > 0);
              if (index > 0) assert.ok(times[index - 1]!.at(-1)! < page[0]!);
            }
          },
        );
      }),
      { seed, numRuns: 60 },
    );
  });

  it('end with an error that says so when a stream has more entries of one time than an answer', () =>
    withPages({ max_entries: 10 }, async (server, pages) => {
      const entriesOf = (count: number) =>
        Array.from({ length: count }, (_, index) => ({ time: BEGIN + DAY, line: `${index}` }));
      for (const stream of ['x', 'y', 'z'])
        server.fill({ a: 'b', stream }, entriesOf(9).map(linesOf(stream)));
      const next = { time: BEGIN + DAY + 1n, line: 'the next nanosecond' };
      server.fill({ a: 'b', stream: 'x' }, [next]);
      const found = await pages(2);
      assert.deepEqual(
        found.map((page) => page.length),
        [27, 1],
      );
      assert.deepEqual(found.at(-1), [next]);
      server.fill({ a: 'b', stream: 'y' }, [{ time: BEGIN + DAY, line: 'one more' }]);
      await assert.rejects(
        pages(2),
        isCode('RATECAT_LOKI_LIMIT', 'max_entries', '10 or more', '2026-01-02T00:00:00'),
      );
      assert.deepEqual(await pages(1), [], 'what ends before that time is not concerned');
    }));

  it('of a stream that has all labels of another are not counted twice', () =>
    withPages({ max_entries: 10 }, async (server, pages) => {
      const entries = Array.from({ length: 5 }, (_, index) => ({ time: BEGIN, line: `${index}` }));
      server.fill({ a: 'b', c: 'd' }, entries.slice(0, 3).map(linesOf('x')));
      server.fill({ a: 'b', c: 'd', e: 'f' }, entries.slice(0, 4).map(linesOf('y')));
      server.fill({ a: 'b', g: 'h' }, entries.map(linesOf('z')));
      const lines = (await pages(1)).flat().map(({ line }) => line);
      assert.equal(lines.length, 12);
      assert.equal(new Set(lines).size, 12);
    }));

  it('that are too long get smaller until they fit', () =>
    withPages({ max_response_mib: 0.0625 }, async (server, pages) => {
      const entries = Array.from({ length: 40 }, (_, index) => ({
        time: BEGIN + BigInt(index),
        line: `${index} ${'y'.repeat(5_000)}`,
      }));
      server.fill({ a: 'b' }, entries);
      const found = await pages(1);
      assert.deepEqual(found.flat(), entries);
      const limits = server.calls.map(({ parameters }) => Number(parameters.get('limit')));
      assert.deepEqual(limits.slice(0, 6), [5_000, 1_250, 313, 79, 20, 5]);
      assert.ok(
        limits.slice(6).every((limit) => limit === 5),
        limits.join(' '),
      );
    }));

  it('are asked for by ranges that meet and never overlap', () =>
    withPages({ shard_days: 3 }, async (server, pages) => {
      await pages(10);
      const ranges = server.calls.map(({ parameters }) => [parameters.get('start'), parameters.get('end')]);
      const days = (count: bigint) => String(BEGIN + count * DAY);
      assert.deepEqual(ranges, [
        [days(0n), days(3n)],
        [days(3n), days(6n)],
        [days(6n), days(9n)],
        [days(9n), days(10n)],
      ]);
    }));
});

function linesOf(stream: string) {
  return ({ time, line }: Entry): Entry => ({ time, line: `${stream} ${line}` });
}

/** Entries of one stream and time. */
function mostAtOnce(entries: readonly (readonly [string, bigint])[]): number {
  const counts = new Map<string, number>();
  for (const entry of entries) counts.set(entry.join(' '), (counts.get(entry.join(' ')) ?? 0) + 1);
  return Math.max(1, ...counts.values());
}
