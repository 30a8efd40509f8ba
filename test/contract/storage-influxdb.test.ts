import assert from 'node:assert/strict';
import { after, before, describe, it, test } from 'node:test';
import { httpFactory } from '../../core/loading/http-client.js';
import {
  type Calendar,
  Decimal,
  type Frame,
  type HttpFactory,
  type HttpRequest,
  isRatecatError,
  type PointQuery,
  type RatedPoint,
  type Storage,
  UnavailableError,
} from '../../core/plugin-api/index.js';
import { testDefinition } from '../../core/testkit/definition.js';
import { fakeContext, RecordingLogger, utcCalendar } from '../../core/testkit/fakes.js';
import { HOSTILE_TEXTS } from '../../core/testkit/hostile-texts.js';
import { testLifecycle } from '../../core/testkit/lifecycle.js';
import { hour, plainFrame, sampleFrame } from '../../core/testkit/samples.js';
import { testStorage } from '../../core/testkit/storage.js';
import influxdb from '../../plugins/storage/influxdb/index.js';
import { markerLine, stateText } from '../../plugins/storage/influxdb/marker.js';
import { serviceInstalled } from '../support/require-service.js';
import { type Influxdb, startInfluxdb } from '../support/services/influxdb.js';

const never = new AbortController().signal;
const EVERYTHING: PointQuery = { visible: 'all', begin: 0, end: 4_102_444_800 };
const WRITE = { fence: 1, generation: 1, snapshot: 'a'.repeat(64) };
const SNAPSHOT = { snapshot: WRITE.snapshot };
const ALPHA = [{ key: 'project_id', id: 'alpha' }] as const;

testDefinition({
  test,
  definition: influxdb,
  kind: 'storage',
  context: fakeContext({ http: httpFactory }),
});

interface Setup {
  readonly options?: Readonly<Record<string, unknown>>;
  readonly calendar?: Calendar;
  readonly http?: HttpFactory;
  readonly logger?: RecordingLogger;
}

async function create(server: Influxdb, database: string, setup: Setup = {}): Promise<Storage> {
  const options = { host: server.host, port: server.port, database, ...setup.options };
  const checked = await influxdb.options['~standard'].validate(options);
  if (checked.issues !== undefined) throw new Error(JSON.stringify(checked.issues));
  const { calendar = utcCalendar, http = httpFactory, logger = new RecordingLogger() } = setup;
  return influxdb.create(checked.value, fakeContext({ http, calendar, logger }));
}

/** Runs `before` with the number of the request, from 0, before it is sent. */
function watchedHttp(before: (request: HttpRequest, serial: number) => Promise<void>): HttpFactory {
  return {
    client(options) {
      const client = httpFactory.client(options);
      let serial = 0;
      return {
        async request(request, signal) {
          await before(request, serial++);
          return client.request(request, signal);
        },
        close: () => client.close(),
      };
    },
  };
}

/** Three servers that all say in price and flavor which version of the period they are of. */
function versionFrame(version: number, ids: readonly string[] = ['a', 'b', 'c']): Frame<RatedPoint> {
  const price = `${version}.1`;
  const points = ids.map((id) => ({
    groupby: { id, project_id: 'alpha' },
    metadata: { flavor: price },
    price,
  }));
  return sampleFrame({ points });
}

async function read(
  storage: Storage,
  query: Partial<PointQuery> = {},
): Promise<readonly Frame<RatedPoint>[]> {
  const frames: Frame<RatedPoint>[] = [];
  for await (const frame of storage.readPeriods({ ...EVERYTHING, ...query }, never)) frames.push(frame);
  return frames;
}

/** Prices of the only period; empty when there is none. */
async function prices(storage: Storage): Promise<readonly string[]> {
  const frames = await read(storage);
  assert.ok(frames.length <= 1);
  return frames.flatMap(({ points }) => points.map(({ price }) => price.toString()));
}

