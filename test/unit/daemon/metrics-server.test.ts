import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DaemonLogger } from '../../../core/daemon/logger.js';
import { measuredDatabase, measuredHttp } from '../../../core/daemon/measured-neighbours.js';
import { MetricsRegistry, metricsOfAll } from '../../../core/daemon/metrics-registry.js';
import { MetricsServer } from '../../../core/daemon/metrics-server.js';
import { systemClock } from '../../../core/daemon/system-clock.js';
import { openDatabase } from '../../../core/database/open-database.js';
import { httpFactory } from '../../../core/loading/http-client.js';
import { HttpDouble, reply } from '../../support/http-double.js';

const logger = DaemonLogger.create({ level: 'error', format: 'text' });

async function serverWith(metrics: () => Promise<string>, port = 0): Promise<MetricsServer> {
  const server = new MetricsServer({ host: '127.0.0.1', port, logger, metrics });
  await server.start();
  return server;
}

describe('metrics server', () => {
  it('serves the metrics, a sign of life and nothing else', async () => {
    const server = await serverWith(async () => 'ratecat_x 1\n');
    const answer = await fetch(`${server.url}/metrics?x=1`);
    assert.equal(answer.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
    assert.equal(await answer.text(), 'ratecat_x 1\n');
    assert.equal(await (await fetch(`${server.url}/healthz`)).text(), 'ok\n');
    assert.equal((await fetch(`${server.url}/`)).status, 404);
    assert.equal((await fetch(`${server.url}/metrics`, { method: 'POST', body: 'x' })).status, 405);
    const { url } = server;
    await server.stop();
    await assert.rejects(fetch(`${url}/metrics`));
  });

  it('answers 503 when they cannot be collected', async () => {
    const server = await serverWith(() => Promise.reject(new Error('no')));
    assert.equal((await fetch(`${server.url}/metrics`)).status, 503);
    await server.stop();
  });

  it('says which setting to change when the port is taken', async () => {
    const first = await serverWith(async () => '');
    const port = Number(new URL(first.url).port);
    await assert.rejects(
      serverWith(async () => '', port),
      {
        code: 'RATECAT_METRICS_ADDRESS',
        message: new RegExp(`127\\.0\\.0\\.1:${port} \\(EADDRINUSE\\).*metrics_server\\.port`),
      },
    );
    await first.stop();
  });
});

describe('metrics of several processes', () => {
  it('adds what they count and takes the worst lag', async () => {
    const processes = [3, 4].map((points) => {
      const metrics = new MetricsRegistry();
      const scope = { key: 'project_id', id: 'a' };
      metrics.periodRated({ source: 'cloud', scope, period: { begin: 0, end: 1 }, points, seconds: 1 });
      metrics.backlog('cloud', points, points * 100);
      return metrics;
    });
    const text = await metricsOfAll(
      await Promise.all(processes.map(({ registry }) => registry.getMetricsAsJSON())),
    );
    assert.match(text, /^ratecat_points_rated_total\{source="cloud"\} 7$/m);
    assert.match(text, /^ratecat_period_seconds_count\{source="cloud"\} 2$/m);
    assert.match(text, /^ratecat_lag_seconds\{source="cloud"\} 400$/m);
  });

  it('counts requests by pattern, method and class of status', async () => {
    const metrics = new MetricsRegistry();
    const served = { id: 'r', path: '/v1/x/y', route: '/v1/x/{id}', userId: undefined, projectId: undefined };
    metrics.served({ ...served, method: 'GET', status: 404, seconds: 0.01 });
    const text = await metrics.registry.metrics();
    assert.match(
      text,
      /^ratecat_api_request_seconds_count\{route="\/v1\/x\/\{id\}",method="GET",status="4xx"\} 1$/m,
    );
    assert.ok(!text.includes('/v1/x/y'));
  });
});

describe('measured neighbours', () => {
  it('count requests by host and outcome, and leave answers as they are', async () => {
    const metrics = new MetricsRegistry();
    const double = await HttpDouble.start();
    double.handler = () => reply(404, 'gone');
    const client = measuredHttp(httpFactory, metrics, systemClock).client({});
    const { signal } = new AbortController();
    const response = await client.request({ url: `${double.url}/secret?token=x` }, signal);
    assert.equal(response.body, 'gone');
    const { host, origin } = new URL(double.url);
    await double.stop();
    await assert.rejects(client.request({ url: origin }, signal), {
      code: 'RATECAT_UPSTREAM_UNREACHABLE',
    });
    await client.close();
    const text = await metrics.registry.metrics();
    assert.ok(text.includes(`ratecat_upstream_request_seconds_count{host="${host}",outcome="4xx"} 1`), text);
    assert.ok(
      text.includes(`ratecat_upstream_request_seconds_count{host="${host}",outcome="error"} 1`),
      text,
    );
    assert.ok(!text.includes('secret'));
  });

  it('count queries and transactions, failed ones apart', async () => {
    const metrics = new MetricsRegistry();
    const database = measuredDatabase(await openDatabase('sqlite::memory:'), metrics, systemClock);
    assert.deepEqual(await database.query('SELECT 1'), [[1]]);
    await database.transaction((tx) => tx.execute('CREATE TABLE t (a INTEGER)'));
    await assert.rejects(database.transaction(() => Promise.reject(new Error('no'))));
    await database.close();
    const text = await metrics.registry.metrics();
    assert.match(text, /ratecat_database_seconds_count\{kind="query",outcome="ok"\} 1/);
    assert.match(text, /ratecat_database_seconds_count\{kind="transaction",outcome="ok"\} 1/);
    assert.match(text, /ratecat_database_seconds_count\{kind="transaction",outcome="error"\} 1/);
  });
});
