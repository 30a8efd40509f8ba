import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { httpFactory } from '../../core/loading/http-client.js';
import type { Clock, Collector, RatecatError } from '../../core/plugin-api/index.js';
import { createPlugin } from '../../core/testkit/definition.js';
import { fakeContext } from '../../core/testkit/fakes.js';
import { HOSTILE_TEXTS } from '../../core/testkit/hostile-texts.js';
import prometheus, {
  type PrometheusMetricOptions,
  prometheusMetricOptions,
} from '../../plugins/collectors/prometheus.js';
import prometheusFetcher from '../../plugins/fetchers/prometheus.js';
import { serviceInstalled } from '../support/require-service.js';
import { type Prometheus, startPrometheus } from '../support/services/prometheus.js';

const never = new AbortController().signal;
const HOUR = 3600;
/** Begin of the recorded hour: full, and some hours ago. */
const BEGIN = (Math.floor(Date.now() / 1000 / HOUR) - 6) * HOUR;
const period = { begin: BEGIN, end: BEGIN + HOUR };
/** Every hostile text that the text format of the history can carry. */
const IDS = HOSTILE_TEXTS.filter((id) => !id.includes('\u0000') && !id.includes('\r'));

const clock: Clock = { now: Date.now, monotonic: () => performance.now(), sleep: () => Promise.resolve() };
let server: Prometheus;
let collector: Collector<PrometheusMetricOptions>;

/** One series per hostile scope, two values in the hour; the second, i + 0.25, is the greater. */
function history(): string {
  const escaped = (id: string) => id.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
  const lines = IDS.flatMap((id, index) => [
    `vm_cpus{project_id="${escaped(id)}",id="vm${index}"} ${index} ${BEGIN + 600}`,
    `vm_cpus{project_id="${escaped(id)}",id="vm${index}"} ${index}.25 ${BEGIN + 1800}`,
  ]);
  const poison = `vm_broken{project_id="p"} NaN ${BEGIN + 600}`;
  return ['# TYPE vm_cpus gauge', ...lines, '# TYPE vm_broken gauge', poison, '# EOF', ''].join('\n');
}

if (serviceInstalled('prometheus', 'node-exporter')) {
  describe('the plugins for Prometheus against the real one', () => {
    before(async () => {
      server = await startPrometheus({ history: history() });
      await server.waitForResult('up == 1');
      collector = (await createPlugin({
        definition: prometheus,
        options: { url: server.apiUrl },
        context: fakeContext({ http: httpFactory, clock }),
      })) as Collector<PrometheusMetricOptions>;
    });
    after(async () => {
      await collector?.stop?.();
      await server?.stop();
    });

    function collect(id: string, { name = 'vm_cpus', extra = {}, at = period } = {}) {
      const metric = {
        name,
        ratedName: name,
        unit: 'vcpu',
        groupby: ['id', 'project_id'],
        metadata: [],
        description: undefined,
        options: prometheusMetricOptions.parse(extra),
      };
      return collector.collect({ metric, scope: { key: 'project_id', id }, period: at }, never);
    }

    test('each hostile scope id finds its own series and nothing else', async () => {
      assert.ok(IDS.length > 500);
      for (const [index, id] of IDS.entries()) {
        const collected = await collect(id);
        assert.ok(collected.kind === 'measured', JSON.stringify(id));
        assert.deepEqual(
          collected.samples.map(({ groupby, value }) => [
            groupby.get('id'),
            groupby.get('project_id'),
            value.toString(),
          ]),
          [[`vm${index}`, id, `${index}.25`]],
        );
      }
    });

    test('functions, ranges and aggregations are understood by the server', async () => {
      const id = IDS[100]!;
      for (const [extra, expected] of [
        [{ aggregation_method: 'min' }, '100'],
        [{ aggregation_method: 'avg' }, '100.125'],
        [{ aggregation_method: 'sum' }, '200.25'],
        [{ aggregation_method: 'count' }, '1'],
        [{ query_function: 'ceil' }, '101'],
        [{ range_function: 'changes' }, '1'],
        [{ query_prefix: '2 *', query_suffix: '+ 1' }, '201.5'],
      ] as const) {
        const collected = await collect(id, { extra });
        assert.ok(collected.kind === 'measured');
        assert.equal(collected.samples[0]!.value.toString(), expected, JSON.stringify(extra));
      }
    });

    test('a scope without series is nothing, a time that nobody recorded is a gap', async () => {
      assert.deepEqual(await collect('nobody'), { kind: 'nothing' });
      const before = await collect(IDS[0]!, { at: { begin: BEGIN - 10 * HOUR, end: BEGIN - 9 * HOUR } });
      assert.equal(before.kind, 'unmeasurable');
    });

    test('NaN and a query that the server refuses are errors', async () => {
      await assert.rejects(collect('p', { name: 'vm_broken' }), { code: 'RATECAT_SAMPLE_NOT_A_NUMBER' });
      await assert.rejects(collect('p', { extra: { query_suffix: ') nonsense' } }), (error: RatecatError) => {
        assert.equal(error.code, 'RATECAT_QUERY_REFUSED');
        assert.match(error.message, /bad_data/);
        return true;
      });
    });

    test('what the server can only find out while it evaluates is an error of data', async () => {
      const query_suffix = '* on () group_left() max_over_time(vm_cpus[3600s])';
      await assert.rejects(collect(IDS[0]!, { extra: { query_suffix } }), (error: RatecatError) => {
        assert.equal(error.code, 'RATECAT_QUERY_FAILED');
        assert.match(error.message, /execution: found duplicate series/);
        return true;
      });
    });

    test('a memory with older blocks does not begin at the open one', async () => {
      assert.equal(await collector.earliest!({ key: 'project_id', id: 'x' }, never), undefined);
    });

    test('a fresh server tells when its memory begins', async () => {
      const started = Math.floor(Date.now() / 1000);
      const fresh = await startPrometheus();
      const own = await createPlugin({
        definition: prometheus,
        options: { url: fresh.url },
        context: fakeContext({ http: httpFactory, clock }),
      });
      try {
        await fresh.waitForResult('up == 1');
        const earliest = await own.earliest!({ key: 'project_id', id: 'x' }, never);
        assert.ok(
          earliest !== undefined && earliest >= started - 1 && earliest <= Date.now() / 1000,
          `${earliest}`,
        );
      } finally {
        await own.stop?.();
        await fresh.stop();
      }
    });

    test('the fetcher sees the scopes that are alive now', async () => {
      await server.exposeMetrics('vm_alive{project_id="a\\"b"} 1\nvm_alive{project_id="c"} 2\nvm_alive 3\n');
      await server.waitForResult('vm_alive{project_id="c"}');
      const fetcher = await createPlugin({
        definition: prometheusFetcher,
        options: { url: server.apiUrl, metric: 'vm_alive' },
        context: fakeContext({ http: httpFactory, clock }),
      });
      const ids = (await fetcher.fetchScopes(never)).map(({ id }) => id);
      await fetcher.stop?.();
      assert.deepEqual(ids.sort(), ['a"b', 'c']);
    });

    test('a server that is gone is unavailable, and answers again after its return', async () => {
      await server.kill();
      await assert.rejects(collect(IDS[0]!), { kind: 'unavailable' });
      await server.start();
      assert.equal((await collect(IDS[0]!)).kind, 'measured');
    });
  });
}
