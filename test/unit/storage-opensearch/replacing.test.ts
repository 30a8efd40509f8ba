import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RecordingLogger } from '../../../core/testkit/fakes.js';
import { HOSTILE_TEXTS } from '../../../core/testkit/hostile-texts.js';
import { hour, plainFrame, sampleFrame } from '../../../core/testkit/samples.js';
import { ownerHash, scopeHash } from '../../../plugins/storage/opensearch/layout.js';
import type { JsonObject } from '../../support/search-server/mapping.js';
import {
  ALPHA,
  crashingHttp,
  create,
  EVERYTHING,
  HastyClock,
  isCode,
  never,
  PERIODS,
  POINTS,
  prices,
  read,
  using,
  versionFrame,
  WRITE,
  watchedHttp,
} from './opened-storage.js';

const MOMENTS = ['before', 'after'] as const;

describe('replacing a period in a search index', () => {
  /** How often `replacePeriod` asks the server when a period is already there. */
  async function requestsOfReplacing(): Promise<number> {
    let requests = 0;
    await using(async (storage, server) => {
      await storage.replacePeriod(versionFrame(1), WRITE, never);
      const before = server.calls.length;
      await storage.replacePeriod(versionFrame(2), WRITE, never);
      requests = server.calls.length - before;
    });
    return requests;
  }

  it('readers see a period whole between any two requests of its replacement', () =>
    using(async (reader, server) => {
      await reader.replacePeriod(versionFrame(1), WRITE, never);
      const seen: string[] = [];
      const http = watchedHttp(async () => {
        const found = await prices(reader);
        assert.equal(found.length, 3);
        assert.equal(new Set(found).size, 1, found.join(' '));
        seen.push(found[0]!);
        const { rows } = await reader.total({ ...EVERYTHING, groupby: [] }, never);
        assert.deepEqual([rows[0]!.points, rows[0]!.quantity.toString()], [3, '3']);
      });
      const writer = await create(server, { http });
      await writer.replacePeriod(versionFrame(2), WRITE, never);
      await writer.stop?.();
      assert.deepEqual([...new Set(seen)], ['1.1', '2.1']);
      assert.ok(seen.length > 7, `${seen.length} requests`);
    }));

  it('readers see a period whole when it is replaced before each of their first requests', () =>
    using(async (writer, server) => {
      let version = 0;
      const replace = () => writer.replacePeriod(versionFrame(++version), WRITE, never);
      await replace();
      const http = watchedHttp(async (number) => {
        if (number < 6) await replace();
      });
      const reader = await create(server, { http });
      for (let round = 0; round < 4; round++) {
        const found = await prices(reader);
        assert.equal(found.length, 3);
        assert.equal(new Set(found).size, 1, found.join(' '));
      }
      await reader.stop?.();
      assert.equal(version, 7);
    }));

  it('a reader whose period is replaced before every request gives up with a reason', () =>
    using(async (writer, server) => {
      let version = 0;
      await writer.replacePeriod(versionFrame(++version), WRITE, never);
      const http = watchedHttp(() => writer.replacePeriod(versionFrame(++version), WRITE, never));
      const reader = await create(server, { http });
      await assert.rejects(prices(reader), isCode('RATECAT_SEARCH_BUSY', 'alpha'));
      await reader.stop?.();
    }));

  for (const when of MOMENTS) {
    it(`a crash ${when} any request leaves the old period or the new one, and the next try leaves no rest`, async () => {
      const requests = await requestsOfReplacing();
      assert.ok(requests > 7, `${requests} requests`);
      for (let last = 0; last <= requests; last++) {
        await using(async (storage, server) => {
          await storage.replacePeriod(versionFrame(1, ['a', 'b', 'old']), WRITE, never);
          const crashing = await create(server, { http: crashingHttp(last, when) });
          const replaced = crashing.replacePeriod(versionFrame(2, ['a', 'new']), WRITE, never);
          if (last < requests) await assert.rejects(replaced, isCode('RATECAT_TEST'));
          else await replaced;
          await crashing.stop?.();
          const found = (await prices(storage)).join(' ');
          assert.ok(found === '1.1 1.1 1.1' || found === '2.1 2.1', `after ${last} requests: ${found}`);

          await storage.replacePeriod(versionFrame(3, ['a', 'newer']), WRITE, never);
          assert.deepEqual(await prices(storage), ['3.1', '3.1']);
          assert.deepEqual(server.sources(POINTS).map(idAndPrice).sort(), ['a 3.1', 'newer 3.1']);
          const [period, ...more] = server.sources(PERIODS);
          assert.equal(more.length, 0);
          assert.ok(!/pending|leftovers/.test(String(period!.state)), String(period!.state));
        });
      }
    });

    it(`a crash ${when} any request of the first write leaves nothing, and the next try just its own`, async () => {
      for (let last = 0; last < 6; last++) {
        await using(async (storage, server) => {
          const crashing = await create(server, { http: crashingHttp(last, when) });
          await assert.rejects(crashing.replacePeriod(versionFrame(1), WRITE, never), isCode('RATECAT_TEST'));
          await crashing.stop?.();
          assert.deepEqual(await read(storage), [], `${when} request ${last}`);
          assert.deepEqual(await storage.total({ ...EVERYTHING, groupby: [] }, never), {
            total: 0,
            rows: [],
          });
          await storage.replacePeriod(versionFrame(2, ['z']), WRITE, never);
          assert.deepEqual(await prices(storage), ['2.1']);
          assert.deepEqual(server.sources(POINTS).map(idAndPrice), ['z 2.1']);
        });
      }
    });

    it(`a crash ${when} any request of a delete leaves the period or nothing, and the next try nothing at all`, async () => {
      for (let last = 0; ; last++) {
        let isDone = false;
        await using(async (storage, server) => {
          await storage.replacePeriod(versionFrame(1), WRITE, never);
          const crashing = await create(server, { http: crashingHttp(last, when) });
          isDone = await crashing.deletePeriods(EVERYTHING, {}, never).then(
            () => true,
            () => false,
          );
          await crashing.stop?.();
          assert.ok([0, 3].includes((await prices(storage)).length), `${when} request ${last}`);
          await storage.deletePeriods({ ...EVERYTHING, visible: ALPHA }, {}, never);
          for (const index of [POINTS, PERIODS]) assert.deepEqual(server.sources(index), []);
        });
        if (isDone) break;
        assert.ok(last < 20);
      }
    });
  }

  it('points of a write that crashed go with a delete, also those that no search has seen', () =>
    using(async (storage, server) => {
      // Read twice, period, intent, points: the answer of the bulk request is lost.
      const crashing = await create(server, { http: crashingHttp(4, 'after') });
      await assert.rejects(crashing.replacePeriod(versionFrame(1), WRITE, never), isCode('RATECAT_TEST'));
      await crashing.stop?.();
      assert.equal(server.sources(POINTS).length, 3);
      assert.equal(server.indices.get(POINTS)!.visible.size, 0);
      await storage.deletePeriods(EVERYTHING, {}, never);
      for (const index of [POINTS, PERIODS]) assert.deepEqual(server.sources(index), []);
    }));

  it('an empty period takes away what a crashed write of it left', () =>
    using(async (storage, server) => {
      const crashing = await create(server, { http: crashingHttp(4, 'after') });
      await assert.rejects(crashing.replacePeriod(versionFrame(1), WRITE, never), isCode('RATECAT_TEST'));
      await crashing.stop?.();
      await storage.replacePeriod(versionFrame(2, []), WRITE, never);
      assert.deepEqual(server.sources(POINTS), []);
      assert.equal((await read(storage)).length, 1);
    }));

  it('a worker that is overtaken while it writes does not switch to what it wrote, and takes it away', () =>
    using(async (storage, server) => {
      for (const before of [3, 4, 5, 6]) {
        const http = watchedHttp(async (number) => {
          if (number === before) await storage.replacePeriod(versionFrame(2, ['a', 'b']), WRITE, never);
        });
        const slow = await create(server, { http });
        await assert.rejects(
          slow.replacePeriod(versionFrame(1), WRITE, never),
          isCode('RATECAT_SEARCH_OVERTAKEN', 'alpha', '2026-01-01T00:00'),
        );
        await slow.stop?.();
        assert.deepEqual(await prices(storage), ['2.1', '2.1']);
        assert.equal(server.sources(POINTS).length, 2);
      }
      await storage.replacePeriod(versionFrame(4), WRITE, never);
      assert.deepEqual(await prices(storage), ['4.1', '4.1', '4.1']);
    }));

  it('a period that is written again while it is deleted is there or not, but never in part', async () => {
    for (let before = 0; before < 8; before++) {
      await using(async (storage, server) => {
        await storage.replacePeriod(versionFrame(1), WRITE, never);
        const http = watchedHttp(async (number) => {
          if (number === before) await storage.replacePeriod(versionFrame(2, ['a', 'b']), WRITE, never);
        });
        const deleting = await create(server, { http });
        await deleting.deletePeriods(EVERYTHING, {}, never);
        await deleting.stop?.();
        const found = await prices(storage);
        assert.ok([0, 2].includes(found.length), `${before}: ${found.join(' ')}`);
        assert.equal(server.sources(POINTS).length, found.length);
      });
    }
  });

  it('an answer that is lost on a connection that was reused counts as the write it was', () =>
    using(async (storage, server) => {
      await storage.replacePeriod(versionFrame(1), WRITE, never);
      let repeated = 0;
      // What a repeated compare-and-set is told: the document is there already.
      server.intercept = (call) => {
        if (call.method !== 'PUT' || call.path[1] !== '_doc') return undefined;
        server.intercept = undefined;
        const index = server.indices.get(PERIODS)!;
        index.put(call.path[2]!, JSON.parse(call.body) as JsonObject, {});
        repeated++;
        return { status: 409, body: { error: { type: 'version_conflict_engine_exception' }, status: 409 } };
      };
      await storage.replacePeriod(versionFrame(2), WRITE, never);
      assert.equal(repeated, 1);
      assert.deepEqual(await prices(storage), ['2.1', '2.1', '2.1']);
    }));
});

