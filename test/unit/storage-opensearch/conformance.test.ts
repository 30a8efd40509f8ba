import { describe, it, test } from 'node:test';
import { httpFactory } from '../../../core/loading/http-client.js';
import { testDefinition } from '../../../core/testkit/definition.js';
import { fakeContext } from '../../../core/testkit/fakes.js';
import { testLifecycle } from '../../../core/testkit/lifecycle.js';
import { testStorage } from '../../../core/testkit/storage.js';
import elasticsearch from '../../../plugins/storage/elasticsearch.js';
import opensearch from '../../../plugins/storage/opensearch/index.js';
import { SearchServer } from '../../support/search-server/search-server.js';
import { create, never, PRODUCTS } from './opened-storage.js';

for (const definition of [elasticsearch, opensearch])
  testDefinition({ test, definition, kind: 'storage', context: fakeContext({ http: httpFactory }) });

for (const product of PRODUCTS) {
  describe(product, () => {
    // One product of each kind also looks for documents of the reference all the time.
    const reference = product.endsWith('7') || product.endsWith('1') ? { source: 'cloudkitty' } : undefined;
    const setup = { product, options: reference === undefined ? {} : { reference } };

    testStorage({
      test: it,
      label: `storage on ${product} ${JSON.stringify(setup.options)}`,
      steps: 30,
      async open() {
        const server = await SearchServer.start({ product });
        const storage = await create(server, setup);
        await storage.start?.(never);
        return {
          storage,
          async close() {
            await storage.stop?.();
            await server.stop();
          },
        };
      },
    });

    const servers: SearchServer[] = [];
    testLifecycle({
      test: it,
      label: `storage on ${product}`,
      async create() {
        const server = await SearchServer.start({ product });
        servers.push(server);
        return create(server, setup);
      },
    });
    it('stops the servers of the lifecycle tests', async () => {
      for (const server of servers) await server.stop();
    });
  });
}
