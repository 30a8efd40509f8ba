import assert from 'node:assert/strict';
import { migrate } from '../../../core/database/migrate.js';
import { type ClosableDatabase, openDatabase } from '../../../core/database/open-database.js';
import { httpFactory } from '../../../core/loading/http-client.js';
import {
  type Calendar,
  type Clock,
  type Frame,
  type HttpFactory,
  isRatecatError,
  type PointQuery,
  type RatedPoint,
  type SqlDatabase,
  type Storage,
  UnavailableError,
} from '../../../core/plugin-api/index.js';
import { fakeContext, RecordingLogger, utcCalendar, VirtualClock } from '../../../core/testkit/fakes.js';
import { sampleFrame } from '../../../core/testkit/samples.js';
import loki from '../../../plugins/storage/loki/index.js';
import { LokiServer, type ServerOptions } from '../../support/loki-server/loki-server.js';

export const never = new AbortController().signal;
export const EVERYTHING: PointQuery = { visible: 'all', begin: 0, end: 4_102_444_800 };
export const WRITE = { fence: 1, generation: 1, snapshot: 'a'.repeat(64) };
export const ALPHA = [{ key: 'project_id', id: 'alpha' }] as const;

/** A clock that remembers how long it was told to wait, and waits not at all. Each look at it takes a millisecond. */
export class HastyClock extends VirtualClock {
  readonly waits: number[] = [];

  constructor(start = Date.UTC(2026, 5, 1)) {
    super(start);
  }

  override now(): number {
    this.jumpWallClock(1);
    return super.now();
  }

  override sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.waits.push(milliseconds);
    return Promise.resolve();
  }
}

export interface Setup {
  readonly options?: Readonly<Record<string, unknown>>;
  readonly calendar?: Calendar;
  readonly http?: HttpFactory;
  readonly logger?: RecordingLogger;
  readonly clock?: Clock;
  readonly database?: SqlDatabase;
  readonly server?: ServerOptions;
  /** Runs before the storage starts. */
  readonly prepare?: (server: LokiServer) => void;
}

export type OpenedSetup = Setup & {
  readonly clock: Clock;
  readonly database: SqlDatabase;
  readonly http: HttpFactory;
};

/** The core database with the plugin's tables. */
export async function newDatabase(url = 'sqlite::memory:'): Promise<ClosableDatabase> {
  const database = await openDatabase(url);
  await migrate(database, [{ module: 'storage-loki', migrations: loki.migrations ?? [] }]);
  return database;
}

/** A storage that was not started yet. */
export async function create(
  { url }: Pick<LokiServer, 'url'>,
  setup: Setup & { readonly database: SqlDatabase },
): Promise<Storage> {
  const checked = await loki.options['~standard'].validate({ url, ...setup.options });
  if (checked.issues !== undefined) throw new Error(JSON.stringify(checked.issues));
  const { calendar = utcCalendar, http = httpFactory, logger = new RecordingLogger(), database } = setup;
  const clock = setup.clock ?? new HastyClock();
  const context = fakeContext({ http, calendar, logger, clock, database });
  return loki.create(checked.value, context);
}

export function startServer(clock: Clock, options: ServerOptions = {}): Promise<LokiServer> {
  return LokiServer.start({ now: () => clock.now(), ...options });
}

/** The body gets a storage that has started, its server, and what further storages on it need. */
export async function using(
  body: (storage: Storage, server: LokiServer, setup: OpenedSetup) => Promise<void>,
  given: Setup = {},
): Promise<void> {
  const clock = given.clock ?? new HastyClock();
  const database = await newDatabase();
  const setup = { http: httpFactory, ...given, clock, database };
  const server = await startServer(clock, setup.server);
  setup.prepare?.(server);
  const storage = await create(server, setup);
  try {
    await storage.start?.(never);
    await body(storage, server, setup);
  } finally {
    await storage.stop?.();
    await server.stop();
    await database.close();
  }
}

/** Runs `before` with the number of the request, from 0, before it is sent. */
export function watchedHttp(before: (serial: number) => Promise<void>): HttpFactory {
  return {
    client(options) {
      const client = httpFactory.client(options);
      let serial = 0;
      return {
        async request(request, signal) {
          await before(serial++);
          return client.request(request, signal);
        },
        close: () => client.close(),
      };
    },
  };
}

/** The process dies at the request of this number: before it is sent, or before its answer comes. */
export function crashingHttp(last: number, when: 'before' | 'after'): HttpFactory {
  return {
    client(options) {
      const client = httpFactory.client(options);
      let serial = 0;
      return {
        async request(request, signal) {
          const number = serial++;
          const gone = new UnavailableError('RATECAT_TEST', 'the process is gone');
          if (number > last || (number === last && when === 'before')) throw gone;
          const response = await client.request(request, signal);
          if (number === last) throw gone;
          return response;
        },
        close: () => client.close(),
      };
    },
  };
}

/** Some servers that all say in price and flavor which version of the period they are of. */
export function versionFrame(
  version: number,
  ids: readonly string[] = ['a', 'b', 'c'],
  hour = 0,
): Frame<RatedPoint> {
  const price = `${version}.1`;
  const points = ids.map((id) => ({
    groupby: { id, project_id: 'alpha' },
    metadata: { flavor: price },
    price,
  }));
  return sampleFrame({ points, hour });
}

export async function read(
  storage: Storage,
  query: Partial<PointQuery> & { offset?: number; limit?: number } = {},
): Promise<readonly Frame<RatedPoint>[]> {
  const frames: Frame<RatedPoint>[] = [];
  for await (const frame of storage.readPeriods({ ...EVERYTHING, ...query }, never)) frames.push(frame);
  return frames;
}

/** Prices of the only period; empty when there is none. */
export async function prices(storage: Storage): Promise<readonly string[]> {
  const frames = await read(storage);
  assert.ok(frames.length <= 1);
  return frames.flatMap(({ points }) => points.map(({ price }) => price.toString()));
}

export function isCode(code: string, ...words: readonly string[]) {
  return (error: unknown) => {
    assert.ok(isRatecatError(error), String(error));
    assert.equal(error.code, code, error.message);
    for (const word of words) assert.ok(error.message.includes(word), error.message);
    return true;
  };
}
