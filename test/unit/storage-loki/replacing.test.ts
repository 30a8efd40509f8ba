import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type SqlDatabase, UnavailableError } from '../../../core/plugin-api/index.js';
import { RecordingLogger } from '../../../core/testkit/fakes.js';
import { HOSTILE_TEXTS } from '../../../core/testkit/hostile-texts.js';
import { hour, plainFrame, sampleFrame } from '../../../core/testkit/samples.js';
import type { LokiServer } from '../../support/loki-server/loki-server.js';
import {
  ALPHA,
  create,
  EVERYTHING,
  HastyClock,
  isCode,
  never,
  type OpenedSetup,
  prices,
  read,
  using,
  versionFrame,
  WRITE,
} from './opened-storage.js';

const DAY_MS = 86_400_000;
const MOMENTS = ['before', 'after'] as const;
type Moment = (typeof MOMENTS)[number];

/** Calls `at` with the number, from 0, of each step: a request to Loki or a transaction, before it begins and after it ended. */
function watched(setup: OpenedSetup, at: (serial: number, moment: Moment) => Promise<void>): OpenedSetup {
  let serial = 0;
  const { database } = setup;
  const step = async <T>(work: () => Promise<T>): Promise<T> => {
    const number = serial++;
    await at(number, 'before');
    const done = await work();
    await at(number, 'after');
    return done;
  };
  return {
    ...setup,
    http: {
      client(options) {
        const client = setup.http.client(options);
        return {
          request: (request, signal) => step(() => client.request(request, signal)),
          close: () => client.close(),
        };
      },
    },
    database: {
      dialect: database.dialect,
      query: (sql, parameters) => database.query(sql, parameters),
      iterate: (sql, parameters, signal) => database.iterate(sql, parameters, signal),
      transaction: (work, signal) => step(() => database.transaction(work, signal)),
    },
  };
}

/** The process dies at this step. */
function crashing(setup: OpenedSetup, last: number, when: Moment): OpenedSetup {
  return watched(setup, async (serial, moment) => {
    if (serial > last || (serial === last && moment === when))
      throw new UnavailableError('RATECAT_TEST', 'the process is gone');
  });
}

/** Points in Loki, as `id version`. */
function stored(server: LokiServer): readonly string[] {
  return server
    .tenant()
    .all()
    .map(({ line }) => {
      const { groupby, price } = JSON.parse(line) as { groupby: { id: string }; price: number };
      return `${groupby.id} ${price}`;
    })
    .sort();
}

/** What is left over after a day has gone. */
async function sweepAll(server: LokiServer, setup: OpenedSetup): Promise<void> {
  (setup.clock as HastyClock).jumpWallClock(DAY_MS + 1_000);
  const storage = await create(server, setup);
  while ((await storage.sweep!(never)) > 0);
  await storage.stop?.();
  server.tenant().runDeletions();
}

async function leftovers(database: SqlDatabase): Promise<number> {
  return Number((await database.query('SELECT COUNT(*) FROM ratecat_loki_leftovers'))[0]![0]);
}

