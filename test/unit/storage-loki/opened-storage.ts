import { migrate } from '../../../core/database/migrate.js';
import { type ClosableDatabase, openDatabase } from '../../../core/database/open-database.js';
import { httpFactory } from '../../../core/loading/http-client.js';
import {
  type Calendar,
  type Clock,
  type HttpFactory,
  type SqlDatabase,
  type Storage,
} from '../../../core/plugin-api/index.js';
import { fakeContext, RecordingLogger, utcCalendar, VirtualClock } from '../../../core/testkit/fakes.js';
import loki from '../../../plugins/storage/loki/index.js';
import { LokiServer, type ServerOptions } from '../../support/loki-server/loki-server.js';
import { never } from '../../support/stored-versions.js';

export {
  ALPHA,
  EVERYTHING,
  isCode,
  never,
  prices,
  read,
  versionFrame,
  WRITE,
} from '../../support/stored-versions.js';

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
