import { after, before, test } from 'node:test';
import { httpFactory } from '../../core/loading/http-client.js';
import { testFetcher } from '../../core/testkit/fetcher.js';
import gnocchi from '../../plugins/fetchers/gnocchi.js';
import { FakeOpenStack } from '../support/fake-openstack.js';

let cloud: FakeOpenStack;

before(async () => {
  cloud = await FakeOpenStack.start();
  cloud.resources = {
    generic: ['a', 'b', null, 'a', 'c'].map((project_id, index) => ({ id: `r${index}`, project_id })),
    volume: ['c', 'd'].map((project_id, index) => ({ id: `v${index}`, project_id })),
  };
  cloud.pageSize = 2;
});
after(() => cloud.stop());

testFetcher({
  test,
  definition: gnocchi,
  options: () => ({ ...cloud.credentials, resource_types: ['generic', 'volume'] }),
  context: { http: httpFactory },
  expected: ['a', 'b', 'c', 'd'],
});