describe('errors of single actions of a bulk request', () => {
  it('a point that is not taken fails the whole period, which stays as it was', () =>
    using(async (storage, server) => {
      await storage.replacePeriod(versionFrame(1), WRITE, never);
      for (const [status, type] of [
        [403, 'cluster_block_exception'],
        [400, 'illegal_argument_exception'],
        [500, 'engine_exception'],
      ] as const) {
        server.failItem = (id) => (id.endsWith('-2') ? { status, type, reason: 'no more disk' } : undefined);
        await assert.rejects(
          storage.replacePeriod(versionFrame(2), WRITE, never),
          isCode('RATECAT_SEARCH_REFUSED', type, 'no more disk'),
        );
        assert.deepEqual(await prices(storage), ['1.1', '1.1', '1.1']);
        const { rows } = await storage.total(
          { ...EVERYTHING, groupby: [{ kind: 'attribute', name: 'id' }] },
          never,
        );
        assert.equal(rows.length, 3);
      }
      server.failItem = undefined;
      await storage.replacePeriod(versionFrame(3), WRITE, never);
      assert.deepEqual(await prices(storage), ['3.1', '3.1', '3.1']);
      assert.equal(server.sources(POINTS).length, 3);
    }));

  it('points for which the server has no room are sent again after a while, and only those', () => {
    const clock = new HastyClock();
    return using(
      async (storage, server) => {
        let rejections = 0;
        server.failItem = (id, kind) =>
          kind === 'index' && id.endsWith('-1') && rejections++ < 3
            ? { status: 429, type: 'es_rejected_execution_exception', reason: 'queue full' }
            : undefined;
        await storage.replacePeriod(versionFrame(1), WRITE, never);
        assert.deepEqual(await prices(storage), ['1.1', '1.1', '1.1']);
        assert.deepEqual(clock.waits, [250, 500, 1000]);
        const bulks = server.calls.filter(({ path }) => path[1] === '_bulk');
        assert.deepEqual(
          bulks.map(({ body }) => body.split('\n').length - 1),
          [6, 2, 2, 2],
        );
      },
      { clock },
    );
  });

  it('a server that never has room ends the write with an error, and nothing is half visible', () =>
    using(async (storage, server) => {
      await storage.replacePeriod(versionFrame(1), WRITE, never);
      server.failItem = (_id, kind) =>
        kind === 'index'
          ? { status: 429, type: 'es_rejected_execution_exception', reason: 'queue full' }
          : undefined;
      await assert.rejects(
        storage.replacePeriod(versionFrame(2), WRITE, never),
        isCode('RATECAT_UPSTREAM_UNAVAILABLE', 'queue full'),
      );
      assert.deepEqual(await prices(storage), ['1.1', '1.1', '1.1']);
    }));

  it('a removal that fails for one period is an error', () =>
    using(async (storage, server) => {
      await storage.replacePeriod(versionFrame(1), WRITE, never);
      server.failItem = () => ({ status: 403, type: 'cluster_block_exception', reason: 'read-only' });
      await assert.rejects(
        storage.deletePeriods(EVERYTHING, {}, never),
        isCode('RATECAT_SEARCH_REFUSED', 'read-only'),
      );
      server.failItem = undefined;
      assert.equal((await prices(storage)).length, 3);
    }));
});

