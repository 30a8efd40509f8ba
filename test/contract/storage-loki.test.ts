import { describe, it, test } from 'node:test';
import type { ClosableDatabase } from '../../core/database/open-database.js';
import { httpFactory } from '../../core/loading/http-client.js';
import type { SqlDatabase } from '../../core/plugin-api/index.js';
import { testDefinition } from '../../core/testkit/definition.js';
import { fakeContext } from '../../core/testkit/fakes.js';
import { testLifecycle } from '../../core/testkit/lifecycle.js';
import { type OpenedStorage, testStorage } from '../../core/testkit/storage.js';
import loki from '../../plugins/storage/loki/index.js';
import { describeOnEngines } from '../support/engines.js';
import type { LokiServer } from '../support/loki-server/loki-server.js';
import { create, HastyClock, never, newDatabase, startServer } from '../unit/storage-loki/opened-storage.js';

testDefinition({
  test,
  definition: loki,
  kind: 'storage',
  context: fakeContext({ http: httpFactory, database: {} as SqlDatabase }),
});

async function open(database: ClosableDatabase, options: object = {}): Promise<OpenedStorage> {
  const clock = new HastyClock();
  const server = await startServer(clock);
  const storage = await create(server, { clock, options: { ...options }, database });
  await storage.start?.(never);
  return {
    storage,
    async close() {
      await storage.stop?.();
      await server.stop();
      await database.close();
    },
  };
}

describeOnEngines('storage loki', (engine) => {
  testStorage({
    test: it,
    label: `storage loki with its table on ${engine.name}`,
    steps: 30,
    open: async () => open(await newDatabase(await engine.newDatabase())),
  });
});

for (const options of [{ reference: { source: 'cloudkitty' } }, { max_entries: 60, shard_days: 3 }]) {
  describe(`storage loki with ${JSON.stringify(options)}`, () => {
    testStorage({
      test: it,
      label: `storage loki with ${JSON.stringify(options)}`,
      steps: 30,
      open: async () => open(await newDatabase(), options),
    });
  });
}

describe('storage loki as a plugin', () => {
  const servers: LokiServer[] = [];
  const databases: ClosableDatabase[] = [];
  testLifecycle({
    test: it,
    label: 'storage loki',
    async create() {
      const clock = new HastyClock();
      const server = await startServer(clock);
      const database = await newDatabase();
      servers.push(server);
      databases.push(database);
      return create(server, { clock, database });
    },
  });

  it('stops the servers of the lifecycle tests', async () => {
    for (const server of servers) await server.stop();
    for (const database of databases) await database.close();
  });
});
