import { after, before, test } from 'node:test';
import { httpFactory } from '../../core/loading/http-client.js';
import { testFetcher } from '../../core/testkit/fetcher.js';
import keystone from '../../plugins/fetchers/keystone.js';
import { FakeOpenStack } from '../support/fake-openstack.js';

let cloud: FakeOpenStack;

before(async () => {
  cloud = await FakeOpenStack.start();
  cloud.projects = ['a', 'b', 'c', 'd'].map((id) => ({ id, name: `project ${id}` }));
  cloud.effective = ['a', 'c', 'd'];
  cloud.direct = { a: ['rating'], c: ['rating'], d: ['rating'] };
  cloud.pageSize = 2;
});
after(() => cloud.stop());

for (const compat of ['fixed', 'strict'] as const) {
  testFetcher({
    test: (name, body) => test(`${name} (${compat})`, body),
    definition: keystone,
    options: () => cloud.credentials,
    context: { http: httpFactory, compat },
    expected: ['a', 'c', 'd'],
  });
}