describe('attributes that an index cannot hold', () => {
  it('one that has another type there is left out for the reference alone, and said once', () => {
    const logger = new RecordingLogger();
    const prepare = (server: { fill(name: string, documents: readonly JsonObject[]): void }) =>
      server.fill(POINTS, [
        { start: '2025-01-01', groupby: { size: 5 }, metadata: { flavor: '2025-01-01' } },
      ]);
    return using(
      async (storage, server) => {
        const points = [
          { groupby: { id: 'x', size: 'large' }, metadata: { flavor: 'm1', zone: 'z' } },
          { metric: 'volume' },
        ];
        for (const index of [0, 1])
          await storage.replacePeriod(sampleFrame({ hour: index, points }), WRITE, never);
        const [frame] = await read(storage);
        assert.deepEqual(
          plainFrame(frame!),
          plainFrame({ ...sampleFrame({ points }), snapshot: WRITE.snapshot }),
        );
        const [, first] = server.sources(POINTS);
        assert.deepEqual(
          [(first!.groupby as JsonObject).id, (first!.groupby as JsonObject).size, first!.metadata],
          ['x', undefined, { zone: 'z' }],
        );
        assert.deepEqual(logger.lines.map(({ level, fields }) => [level, fields.field]).sort(), [
          ['warn', 'groupby.size'],
          ['warn', 'metadata.flavor'],
        ]);
      },
      { logger, prepare },
    );
  });

  it('with more names than an index has fields, amounts still arrive and Ratecat has everything', () =>
    using(
      async (storage, server) => {
        const points = Array.from({ length: 60 }, (_, index) => ({
          groupby: { [`label_${index}`]: 'x', project_id: 'alpha' },
          price: '0.5',
        }));
        await storage.replacePeriod(sampleFrame({ points }), WRITE, never);
        const [frame] = await read(storage);
        assert.deepEqual(
          plainFrame(frame!),
          plainFrame({ ...sampleFrame({ points }), snapshot: WRITE.snapshot }),
        );
        assert.equal(
          server.sources(POINTS).reduce((sum, { price }) => sum + Number(price), 0),
          30,
        );
      },
      { server: { maxFields: 40 } },
    ));

  it('names and values that cannot be fields are kept for Ratecat', () =>
    using(async (storage, server) => {
      const attributes = {
        '': 'empty',
        '.': 'dot',
        'a.': 'end',
        a: 'plain',
        'a.b': 'within',
        'c.d': 'dotted',
        ' ': 'blank',
        __proto__x: 'p',
        'half\ud800': 'name',
        half: '\udc00',
        long: 'x'.repeat(40_000),
        [`${'n.'.repeat(30)}n`]: 'deep',
      };
      const points = [{ groupby: attributes, metadata: attributes }];
      await storage.replacePeriod(sampleFrame({ points }), WRITE, never);
      const [frame] = await read(storage);
      assert.deepEqual(
        plainFrame(frame!),
        plainFrame({ ...sampleFrame({ points }), snapshot: WRITE.snapshot }),
      );
      const [{ metadata } = {}] = server.sources(POINTS);
      assert.deepEqual(metadata, { a: 'plain', 'c.d': 'dotted', __proto__x: 'p', half: '\ufffd' });
    }));
});