describe('replacing a period in Loki', () => {
  it('readers see a period whole before and after every step of its replacement', () =>
    using(async (reader, server, setup) => {
      await reader.replacePeriod(versionFrame(1), WRITE, never);
      const seen: string[] = [];
      const look = async () => {
        const found = await prices(reader);
        assert.equal(found.length, 3);
        assert.equal(new Set(found).size, 1, found.join(' '));
        seen.push(found[0]!);
        const { rows } = await reader.total({ ...EVERYTHING, groupby: [] }, never);
        assert.deepEqual([rows[0]!.points, rows[0]!.quantity.toString()], [3, '3']);
      };
      const writer = await create(server, watched(setup, look));
      await writer.replacePeriod(versionFrame(2), WRITE, never);
      await writer.stop?.();
      assert.deepEqual([...new Set(seen)], ['1.1', '2.1']);
      assert.equal(seen.length, 6, 'two transactions and a request');
    }));

  it('a reader whose period is replaced while it reads sees one version whole', () =>
    using(async (writer, server, setup) => {
      let version = 0;
      const replace = () => writer.replacePeriod(versionFrame(++version), WRITE, never);
      await replace();
      const reader = await create(
        server,
        watched(setup, async (number, moment) => {
          if (moment !== 'before' || number > 3) return;
          await replace();
          // Loki has deleted already what the reader asks for.
          while ((await writer.sweep!(never)) > 0);
          server.tenant().runDeletions();
        }),
      );
      for (let round = 0; round < 3; round++) {
        const found = await prices(reader);
        assert.equal(found.length, 3);
        assert.equal(new Set(found).size, 1, found.join(' '));
      }
      await reader.stop?.();
      assert.equal(version, 5);
    }));

  it('a reader whose period is replaced before every request gives up with a reason', () =>
    using(async (writer, server, setup) => {
      let version = 0;
      await writer.replacePeriod(versionFrame(++version), WRITE, never);
      const reader = await create(
        server,
        watched(setup, async (_number, moment) => {
          if (moment !== 'before') return;
          await writer.replacePeriod(versionFrame(++version), WRITE, never);
          while ((await writer.sweep!(never)) > 0);
          server.tenant().runDeletions();
        }),
      );
      await assert.rejects(prices(reader), isCode('RATECAT_LOKI_BUSY', 'alpha'));
      await reader.stop?.();
    }));

  for (const when of MOMENTS) {
    it(`a crash ${when} any step leaves the old period or the new one, and nothing of the rest stays`, async () => {
      for (let last = 0; last <= 3; last++) {
        await using(async (storage, server, setup) => {
          await storage.replacePeriod(versionFrame(1, ['a', 'b', 'old']), WRITE, never);
          const dying = await create(server, crashing(setup, last, when));
          const replaced = dying.replacePeriod(versionFrame(2, ['a', 'new']), WRITE, never);
          if (last < 3) await assert.rejects(replaced, isCode('RATECAT_TEST'));
          else await replaced;
          await dying.stop?.();
          const isNew = last === 3 || (last === 2 && when === 'after');
          assert.deepEqual(await prices(storage), isNew ? ['2.1', '2.1'] : ['1.1', '1.1', '1.1']);

          await storage.replacePeriod(versionFrame(3, ['a', 'newer']), WRITE, never);
          assert.deepEqual(await prices(storage), ['3.1', '3.1']);
          await sweepAll(server, setup);
          assert.deepEqual(stored(server), ['a 3.1', 'newer 3.1']);
          assert.equal(await leftovers(setup.database), 0);
          assert.deepEqual(await prices(storage), ['3.1', '3.1']);
        });
      }
    });

    it(`a crash ${when} any step of the first write leaves nothing`, async () => {
      for (let last = 0; last < 3; last++) {
        await using(async (storage, server, setup) => {
          const dying = await create(server, crashing(setup, last, when));
          await assert.rejects(dying.replacePeriod(versionFrame(1), WRITE, never), isCode('RATECAT_TEST'));
          await dying.stop?.();
          const isThere = last === 2 && when === 'after';
          assert.deepEqual(await prices(storage), isThere ? ['1.1', '1.1', '1.1'] : []);
          await sweepAll(server, setup);
          assert.equal(stored(server).length, isThere ? 3 : 0);
          assert.equal(await leftovers(setup.database), 0);
        });
      }
    });

    it(`a crash ${when} the transaction of a delete leaves all of its periods or none`, () =>
      using(async (storage, server, setup) => {
        for (const index of [0, 1, 2])
          await storage.replacePeriod(versionFrame(1, undefined, index), WRITE, never);
        const dying = await create(server, crashing(setup, 0, when));
        await assert.rejects(dying.deletePeriods(EVERYTHING, {}, never), isCode('RATECAT_TEST'));
        await dying.stop?.();
        assert.equal((await read(storage)).length, when === 'before' ? 3 : 0);
        await storage.deletePeriods({ ...EVERYTHING, visible: ALPHA }, {}, never);
        await sweepAll(server, setup);
        assert.deepEqual(stored(server), []);
      }));
  }

  it('a worker that is overtaken while it writes does not count, and what it wrote goes', () =>
    using(async (storage, server, setup) => {
      for (const [before, frame] of [
        [1, versionFrame(2, ['a', 'b'])],
        [2, versionFrame(3, ['a', 'b'])],
      ] as const) {
        const slow = await create(
          server,
          watched(setup, async (number, moment) => {
            if (number === before && moment === 'before') await storage.replacePeriod(frame, WRITE, never);
          }),
        );
        await assert.rejects(
          slow.replacePeriod(versionFrame(1), WRITE, never),
          isCode('RATECAT_LOKI_OVERTAKEN', 'alpha', '2026-01-01T00:00'),
        );
        await slow.stop?.();
        assert.deepEqual(await prices(storage), Array(2).fill(frame.points[0]!.price.toString()));
      }
      await sweepAll(server, setup);
      assert.deepEqual(stored(server), ['a 3.1', 'b 3.1']);
    }));

  it('a worker whose period is deleted while it writes it again does not bring it back', () =>
    using(async (storage, server, setup) => {
      await storage.replacePeriod(versionFrame(1), WRITE, never);
      const slow = await create(
        server,
        watched(setup, async (number, moment) => {
          if (number === 2 && moment === 'before') await storage.deletePeriods(EVERYTHING, {}, never);
        }),
      );
      await assert.rejects(
        slow.replacePeriod(versionFrame(2), WRITE, never),
        isCode('RATECAT_LOKI_OVERTAKEN'),
      );
      await slow.stop?.();
      assert.deepEqual(await prices(storage), []);
      await sweepAll(server, setup);
      assert.deepEqual(stored(server), []);
    }));

  it('a worker that slept for more than a day cannot use points that may be deleted', () =>
    using(async (storage, server, setup) => {
      await storage.replacePeriod(versionFrame(1), WRITE, never);
      const sleeping = await create(
        server,
        watched(setup, async (number, moment) => {
          if (number === 2 && moment === 'before') await sweepAll(server, setup);
        }),
      );
      await assert.rejects(
        sleeping.replacePeriod(versionFrame(2), WRITE, never),
        isCode('RATECAT_LOKI_OVERTAKEN'),
      );
      await sleeping.stop?.();
      assert.deepEqual(await prices(storage), ['1.1', '1.1', '1.1']);
      assert.deepEqual(stored(server), ['a 1.1', 'b 1.1', 'c 1.1']);
    }));

  it('a write that ends while its points are about to be deleted keeps them', () =>
    using(async (storage, server, setup) => {
      const { database } = setup;
      const slow = await create(
        server,
        watched(setup, async (number, moment) => {
          if (number !== 2 || moment !== 'before') return;
          (setup.clock as HastyClock).jumpWallClock(DAY_MS + 1_000);
          const racing: SqlDatabase = {
            dialect: database.dialect,
            query: (sql, parameters) => database.query(sql, parameters),
            iterate: (sql, parameters, signal) => database.iterate(sql, parameters, signal),
            transaction: (work, signal) =>
              database.transaction(
                (tx) =>
                  work({
                    dialect: tx.dialect,
                    query: (sql, parameters) => tx.query(sql, parameters),
                    insertRows: (insert) => tx.insertRows(insert),
                    async execute(sql, parameters) {
                      // What another connection has committed between the two statements.
                      if (sql.startsWith('UPDATE ratecat_loki_leftovers SET asked'))
                        await tx.execute('DELETE FROM ratecat_loki_leftovers');
                      return tx.execute(sql, parameters);
                    },
                  }),
                signal,
              ),
          };
          const sweeper = await create(server, { ...setup, database: racing });
          assert.equal(await sweeper.sweep!(never), 0);
          await sweeper.stop?.();
        }),
      );
      await assert.rejects(
        slow.replacePeriod(versionFrame(1), WRITE, never),
        isCode('RATECAT_LOKI_OVERTAKEN'),
      );
      await slow.stop?.();
      assert.ok(!server.calls.some(({ path }) => path === 'delete'));
      assert.equal((await prices(storage)).length, 0);
    }));

  it('points of a write that goes on are not swept', () =>
    using(async (storage, server, setup) => {
      const slow = await create(
        server,
        watched(setup, async (number, moment) => {
          if (number !== 2 || moment !== 'before') return;
          (setup.clock as HastyClock).jumpWallClock(DAY_MS / 2);
          assert.equal(await storage.sweep!(never), 0);
        }),
      );
      await slow.replacePeriod(versionFrame(1), WRITE, never);
      await slow.stop?.();
      assert.equal((await prices(storage)).length, 3);
    }));

  it('a push that Loki takes in part leaves the period as it was', () =>
    using(
      async (storage, server) => {
        await storage.replacePeriod(versionFrame(1), WRITE, never);
        const { groupby, ...rest } = { groupby: { id: 'long', project_id: 'alpha' }, price: '2.1' };
        const points = [
          { groupby, ...rest },
          { groupby, ...rest, metadata: { text: 'x'.repeat(40_000) } },
        ];
        await assert.rejects(
          storage.replacePeriod(sampleFrame({ points }), WRITE, never),
          isCode('RATECAT_LOKI_REFUSED', 'Max entry size'),
        );
        assert.equal(stored(server).length, 4);
        assert.deepEqual(await prices(storage), ['1.1', '1.1', '1.1']);
      },
      { server: { maxLineBytes: 32 * 1024 } },
    ));

  it('a period that overlaps one of another length is refused, also one that came meanwhile', () =>
    using(async (storage, server, setup) => {
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
      const pushes = server.calls.filter(({ path }) => path === 'push');
      assert.equal(pushes.length, 1, 'nothing of them was sent');
      const later = versionFrame(3, ['a'], 30);
      const long = { ...later, period: { begin: hour(29), end: hour(31) } };
      const slow = await create(
        server,
        watched(setup, async (number, moment) => {
          if (number === 2 && moment === 'before') await storage.replacePeriod(later, WRITE, never);
        }),
      );
      await assert.rejects(slow.replacePeriod(long, WRITE, never), isCode('RATECAT_PERIOD_OVERLAP'));
      await slow.stop?.();
    }));
});

