import { after, before, test } from 'node:test';
import { httpFactory } from '../../core/loading/http-client.js';
import type { HttpRequest } from '../../core/plugin-api/index.js';
import { type RequestShape, testCollector } from '../../core/testkit/collector.js';
import ceilometer from '../../plugins/collectors/ceilometer.js';
import { FakeCeilometer, recordedData } from '../support/fake-ceilometer.js';

const BEGIN = Date.UTC(2017, 2, 1, 1) / 1000;
const { projects } = recordedData();
let cloud: FakeCeilometer;

before(async () => {
  cloud = await FakeCeilometer.start(recordedData());
});
after(() => cloud.stop());

/** Quantities of Ceilometer's own, and increases, which are read from samples: several pages of them. */
const METRICS = [
  {
    name: 'cpu',
    groupby: ['instance_id', 'user_id'],
    metadata: ['flavor', 'metadata', 'no_such_field'],
    found: 2,
  },
  {
    name: 'network.outgoing.bytes',
    groupby: ['interface_id'],
    metadata: ['mac', 'instance_id'],
    extra: { quantity: 'increase' },
    found: 3,
  },
];

for (const compat of ['fixed', 'strict'] as const) {
  for (const { found, ...metric } of METRICS) {
    const label = `${metric.name}, ${compat}`;
    const suite = {
      test: (name: string, body: () => void | Promise<void>) => test(`${name} (${label})`, body),
      definition: ceilometer,
      options: () => ({ ...cloud.credentials, page_size: 5 }),
      context: { http: httpFactory, compat },
      metric,
      period: { begin: BEGIN, end: BEGIN + 3600 },
    };
    testCollector({ ...suite, scope: { key: 'project_id', id: projects.A! }, expected: found, shapeOf });
    testCollector({
      ...suite,
      test: (name, body) => test(`${name} (nothing there, ${label})`, body),
      scope: { key: 'project_id', id: projects.empty! },
      expected: 'nothing',
    });
  }
}

/** The parallel lists of a query, the value of the project taken out. */
function shapeOf(request: HttpRequest): RequestShape | undefined {
  const url = new URL(request.url);
  const fields = url.searchParams.getAll('q.field');
  const values = url.searchParams.getAll('q.value');
  const at = fields.indexOf('project');
  if (at < 0) return undefined;
  const rest = [...url.searchParams].filter(([name]) => name !== 'q.value');
  const skeleton = JSON.stringify([request.method, url.pathname, rest, values.with(at, '…')]);
  return { skeleton, carried: [values[at]!] };
}
