import assert from 'node:assert/strict';
import { httpFactory } from '../../../core/loading/http-client.js';
import {
  type Calendar,
  type Clock,
  type HttpFactory,
  type Storage,
  UnavailableError,
} from '../../../core/plugin-api/index.js';
import { fakeContext, RecordingLogger, utcCalendar, VirtualClock } from '../../../core/testkit/fakes.js';
import elasticsearch from '../../../plugins/storage/elasticsearch.js';
import opensearch from '../../../plugins/storage/opensearch/index.js';
import { type Product, SearchServer, type ServerOptions } from '../../support/search-server/search-server.js';
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

export const PRODUCTS: readonly Product[] = [
  'elasticsearch 7',
  'elasticsearch 8',
  'opensearch 1',
  'opensearch 2',
];
export const POINTS = 'cloudkitty';
export const PERIODS = 'cloudkitty-ratecat-periods';

export interface Setup {
  readonly options?: Readonly<Record<string, unknown>>;
  readonly calendar?: Calendar;
  readonly http?: HttpFactory;
  readonly logger?: RecordingLogger;
  readonly clock?: Clock;
  readonly product?: Product;
  readonly server?: ServerOptions;
  /** Runs before the storage starts. */
  readonly prepare?: (server: SearchServer) => void;
}

/** A clock that remembers how long it was told to wait, and waits not at all. */
export class HastyClock extends VirtualClock {
  readonly waits: number[] = [];

  override sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.waits.push(milliseconds);
    return Promise.resolve();
  }
}

/** A storage that was not started yet. */
export async function create(server: SearchServer, setup: Setup = {}): Promise<Storage> {
  const isOpensearch = setup.product?.startsWith('opensearch') ?? false;
  const definition = isOpensearch ? opensearch : elasticsearch;
  const checked = await definition.options['~standard'].validate({ host: server.url, ...setup.options });
  if (checked.issues !== undefined) throw new Error(JSON.stringify(checked.issues));
  const { calendar = utcCalendar, http = httpFactory, logger = new RecordingLogger() } = setup;
  const context = fakeContext({ http, calendar, logger, clock: setup.clock ?? new HastyClock() });
  return definition.create(checked.value, context);
}

export async function using(
  body: (storage: Storage, server: SearchServer) => Promise<void>,
  setup: Setup = {},
): Promise<void> {
  const server = await SearchServer.start({
    ...(setup.product === undefined ? {} : { product: setup.product }),
    ...setup.server,
  });
  setup.prepare?.(server);
  const storage = await create(server, setup);
  try {
    await storage.start?.(never);
    await body(storage, server);
    assert.equal(server.openScrolls, 0, 'every scroll was closed');
  } finally {
    await storage.stop?.();
    await server.stop();
  }
}

/** Runs `before` with the number of the request, from 0, before it is sent, and `after` with its answer's status. */
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