describe('points in Loki that do not count', () => {
  it('are deleted by few requests, and never those that count', () =>
    using(async (storage, server, setup) => {
      for (const version of [1, 2, 3])
        for (let index = 0; index < 30; index++)
          await storage.replacePeriod(versionFrame(version, ['a'], index), WRITE, never);
      await sweepAll(server, setup);
      const requests = server.calls.filter(({ path }) => path === 'delete');
      assert.equal(requests.length, 2, '60 versions');
      assert.deepEqual(stored(server), Array(30).fill('a 3.1'));
      assert.equal(await storage.countPoints(EVERYTHING, never), 30);
    }));

  it('of one scope go without touching another', () =>
    using(async (storage, server, setup) => {
      for (const scope of ['alpha', 'beta'])
        await storage.replacePeriod(
          sampleFrame({ scope, points: [{ groupby: { id: scope } }] }),
          WRITE,
          never,
        );
      await storage.deletePeriods({ ...EVERYTHING, visible: ALPHA }, {}, never);
      await sweepAll(server, setup);
      assert.deepEqual(
        stored(server).map((text) => text.split(' ')[0]),
        ['beta'],
      );
    }));

  it('stay where Loki takes no requests to delete, which is said once and tried again each day', () => {
    const logger = new RecordingLogger();
    return using(
      async (storage, server, setup) => {
        const clock = setup.clock as HastyClock;
        const asked = () => server.calls.filter(({ path }) => path === 'delete').length;
        await storage.replacePeriod(versionFrame(1), WRITE, never);
        await storage.replacePeriod(versionFrame(2), WRITE, never);
        assert.equal(await storage.sweep!(never), 0);
        assert.equal(await storage.sweep!(never), 0);
        assert.equal(asked(), 1);
        clock.jumpWallClock(DAY_MS + 1_000);
        assert.equal(await storage.sweep!(never), 0);
        assert.equal(asked(), 2);
        assert.deepEqual(
          logger.lines.map(({ level, message }) => [level, /retention_enabled/.test(message)]),
          [['warn', true]],
        );
        assert.deepEqual(await prices(storage), ['2.1', '2.1', '2.1']);
        assert.equal(stored(server).length, 6);
      },
      { logger, server: { deletes: false } },
    );
  });

  it('are not asked for when Loki cannot be reached, and later are', () =>
    using(async (storage, server) => {
      await storage.replacePeriod(versionFrame(1), WRITE, never);
      await storage.replacePeriod(versionFrame(2), WRITE, never);
      server.intercept = () => ({ status: 503, body: 'not ready' });
      await assert.rejects(storage.sweep!(never), isCode('RATECAT_UPSTREAM_UNAVAILABLE', 'not ready'));
      server.intercept = undefined;
      assert.equal(await storage.sweep!(never), 1);
      server.tenant().runDeletions();
      assert.equal(stored(server).length, 3);
    }));
});

