import { after, before, test } from 'node:test';
import { httpFactory } from '../../core/loading/http-client.js';
import type { HttpRequest } from '../../core/plugin-api/index.js';
import { type RequestShape, testCollector } from '../../core/testkit/collector.js';
import gnocchi from '../../plugins/collectors/gnocchi.js';
import { FakeOpenStack } from '../support/fake-openstack.js';
import { json } from '../support/http-double.js';

const BEGIN = Date.UTC(2026, 0, 1) / 1000;
let cloud: FakeOpenStack;

before(async () => {
  cloud = await FakeOpenStack.start();
  cloud.pageSize = 2;
  const ids = ['r1', 'r2', 'r3'];
  cloud.resources = { instance: ids.map((id) => ({ id, project_id: 'p1', flavor_name: `flavor of ${id}` })) };
  cloud.aggregates = (request) => {
    const scope = JSON.parse(request.body).search.and[1]['='].project_id;
    const problem = { code: 400, description: { cause: 'Metrics not found', detail: ['cpu'] } };
    if (scope !== 'p1') return json(problem, 400);
    const aggregated = [['2026-01-01T00:00:00+00:00', 3600.0, 1.5]];
    return json(
      ids.map((id) => ({ group: { id, project_id: 'p1' }, measures: { measures: { aggregated } } })),
    );
  };
});
after(() => cloud.stop());

for (const compat of ['fixed', 'strict'] as const) {
  const suite = {
    test: (name: string, body: () => void | Promise<void>) => test(`${name} (${compat})`, body),
    definition: gnocchi,
    options: () => cloud.credentials,
    context: { http: httpFactory, compat },
    metric: { name: 'cpu', groupby: ['id'], metadata: ['flavor_name'], extra: { resource_type: 'instance' } },
    period: { begin: BEGIN, end: BEGIN + 3600 },
  };
  testCollector({ ...suite, scope: { key: 'project_id', id: 'p1' }, expected: 3, shapeOf });
  testCollector({
    ...suite,
    test: (name, body) => test(`${name} (nothing there, ${compat})`, body),
    scope: { key: 'project_id', id: 'p2' },
    expected: 'nothing',
  });
}

/** URL and JSON body of a query, the value of the scope key taken out. */
function shapeOf(request: HttpRequest): RequestShape | undefined {
  if (request.body === undefined || request.url.endsWith('/auth/tokens')) return undefined;
  const carried: string[] = [];
  const body = JSON.parse(request.body, (name, value) => {
    if (name !== 'project_id') return value;
    carried.push(value);
    return '…';
  });
  return { skeleton: `${request.method} ${request.url} ${JSON.stringify(body)}`, carried };
}
