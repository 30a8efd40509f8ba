import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { redact } from '../../../core/daemon/logger.js';
import { MetricsRegistry } from '../../../core/daemon/metrics-registry.js';

describe('metrics registry', () => {
  it('counts periods, points and failures by source and shows backlog and lag', async () => {
    const metrics = new MetricsRegistry();
    const scope = { key: 'project_id', id: 'a' };
    const period = { begin: 0, end: 3600 };
    metrics.periodRated({ source: 'cloud', scope, period, points: 7, seconds: 0.01 });
    metrics.periodRated({ source: 'cloud', scope, period, points: 5, seconds: 3 });
    metrics.scopeFailed('cloud', 'RATECAT_TIMEOUT');
    metrics.backlog('cloud', 4, 7200);
    const text = await metrics.registry.metrics();
    for (const line of [
      'ratecat_periods_rated_total{source="cloud"} 2',
      'ratecat_points_rated_total{source="cloud"} 12',
      'ratecat_period_seconds_count{source="cloud"} 2',
      'ratecat_scope_failures_total{source="cloud",code="RATECAT_TIMEOUT"} 1',
      'ratecat_backlog_periods{source="cloud"} 4',
      'ratecat_lag_seconds{source="cloud"} 7200',
    ]) {
      assert.ok(text.split('\n').includes(line), `${line} is missing in\n${text}`);
    }
  });

  it('keeps two registries apart', async () => {
    new MetricsRegistry().scopeFailed('x', 'Y');
    assert.doesNotMatch(await new MetricsRegistry().registry.metrics(), /source="x"/);
  });
});

describe('redaction of logs', () => {
  it('hides secret fields and passwords in URLs, however deep', () => {
    const line = {
      url: 'mysql://ratecat:s3cr3t@db/ratecat',
      options: { password: 'x', nested: [{ auth_token: 'y', note: 'amqp://u:pw@mq/' }] },
      scope: 'a',
    };
    const shown = JSON.stringify(redact(line));
    for (const secret of ['s3cr3t', '"x"', '"y"', ':pw@']) assert.ok(!shown.includes(secret), shown);
    assert.ok(shown.includes('"scope":"a"'));
  });
});