describe('points and scopes in Loki', () => {
  it('scopes with hostile ids are deleted without touching others', () =>
    using(async (storage) => {
      const ids = [
        ...HOSTILE_TEXTS.slice(0, 80),
        'plain',
        '',
        '%',
        '%0025',
        'a|b',
        '|',
        '*',
        'x'.repeat(500),
      ];
      const unique = [...new Set(ids)].filter((id) => id.length <= 512);
      for (const id of unique) await storage.replacePeriod(sampleFrame({ scope: id }), WRITE, never);
      const left = new Set(unique);
      for (const id of unique.filter((_id, index) => index % 2 === 0)) {
        await storage.deletePeriods({ ...EVERYTHING, visible: [{ key: 'project_id', id }] }, {}, never);
        left.delete(id);
      }
      const found = await storage.scopesWithData(EVERYTHING, never);
      assert.deepEqual(found.map(({ scope }) => scope.id).sort(), [...left].sort());
      for (const id of left)
        assert.equal((await read(storage, { visible: [{ key: 'project_id', id }] })).length, 1, id);
    }));

  it('names that are longer than the tables hold are refused before anything is sent', () =>
    using(async (storage, server) => {
      await assert.rejects(
        storage.replacePeriod(sampleFrame({ scope: 'x'.repeat(513) }), WRITE, never),
        isCode('RATECAT_SCOPE_TOO_LONG', '513'),
      );
      assert.ok(!server.calls.some(({ path }) => path === 'push'));
    }));

  it('more periods than one page holds are all found, in order, also when one instant has that many', () =>
    using(async (storage, _server, { database }) => {
      const counts = [400, 900, 1_700, 1, 900];
      await database.transaction(async (tx) => {
        await tx.insertRows({
          table: 'ratecat_loki_scopes',
          columns: ['id', 'identity', 'source', 'scope_key', 'scope_id'],
          rows: Array.from({ length: 1_700 }, (_, serial) => [
            serial + 1,
            Buffer.from(String(serial).padStart(32, '0')),
            'openstack',
            'project_id',
            `s${serial}`,
          ]),
        });
        await tx.insertRows({
          table: 'ratecat_loki_periods',
          columns: ['scope', 'period_begin', 'version', 'first_time', 'last_time', 'committed'],
          rows: counts.flatMap((count, place) =>
            Array.from({ length: count }, (_, serial) => {
              const metrics = [['cpu', 1, '1', '0.1']];
              const committed = { version: 'v', end: hour(place + 1), snapshot: '', metrics };
              return [serial + 1, hour(place), 'v', 1, 1, JSON.stringify(committed)];
            }),
          ),
        });
      });
      const groupby = [{ kind: 'time', unit: 'period' }] as const;
      const { rows } = await storage.total({ ...EVERYTHING, groupby }, never);
      assert.deepEqual(
        rows.map(({ begin, points }) => [begin, points]),
        counts.map((count, place) => [hour(place), count]),
      );
      assert.equal((await storage.scopesWithData(EVERYTHING, never)).length, 1_700);
      const few = Array.from({ length: 850 }, (_, serial) => ({ key: 'project_id', id: `s${2 * serial}` }));
      assert.equal(
        await storage.countPoints({ ...EVERYTHING, visible: few }, never),
        200 + 450 + 850 + 1 + 450,
      );
    }));

  it('a period with more points than an answer or a request holds is read whole, in its order', () =>
    using(async (storage, server) => {
      const points = Array.from({ length: 7_001 }, (_, index) => ({ groupby: { id: `${index}` } }));
      await storage.replacePeriod(sampleFrame({ points }), WRITE, never);
      const [frame] = await read(storage);
      assert.deepEqual(
        frame!.points.map(({ descriptor }) => descriptor.groupby.get('id')),
        points.map(({ groupby }) => groupby.id),
      );
      assert.ok(server.calls.filter(({ path }) => path === 'push').length > 1);
    }));

  it('attributes that make a line too long are kept once instead of twice', () =>
    using(
      async (storage, server) => {
        const points = [{ groupby: { id: 'a' }, metadata: { text: 'x'.repeat(10_000) } }];
        await storage.replacePeriod(sampleFrame({ points }), WRITE, never);
        const [frame] = await read(storage);
        assert.deepEqual(
          plainFrame(frame!),
          plainFrame({ ...sampleFrame({ points }), snapshot: WRITE.snapshot }),
        );
        const [entry] = server.tenant().all();
        assert.deepEqual((JSON.parse(entry!.line) as { metadata: object }).metadata, {});
        const long = [{ groupby: { id: 'a' }, metadata: { text: 'x'.repeat(20_000) } }];
        await assert.rejects(
          storage.replacePeriod(sampleFrame({ points: long, hour: 1 }), WRITE, never),
          isCode('RATECAT_LOKI_REFUSED', 'max_line_kib'),
        );
      },
      { options: { max_line_kib: 16 } },
    ));

  it('points that are gone are missed loudly, and rating the period again heals it', () =>
    using(async (storage, server) => {
      await storage.replacePeriod(versionFrame(1), WRITE, never);
      server.tenant().drop((_labels, { line }) => line.includes('"id":"b"'));
      await assert.rejects(prices(storage), isCode('RATECAT_LOKI_DAMAGED', 'alpha', '2026-01-01T00:00'));
      // What the database knows is still there.
      const { rows } = await storage.total({ ...EVERYTHING, groupby: [] }, never);
      assert.equal(rows[0]!.points, 3);
      await storage.replacePeriod(versionFrame(2), WRITE, never);
      assert.equal((await prices(storage)).length, 3);
    }));

  it('lines that Loki has shortened are no points', () =>
    using(
      async (storage) => {
        const points = [{ groupby: { id: 'a' }, metadata: { text: 'x'.repeat(10_000) } }];
        await storage.replacePeriod(sampleFrame({ points }), WRITE, never);
        await assert.rejects(read(storage), isCode('RATECAT_LOKI_DAMAGED', 'max_line_size_truncate'));
      },
      { server: { maxLineBytes: 4_096, truncatesLines: true } },
    ));

  it('every line is what CloudKitty writes, with exact numbers in the record beside it', () =>
    using(async (storage, server) => {
      const points = [{ groupby: { id: 'a', project_id: 'alpha' }, price: '0.1000000000000000000000000001' }];
      const frame = sampleFrame({ points });
      await storage.replacePeriod(frame, WRITE, never);
      const [entry] = server.tenant().all();
      const { ratecat, ...line } = JSON.parse(entry!.line) as Record<string, unknown>;
      const { descriptor } = frame.points[0]!;
      assert.deepEqual(line, {
        start: '2026-01-01T00:00:00+00:00',
        end: '2026-01-01T01:00:00+00:00',
        type: descriptor.metric,
        unit: descriptor.unit,
        ...(descriptor.description === undefined ? {} : { description: descriptor.description }),
        qty: 1,
        price: 0.1,
        groupby: { id: 'a', project_id: 'alpha' },
        metadata: Object.fromEntries([...descriptor.metadata].map(([name, value]) => [name, String(value)])),
      });
      assert.equal((ratecat as { price: string }).price, '0.1000000000000000000000000001');
      const [read0] = await read(storage);
      assert.equal(read0!.points[0]!.price.toString(), '0.1000000000000000000000000001');
    }));
});
