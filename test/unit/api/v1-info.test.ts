import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { V1Api } from '../../../core/api/v1/v1-api.js';
import { member, read, request } from '../../support/api.js';
import { fault, type OpenedV1, openV1 } from './v1-support.js';

describe('/v1/info', () => {
  let api: OpenedV1;
  beforeEach(async () => {
    api = await openV1();
  });
  afterEach(() => api.close());

  const text = async (path: string) => (await api.call('GET', path, { identity: member('demo') })).text;

  it('shows the metrics file as written, keys in its order and numbers with their kind', async () => {
    await api.writeMetrics(`
period: 3600
metrics:
  b:
    unit: GiB
    offset: -0.5
    factor: 1/1048576
    mutate_map: {2: 1.0, 1: 5}
    metadata: [z, a, z]
    extra_args: {force: true, empty: null, "text": "5"}
  a: [{unit: x, alt_name: one}]
`);
    assert.equal(
      await text('/v1/info/config/'),
      '{"period": 3600, "metrics": {"b": {"unit": "GiB", "offset": -0.5, "factor": "1/1048576", ' +
        '"mutate_map": {"2": 1.0, "1": 5}, "metadata": ["z", "a", "z"], ' +
        '"extra_args": {"force": true, "empty": null, "text": "5"}}, "a": [{"unit": "x", "alt_name": "one"}]}}',
    );
  });

  it('lists the checked definitions by rated name, metadata without repetitions', async () => {
    await api.writeMetrics(
      'metrics: {cpu: {unit: instance, alt_name: compute, metadata: [flavor, vcpus]}, disk: [{unit: GiB, alt_name: ssd}, {unit: GiB, alt_name: hdd}]}',
    );
    const compute = '{"metric_id": "compute", "metadata": ["flavor", "vcpus"], "unit": "instance"}';
    const disks = ['ssd', 'hdd'].map((name) => `{"metric_id": "${name}", "metadata": [], "unit": "GiB"}`);
    for (const name of ['metrics', 'services']) {
      assert.equal(await text(`/v1/info/${name}`), `{"metrics": [${[compute, ...disks].join(', ')}]}`);
      assert.equal(await text(`/v1/info/${name}/compute`), compute);
      const unknown = await api.call('GET', `/v1/info/${name}/cpu`);
      assert.deepEqual([unknown.status, unknown.text], [404, fault('cpu')]);
    }
  });

  it('reads the file again when it changed, and only then', async () => {
    assert.match(await text('/v1/info/metrics'), /"metric_id": "instance"/);
    await api.writeMetrics('metrics: {other: {unit: u}}');
    assert.match(await text('/v1/info/metrics'), /^\{"metrics": \[\{"metric_id": "other"/);
    assert.equal(await text('/v1/info/config'), '{"metrics": {"other": {"unit": "u"}}}');
  });

  it('answers 405 to metrics of a file that is not valid, before any policy, and still shows the file', async () => {
    await api.writeMetrics('metrics: {a: {unit: 5, nonsense: true}}');
    const closed = new V1Api({ ...api.services, policy: { allows: () => false } });
    for (const path of ['/v1/info/metrics', '/v1/info/services/a']) {
      const answer = await read(await closed.handle(request('GET', path)));
      assert.deepEqual(
        [answer.status, answer.text],
        [405, fault('Invalid endpoint: no metrics in current configuration.')],
      );
    }
    assert.equal(await text('/v1/info/config'), '{"metrics": {"a": {"unit": 5, "nonsense": true}}}');
  });

  it('shows an empty file as an empty object', async () => {
    for (const empty of ['', '\n\n', '# nothing yet\n---\n']) {
      await api.writeMetrics(empty);
      assert.equal(await text('/v1/info/config'), '{}', JSON.stringify(empty));
    }
  });

  it('says that a file cannot be read, without telling where it is, and recovers', async () => {
    const broken = [
      () => api.writeMetrics('metrics: ['),
      () => rm(api.services.sources[0]!.metricsFile),
      () => api.writeMetrics(`a: &x 1\nb: ${'['.repeat(200)}`),
    ];
    for (const breakIt of broken) {
      await breakIt();
      const answer = await api.call('GET', '/v1/info/config');
      assert.equal(answer.status, 500);
      assert.ok(!answer.text.includes(api.folder));
      assert.equal((await api.call('GET', '/v1/info/metrics')).status, 405);
      await api.writeMetrics('metrics: {m: {unit: u}}');
      assert.equal(await text('/v1/info/config'), '{"metrics": {"m": {"unit": "u"}}}');
    }
  });

  it('merges the metrics of several pipelines, the first one of a name wins', async () => {
    const second = join(api.folder, 'second.yml');
    await writeFile(second, 'metrics: {instance: {unit: later}, cpu: {unit: later}, pods: {unit: pod}}');
    const [first] = api.services.sources;
    const sources = [first!, { ...first!, name: 'second', metricsFile: second }];
    const both = new V1Api({ ...api.services, sources });
    const get = async (path: string) => read(await both.handle(request('GET', path)));
    const { json: config } = await get('/v1/info/config');
    assert.deepEqual(Object.keys(config), ['metrics']);
    assert.deepEqual(
      Object.entries(config.metrics as Record<string, { unit: string }>).map(([name, { unit }]) => [
        name,
        unit,
      ]),
      [
        ['cpu', 'instance'],
        ['instance', 'later'],
        ['pods', 'pod'],
      ],
    );
    // `cpu` is called `instance` in the first file, so that the second file's `instance` is not seen.
    assert.deepEqual(
      (await get('/v1/info/metrics')).json.metrics.map((metric: { metric_id: string; unit: string }) => [
        metric.metric_id,
        metric.unit,
      ]),
      [
        ['instance', 'instance'],
        ['cpu', 'later'],
        ['pods', 'pod'],
      ],
    );
  });
});
