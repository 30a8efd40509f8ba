import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { httpFactory } from '../../core/loading/http-client.js';
import type { HttpRequest } from '../../core/plugin-api/index.js';
import { type RequestShape, testCollector } from '../../core/testkit/collector.js';
import { VirtualClock } from '../../core/testkit/fakes.js';
import prometheus from '../../plugins/collectors/prometheus.js';
import { HttpDouble, json, type ReceivedRequest } from '../support/http-double.js';

const END = Date.UTC(2026, 0, 1) / 1000;
const context = { http: httpFactory, clock: new VirtualClock(END * 1000 + 600_000) };
let double: HttpDouble;

/** Two series of project p1; of everything else nothing, though the server was up all the time. */
function answer(request: ReceivedRequest) {
  const query = request.query.get('query') ?? '';
  if (request.path.endsWith('/status/tsdb'))
    return json({ status: 'success', data: { headStats: { minTime: 1000 } } });
  if (request.path.endsWith('/labels')) return json({ status: 'success', data: ['job'] });
  const series = (metric: object) => ({ metric, value: [END, '1.50'] });
  const result = query.includes('{project_id="p1"}')
    ? [series({ id: 'a', project_id: 'p1', flavor: 'm' }), series({ id: 'b', project_id: 'p1' })]
    : query.startsWith('count(count_over_time(up')
      ? [series({})]
      : [];
  return json({ status: 'success', data: { resultType: 'vector', result } });
}

before(async () => {
  double = await HttpDouble.start(answer);
});
after(() => double.stop());

const suite = {
  test,
  definition: prometheus,
  options: () => ({ url: `${double.url}/api/v1`, user: 'joe', password: 's3cret' }),
  context,
  metric: { name: 'cpu', groupby: ['id'], metadata: ['flavor'], extra: { aggregation_method: 'avg' } },
  period: { begin: END - 3600, end: END },
};

testCollector({ ...suite, scope: { key: 'project_id', id: 'p1' }, expected: 2, shapeOf });
testCollector({
  ...suite,
  test: (name, body) => test(`${name} (nothing there)`, body),
  scope: { key: 'project_id', id: 'p2' },
  expected: 'nothing',
});

/** The queries with a scope in them, taken apart as Prometheus' own lexer does it. */
function shapeOf(request: HttpRequest): RequestShape | undefined {
  const query = new URL(request.url).searchParams.get('query');
  if (query === null || !query.includes('project_id=')) return undefined;
  const carried: string[] = [];
  const skeleton = query.replace(/"(?:[^"\\\n]|\\.)*"/gs, (literal) => {
    carried.push(unquoted(literal));
    return '"…"';
  });
  return { skeleton, carried };
}

/** A double-quoted literal of PromQL: Go's escapes, and no raw line break. */
function unquoted(literal: string): string {
  assert.doesNotMatch(literal, /\n/);
  return literal.slice(1, -1).replace(/\\(.)/gs, (_, character: string) => {
    if (character === 'n') return '\n';
    assert.match(character, /["\\]/, `unexpected escape \\${character}`);
    return character;
  });
}