describe('scopes in a search index', () => {
  it('scopes with hostile ids are deleted without touching others', () =>
    using(
      async (storage) => {
        const ids = [
          ...HOSTILE_TEXTS.slice(0, 80),
          'plain',
          '',
          '%',
          '%0025',
          'a|b',
          '|',
          '*',
          'x'.repeat(2_000),
        ];
        for (const id of ids) await storage.replacePeriod(sampleFrame({ scope: id }), WRITE, never);
        const left = new Set(ids);
        for (const id of ids.filter((_id, index) => index % 2 === 0)) {
          await storage.deletePeriods({ ...EVERYTHING, visible: [{ key: 'project_id', id }] }, {}, never);
          left.delete(id);
        }
        const found = await storage.scopesWithData(EVERYTHING, never);
        assert.deepEqual(found.map(({ scope }) => scope.id).sort(), [...left].sort());
      },
      { options: { reference: { source: 'cloudkitty' } } },
    ));

  it('more periods than one answer holds are all found, in order, also when one instant has that many', () =>
    using(async (storage, server) => {
      const counts = [1_300, 2_600, 5_200, 1, 2_600];
      const sum = ['cpu', 1, '1', '0.1'];
      const documents = counts.flatMap((count, place) =>
        Array.from({ length: count }, (_, serial) => {
          const scope = { key: 'project_id', id: `s${serial}` };
          const committed = { version: 'v', end: hour(place + 1), snapshot: '', metrics: [sum] };
          const state = JSON.stringify({ source: 'openstack', scope: [scope.key, scope.id], committed });
          const owner = ownerHash({ source: 'openstack', scope });
          return { begin: hour(place), owner, scope: scopeHash(scope), state };
        }),
      );
      server.fill(PERIODS, documents);
      const groupby = [{ kind: 'time', unit: 'period' }] as const;
      const { rows } = await storage.total({ ...EVERYTHING, groupby }, never);
      assert.deepEqual(
        rows.map(({ begin, points }) => [begin, points]),
        counts.map((count, place) => [hour(place), count]),
      );
      assert.equal((await storage.scopesWithData(EVERYTHING, never)).length, 5_200);
      const few = Array.from({ length: 12_000 }, (_, serial) => ({
        key: 'project_id',
        id: `s${2 * serial}`,
      }));
      for (const visible of [few.slice(0, 9_000), few])
        assert.equal(
          await storage.countPoints({ ...EVERYTHING, visible }, never),
          650 + 1_300 + 2_600 + 1 + 1_300,
        );
    }));

  it('a period with more points than a search gives is read whole', () =>
    using(async (storage) => {
      const points = Array.from({ length: 10_001 }, (_, index) => ({ groupby: { id: `${index}` } }));
      await storage.replacePeriod(sampleFrame({ points }), WRITE, never);
      const [frame] = await read(storage);
      assert.deepEqual(
        frame!.points.map(({ descriptor }) => descriptor.groupby.get('id')),
        points.map(({ groupby }) => groupby.id),
      );
    }));

  it('answers that are longer than allowed are asked for in smaller pages', () =>
    using(
      async (storage) => {
        const points = Array.from({ length: 400 }, (_, index) => ({
          groupby: { id: `${index}` },
          metadata: { text: 'y'.repeat(2_000) },
        }));
        await storage.replacePeriod(sampleFrame({ points }), WRITE, never);
        const [frame] = await read(storage);
        assert.equal(frame!.points.length, 400);
      },
      { options: { max_response_mib: 0.25 } },
    ));

  it('points that somebody removed are missed loudly, and rating the period again heals it', () =>
    using(async (storage, server) => {
      await storage.replacePeriod(versionFrame(1), WRITE, never);
      const index = server.indices.get(POINTS)!;
      index.delete([...index.live.keys()][1]!, {});
      index.refresh();
      await assert.rejects(prices(storage), isCode('RATECAT_SEARCH_DAMAGED', 'alpha', '2026-01-01T00:00'));
      await storage.replacePeriod(versionFrame(2), WRITE, never);
      assert.equal((await prices(storage)).length, 3);
    }));

  it('a period that overlaps one of another length is refused', () =>
    using(async (storage) => {
      await storage.replacePeriod(versionFrame(1), WRITE, never);
      const frame = versionFrame(2);
      const { begin, end } = frame.period;
      for (const period of [
        { begin, end: end + 3600 },
        { begin: begin + 1800, end },
        { begin: begin - 1800, end: begin + 1 },
      ])
        await assert.rejects(
          storage.replacePeriod({ ...frame, period }, WRITE, never),
          isCode('RATECAT_PERIOD_OVERLAP', 'alpha'),
        );
      assert.deepEqual(await prices(storage), ['1.1', '1.1', '1.1']);
    }));
});

function idAndPrice({ groupby, price }: JsonObject): string {
  return `${String((groupby as JsonObject).id)} ${String(price)}`;
}