function isCode(code: string, ...words: readonly string[]) {
  return (error: unknown) => {
    assert.ok(isRatecatError(error), String(error));
    assert.equal(error.code, code);
    for (const word of words) assert.ok(error.message.includes(word), error.message);
    return true;
  };
}

if (serviceInstalled('influxdb')) {
  describe('storage influxdb on InfluxDB', () => {
    let server: Influxdb;
    before(async () => {
      server = await startInfluxdb();
    });
    after(() => server.stop());
    let serial = 0;

    async function newDatabase(): Promise<string> {
      const name = `rating_${++serial}`;
      await server.createDatabase(name);
      return name;
    }

    const reference = { source: 'cloudkitty' };
    for (const options of [{}, { reference }]) {
      testStorage({
        test: it,
        label: `storage influxdb ${JSON.stringify(options)}`,
        async open() {
          const database = await newDatabase();
          const storage = await create(server, database, { options });
          await storage.start?.(never);
          return {
            storage,
            async close() {
              await storage.stop?.();
              await server.dropDatabase(database);
            },
          };
        },
      });
    }

    testLifecycle({
      test: it,
      label: 'storage influxdb',
      create: async () => create(server, await newDatabase()),
    });

    async function using(body: (storage: Storage, database: string) => Promise<void>, setup: Setup = {}) {
      const database = await newDatabase();
      const storage = await create(server, database, setup);
      try {
        await body(storage, database);
      } finally {
        await storage.stop?.();
        await server.dropDatabase(database);
      }
    }

    /** How often `replacePeriod` asks InfluxDB when a period is already there. */
    async function requestsOfReplacing(): Promise<number> {
      let requests = 0;
      const counted = watchedHttp(async () => {
        requests++;
      });
      await using(
        async (storage) => {
          await storage.replacePeriod(versionFrame(1), WRITE, never);
          requests = 0;
          await storage.replacePeriod(versionFrame(2), WRITE, never);
        },
        { http: counted },
      );
      return requests;
    }

    it('readers see a period whole between any two requests of its replacement', async () => {
      let looks = 0;
      await using(async (reader, database) => {
        await reader.replacePeriod(versionFrame(1), WRITE, never);
        const seen: string[] = [];
        const http = watchedHttp(async () => {
          looks++;
          const found = await prices(reader);
          assert.equal(found.length, 3);
          assert.equal(new Set(found).size, 1, found.join(' '));
          seen.push(found[0]!);
          const { rows } = await reader.total({ ...EVERYTHING, groupby: [] }, never);
          assert.deepEqual([rows[0]!.points, rows[0]!.quantity.toString()], [3, '3']);
        });
        const writer = await create(server, database, { http });
        await writer.replacePeriod(versionFrame(2), WRITE, never);
        await writer.stop?.();
        assert.deepEqual([...new Set(seen)], ['1.1', '2.1']);
      });
      assert.ok(looks > 5, `${looks} requests`);
    });

    it('readers see a period whole when it is replaced before each of their first requests', () =>
      using(async (writer, database) => {
        let version = 0;
        const replace = () => writer.replacePeriod(versionFrame(++version), WRITE, never);
        await replace();
        const http = watchedHttp(async (_request, number) => {
          if (number < 6) await replace();
        });
        const reader = await create(server, database, { http });
        for (let round = 0; round < 4; round++) {
          const found = await prices(reader);
          assert.equal(found.length, 3);
          assert.equal(new Set(found).size, 1, found.join(' '));
        }
        await reader.stop?.();
        assert.equal(version, 7);
      }));

    it('a crash at any request leaves the old period or the new one, and the next try leaves no rest', async () => {
      const requests = await requestsOfReplacing();
      for (let last = 0; last <= requests; last++) {
        await using(async (storage, database) => {
          await storage.replacePeriod(versionFrame(1, ['a', 'b', 'old']), WRITE, never);
          const http = watchedHttp(async (_request, number) => {
            if (number >= last) throw new UnavailableError('RATECAT_TEST', 'the process is gone');
          });
          const crashing = await create(server, database, { http });
          const replaced = crashing.replacePeriod(versionFrame(2, ['a', 'new']), WRITE, never);
          if (last < requests) await assert.rejects(replaced, isCode('RATECAT_TEST'));
          else await replaced;
          await crashing.stop?.();
          const found = (await prices(storage)).join(' ');
          assert.ok(found === '1.1 1.1 1.1' || found === '2.1 2.1', `after ${last} requests: ${found}`);

          await storage.replacePeriod(versionFrame(3, ['a', 'newer']), WRITE, never);
          assert.deepEqual(await prices(storage), ['3.1', '3.1']);
          const rows = await server.query('SELECT * FROM dataframes', database);
          assert.deepEqual(rows.map(({ id, price }) => [id, price]).sort(), [
            ['a', 3.1],
            ['newer', 3.1],
          ]);
        });
      }
    });

    it('a crash at any request of the first write leaves nothing, and the next try just its own', async () => {
      for (let last = 0; last < 5; last++) {
        await using(async (storage, database) => {
          const http = watchedHttp(async (_request, number) => {
            if (number >= last) throw new UnavailableError('RATECAT_TEST', 'the process is gone');
          });
          const crashing = await create(server, database, { http });
          await assert.rejects(crashing.replacePeriod(versionFrame(1), WRITE, never), isCode('RATECAT_TEST'));
          await crashing.stop?.();
          assert.deepEqual(await read(storage), [], `after ${last} requests`);
          await storage.replacePeriod(versionFrame(2, ['z']), WRITE, never);
          assert.deepEqual(await prices(storage), ['2.1']);
          assert.equal((await server.query('SELECT price FROM dataframes', database)).length, 1);
        });
      }
    });

    it('a crash at any request of a delete leaves the period or nothing, and the next try nothing at all', async () => {
      for (let last = 0; ; last++) {
        let isDone = false;
        await using(async (storage, database) => {
          await storage.replacePeriod(versionFrame(1), WRITE, never);
          const http = watchedHttp(async (_request, number) => {
            if (number >= last) throw new UnavailableError('RATECAT_TEST', 'the process is gone');
          });
          const crashing = await create(server, database, { http });
          isDone = await crashing.deletePeriods(EVERYTHING, {}, never).then(
            () => true,
            () => false,
          );
          await crashing.stop?.();
          assert.ok([0, 3].includes((await prices(storage)).length), `after ${last} requests`);
          await storage.deletePeriods({ ...EVERYTHING, visible: ALPHA }, {}, never);
          for (const measurement of ['dataframes', 'ratecat_periods'])
            assert.deepEqual(await server.query(`SELECT * FROM ${measurement}`, database), []);
        });
        if (isDone) break;
        assert.ok(last < 20);
      }
    });

    it('a worker that is overtaken while it writes does not switch to what it wrote', () =>
      using(async (storage, database) => {
        for (const before of [2, 3]) {
          const http = watchedHttp(async (_request, number) => {
            if (number === before) await storage.replacePeriod(versionFrame(2, ['a', 'b']), WRITE, never);
          });
          const slow = await create(server, database, { http });
          await assert.rejects(
            slow.replacePeriod(versionFrame(1), WRITE, never),
            isCode('RATECAT_INFLUXDB_OVERTAKEN'),
          );
          await slow.stop?.();
          assert.deepEqual(await prices(storage), ['2.1', '2.1']);
        }
        await storage.replacePeriod(versionFrame(4), WRITE, never);
        assert.deepEqual(await prices(storage), ['4.1', '4.1', '4.1']);
      }));

    it('what was stored survives a kill of the server', () =>
      using(async (storage) => {
        await storage.replacePeriod(versionFrame(1), WRITE, never);
        await storage.replacePeriod(versionFrame(2), WRITE, never);
        await server.kill();
        await assert.rejects(prices(storage), (error) => isRatecatError(error) && error.retryable);
        await server.start();
        assert.deepEqual(await prices(storage), ['2.1', '2.1', '2.1']);
      }));

    it('the rows are those of the reference: tags, fields, floats and calendar attributes', () =>
      using(async (storage, database) => {
        const groupby = { id: 'server 1', project_id: 'alpha', zone: '' };
        const points = [{ groupby, description: 'an "instance"', quantity: '2', price: '0.1' }];
        await storage.replacePeriod(sampleFrame({ hour: 24 * 31, points }), WRITE, never);
        const [row] = await server.query('SELECT * FROM dataframes', database);
        const { ratecat_point, ratecat_source, ratecat_scope, ...rest } = row!;
        assert.deepEqual(rest, {
          time: hour(24 * 31),
          type: 'instance',
          id: 'server 1',
          project_id: 'alpha',
          day_of_the_year: '32',
          month: '2',
          week_of_the_year: '05',
          year: '2026',
          flavor: 'm1.small',
          unit: 'instance',
          description: 'an "instance"',
          qty: 2,
          price: 0.1,
          groupby: 'id|project_id|day_of_the_year|month|week_of_the_year|year',
          metadata: 'flavor',
          __ck_collect_period: 3600,
        });
        assert.deepEqual([ratecat_source, ratecat_scope], ['openstack', 'project_id|alpha']);
        const { qty, price } = JSON.parse(String(ratecat_point)) as Record<string, unknown>;
        assert.deepEqual([qty, price], ['2', '0.1']);
      }));

    it("the reference's own queries find what Ratecat stored", () =>
      using(async (storage, database) => {
        for (const index of [0, 1, 2]) {
          for (const project_id of ['alpha', 'beta']) {
            // Equal groupby twice: the reference would keep one of them.
            const points = ['a', 'a', 'b'].map((id) => ({ groupby: { id, project_id }, price: '0.5' }));
            await storage.replacePeriod(
              sampleFrame({ hour: index, scope: project_id, points }),
              WRITE,
              never,
            );
          }
        }
        const where =
          ` WHERE time >= '2026-01-01T00:00:00+00:00' AND time < '2026-01-01T02:00:00+00:00'` +
          ` AND "project_id"='alpha' AND "type"='instance'`;
        assert.deepEqual(
          await server.query(
            `SELECT SUM(qty) AS qty, SUM(price) AS rate FROM "dataframes"${where} GROUP BY "id","day_of_the_year";`,
            database,
          ),
          [
            { time: hour(0), id: 'a', day_of_the_year: '1', qty: 4, rate: 2 },
            { time: hour(0), id: 'b', day_of_the_year: '1', qty: 2, rate: 1 },
          ],
        );
        const [count] = await server.query(`SELECT COUNT(groupby) FROM "dataframes"${where};`, database);
        assert.equal(count!.count, 6);
        await server.query(`DELETE FROM "dataframes"${where};`.replace(`'alpha'`, `'nobody'`), database);
        assert.equal(await storage.countPoints(EVERYTHING, never), 18);
      }));

    describe('beside points of the reference', () => {
      const base = hour(0);
      const lines = (project: string, index: number) =>
        `dataframes,type=instance,id=a,project_id=${project},month=1,year=2026,day_of_the_year=1,week_of_the_year=00 ` +
        `qty=1,price=0.1,unit="instance",groupby="id|project_id|month|year|day_of_the_year|week_of_the_year",metadata="flavor|size",flavor="m1",size=5,description="text",__ck_collect_period=3600i ${base + index * 3600}\n` +
        `dataframes,type=cpu,id=b,project_id=${project} qty=2,price=0.2,unit="core",groupby="id|project_id",metadata="",__ck_collect_period=3600i ${base + index * 3600}\n`;
      const setup: Setup = { options: { reference: { source: 'openstack', scope_key: 'project_id' } } };

      it('they are read as periods of their scope, with floats as their shortest decimals', () =>
        using(async (storage, database) => {
          await server.write(database, lines('alpha', 0) + lines('alpha', 1) + lines('beta', 0));
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
          const page: string[] = [];
          for await (const { points } of storage.readPeriods({ ...EVERYTHING, offset: 3, limit: 3 }, never))
            page.push(...points.map(({ descriptor }) => descriptor.metric));
          assert.deepEqual(page, ['instance', 'cpu', 'instance']);
        }, setup));

      it('they are not read unless the options say whose they are', () =>
        using(async (storage, database) => {
          await server.write(database, lines('alpha', 0));
          assert.deepEqual(await read(storage), []);
          await storage.deletePeriods(EVERYTHING, {}, never);
          assert.equal((await server.query('SELECT qty FROM dataframes', database)).length, 2);
        }));

      it('a period that Ratecat stores takes the place of theirs, for both', () =>
        using(async (storage, database) => {
          await server.write(database, lines('alpha', 0) + lines('alpha', 1) + lines('beta', 0));
          await storage.replacePeriod(versionFrame(7), WRITE, never);
          assert.deepEqual(
            (await read(storage, { visible: ALPHA })).map(({ points }) => points.length),
            [3, 2],
          );
          const rows = await server.query(
            `SELECT price FROM dataframes WHERE project_id='alpha' AND time=${hour(0)}s`,
            database,
          );
          assert.deepEqual(
            rows.map(({ price }) => price),
            [7.1, 7.1, 7.1],
          );
          assert.equal((await server.query('SELECT price FROM dataframes', database)).length, 7);
        }, setup));

      it('a scope whose id no tag can hold takes the place of nobody', () =>
        using(async (storage, database) => {
          await server.write(database, lines('alpha', 0));
          await storage.replacePeriod(sampleFrame({ scope: 'beta' }), WRITE, never);
          await storage.replacePeriod(sampleFrame({ scope: 'odd\nscope' }), WRITE, never);
          const frames = await read(storage);
          assert.deepEqual(
            frames.map(({ scope, points }) => [scope.id, points.length]),
            [
              ['alpha', 2],
              ['beta', 1],
              ['odd\nscope', 1],
            ],
          );
        }, setup));

      it('they are deleted by scope, metric and attribute, and nothing else is', () =>
        using(async (storage, database) => {
          await server.write(
            database,
            ['alpha', 'beta', 'gamma'].map((project) => lines(project, 0)).join(''),
          );
          await storage.deletePeriods({ ...EVERYTHING, visible: ALPHA }, {}, never);
          const beta = [{ key: 'project_id', id: 'beta' }];
          await storage.deletePeriods({ ...EVERYTHING, visible: beta, metrics: ['cpu'] }, {}, never);
          await storage.deletePeriods(
            { ...EVERYTHING, visible: [{ key: 'domain_id', id: 'gamma' }] },
            {},
            never,
          );
          await storage.deletePeriods({ ...EVERYTHING, visible: [{ key: 'project_id', id: '' }] }, {}, never);
          const rows = await server.query('SELECT project_id, type, price FROM dataframes', database);
          assert.deepEqual(rows.map(({ project_id, type }) => `${project_id} ${type}`).sort(), [
            'beta instance',
            'gamma cpu',
            'gamma instance',
          ]);
          const filters = [{ name: 'id', values: ['a'], in: 'groupby' as const }];
          await storage.deletePeriods({ ...EVERYTHING, filters }, {}, never);
          const left = await server.query('SELECT project_id, type, price FROM dataframes', database);
          assert.deepEqual(
            left.map(({ project_id, type }) => `${project_id} ${type}`),
            ['gamma cpu'],
          );
        }, setup));

      it('their pages are put together whole', () =>
        using(async (storage, database) => {
          let text = '';
          for (let index = 0; index < 3; index++)
            for (let project = 0; project < 2_400; project++) text += lines(`p${project}`, index);
          await server.write(database, text);
          assert.equal(await storage.countPoints(EVERYTHING, never), 14_400);
          const { rows } = await storage.total({ ...EVERYTHING, groupby: [{ kind: 'type' }] }, never);
          assert.deepEqual(
            rows.map(({ price }) => price.toString()),
            ['1440', '720'],
          );
        }, setup));
    });

    it('scopes with hostile ids are deleted without touching others', () =>
      using(
        async (storage) => {
          const ids = [...HOSTILE_TEXTS.slice(0, 80), 'plain', '', '%', '%0025', 'a|b', '|'];
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

    it('a period with more points than a request gives is read whole', () =>
      using(async (storage) => {
        const points = Array.from({ length: 10_001 }, (_, index) => ({ groupby: { id: `${index}` } }));
        await storage.replacePeriod(sampleFrame({ points }), WRITE, never);
        const [frame] = await read(storage);
        assert.deepEqual(
          frame!.points.map(({ descriptor }) => descriptor.groupby.get('id')),
          points.map(({ groupby }) => groupby.id),
        );
      }));

    it('more periods than a request gives are all found, in order, also when one instant has that many', () =>
      using(async (storage, database) => {
        const counts = [2_600, 2_600, 5_200, 1, 2_600];
        let lines = '';
        for (const [index, count] of counts.entries()) {
          for (let scope = 0; scope < count; scope++) {
            const sum = { metric: 'cpu', points: 1, quantity: Decimal.ONE, price: Decimal.parse('0.1') };
            const committed = {
              take: '',
              version: 'v',
              end: hour(index + 1),
              snapshot: '',
              gaps: [],
              metrics: [sum],
            };
            const owner = { source: 'openstack', scope: { key: 'project_id', id: `s${scope}` } };
            lines += markerLine(owner, hour(index), stateText({ committed, leftovers: [] }));
          }
        }
        await server.write(database, lines);
        const groupby = [{ kind: 'time', unit: 'period' }] as const;
        const { rows } = await storage.total({ ...EVERYTHING, groupby }, never);
        assert.deepEqual(
          rows.map(({ begin, points }) => [begin, points]),
          counts.map((count, index) => [hour(index), count]),
        );
        assert.equal((await storage.scopesWithData(EVERYTHING, never)).length, 5_200);
      }));

    it('points that somebody removed are missed loudly, and rating the period again heals it', () =>
      using(async (storage, database) => {
        await storage.replacePeriod(versionFrame(1), WRITE, never);
        await server.query(`DELETE FROM dataframes WHERE "id"='b'`, database);
        await assert.rejects(
          prices(storage),
          isCode('RATECAT_INFLUXDB_DAMAGED', 'alpha', '2026-01-01T00:00'),
        );
        await storage.replacePeriod(versionFrame(2), WRITE, never);
        assert.equal((await prices(storage)).length, 3);
      }));

    it('metadata that the database has with another type is left out for the reference alone, and said once', () => {
      const logger = new RecordingLogger();
      return using(
        async (storage, database) => {
          await server.write(database, `dataframes size=5,flavor=7i ${hour(0)}\n`);
          const points = [{ metadata: { flavor: 'm1', size: 'large', zone: 'z' } }, { metric: 'volume' }];
          for (const index of [0, 1]) {
            await storage.replacePeriod(sampleFrame({ hour: index, points }), WRITE, never);
            const rows = await server.query(
              `SELECT metadata, zone FROM dataframes WHERE type='instance' AND time = ${hour(index)}s`,
              database,
            );
            assert.deepEqual(rows, [{ time: hour(index), metadata: 'zone', zone: 'z' }]);
          }
          const [first] = await read(storage);
          assert.deepEqual(plainFrame(first!), plainFrame({ ...sampleFrame({ points }), ...SNAPSHOT }));
          assert.deepEqual(logger.lines.map(({ level, fields }) => [level, fields.field]).sort(), [
            ['warn', 'flavor'],
            ['warn', 'size'],
          ]);
        },
        { logger },
      );
    });

    it('a field of the layout with another type is refused by name, and the old period stays', () =>
      using(async (_storage, database) => {
        const storage = await create(server, database);
        await server.write(database, `dataframes unit=5 ${hour(24 * 60)}\n`);
        await storage.replacePeriod(versionFrame(1), WRITE, never);
        const frame = sampleFrame({ hour: 24 * 60 });
        await assert.rejects(
          storage.replacePeriod(frame, WRITE, never),
          isCode('RATECAT_INFLUXDB_REFUSED', 'unit', 'field type conflict'),
        );
        assert.deepEqual(await prices(storage), ['1.1', '1.1', '1.1']);
        await storage.stop?.();
      }));

    it('a period older than the retention policy is refused', () =>
      using(async (_storage, database) => {
        await server.query(`CREATE RETENTION POLICY "short" ON "${database}" DURATION 1d REPLICATION 1`);
        const storage = await create(server, database, { options: { retention_policy: 'short' } });
        await storage.start?.(never);
        const old = { ...sampleFrame(), period: { begin: 3600, end: 7200 } };
        await assert.rejects(
          storage.replacePeriod(old, WRITE, never),
          isCode('RATECAT_INFLUXDB_REFUSED', "policy 'short'"),
        );
        await storage.stop?.();
      }));

    it('a missing database or retention policy is named at the start', () =>
      using(async (_storage, database) => {
        for (const [name, retention_policy] of [
          ['absent', 'autogen'],
          [database, 'absent'],
        ] as const) {
          const storage = await create(server, name, { options: { retention_policy } });
          await assert.rejects(
            storage.start!(never),
            isCode('RATECAT_INFLUXDB_DATABASE', 'absent', 'storage.options'),
          );
          await storage.stop?.();
        }
      }));

    it('billing days of another time zone are in the calendar attributes', () =>
      using(
        async (storage, database) => {
          await storage.replacePeriod(sampleFrame({ hour: -1 }), WRITE, never);
          const [row] = await server.query('SELECT * FROM dataframes', database);
          assert.deepEqual(
            [row!.day_of_the_year, row!.month, row!.week_of_the_year, row!.year],
            ['1', '1', '00', '2026'],
          );
        },
        { calendar: { ...utcCalendar, day: (instant) => utcCalendar.day(instant + 9 * 3600) } },
      ));
  });

  describe('storage influxdb on an InfluxDB with its own rules', () => {
    it('asks with user and password, and shows neither in an error', async () => {
      const server = await startInfluxdb({ authentication: true });
      try {
        await server.createDatabase('rating');
        const { user: username, password } = server;
        const storage = await create(server, 'rating', { options: { username, password } });
        await storage.start?.(never);
        await storage.replacePeriod(versionFrame(1), WRITE, never);
        assert.equal((await prices(storage)).length, 3);
        await storage.stop?.();
        const stranger = await create(server, 'rating', { options: { username, password: 'wrong-secret' } });
        await assert.rejects(stranger.start!(never), (error) => {
          isCode('RATECAT_UPSTREAM_REJECTED', '401')(error);
          assert.ok(!JSON.stringify([String(error), (error as Error).stack]).includes('wrong-secret'));
          return true;
        });
        await stranger.stop?.();
      } finally {
        await server.stop();
      }
    });

    it('no row limit of the server cuts an answer', async () => {
      const server = await startInfluxdb({ http: ['max-row-limit = 2'] });
      try {
        await server.createDatabase('rating');
        const storage = await create(server, 'rating');
        for (const index of [0, 1, 2, 3])
          await storage.replacePeriod(sampleFrame({ hour: index }), WRITE, never);
        assert.equal(await storage.countPoints(EVERYTHING, never), 4);
        assert.equal((await read(storage)).flatMap(({ points }) => points).length, 4);
        await storage.stop?.();
      } finally {
        await server.stop();
      }
    });
  });
}
