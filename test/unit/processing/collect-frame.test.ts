import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Collected, Collector } from '../../../core/plugin-api/index.js';
import { FrameCollector } from '../../../core/processing/collect-frame.js';
import { DescriptorDictionary, metricFacts } from '../../../core/processing/descriptor-dictionary.js';
import type { Pipeline, ProcessingMetric } from '../../../core/processing/pipeline.js';
import { VirtualClock } from '../../../core/testkit/fakes.js';

const SCOPE = { key: 'project_id', id: 'one' };
const PERIOD = { begin: 0, end: 3600 };

type Collect = (metric: string, signal: AbortSignal) => Promise<Collected>;

function metric(name: string): ProcessingMetric {
  return {
    metric: {
      name,
      ratedName: name,
      unit: 'unit',
      groupby: [],
      metadata: [],
      description: undefined,
      options: {},
    },
    facts: metricFacts(name, 'unit', undefined),
    convert: (value) => value,
    skip: undefined,
  };
}

function collecting(collect: Collect, metrics: readonly string[] = ['a', 'b']) {
  const collector: Collector = {
    metricOptions: { '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value }) } },
    collect: (request, signal) => collect(request.metric.name, signal),
  };
  const pipeline: Pick<Pipeline, 'source' | 'collector' | 'collectorName' | 'metrics'> & {
    readonly settings: Pick<Pipeline['settings'], 'concurrentMetrics' | 'metricTimeoutMs' | 'lookBack'>;
  } = {
    source: 'test',
    collectorName: 'test',
    collector,
    metrics: metrics.map(metric),
    settings: { concurrentMetrics: 2, metricTimeoutMs: 1000, lookBack: 0 },
  };
  const frames = new FrameCollector(pipeline as Pipeline, new VirtualClock());
  const dictionary = new DescriptorDictionary();
  return (signal: AbortSignal) => frames.collect(SCOPE, PERIOD, dictionary, signal);
}

/** Bytes in use; weak references are let go only between two turns of the event loop. */
async function heap(collectGarbage: () => void): Promise<number> {
  for (let round = 0; round < 3; round++) {
    await turn();
    collectGarbage();
  }
  return process.memoryUsage().heapUsed;
}

describe('collecting a frame', () => {
  it('leaves nothing behind on a signal that lives as long as a whole catch-up', async () => {
    setFlagsFromString('--expose-gc');
    const collectGarbage = runInNewContext('gc') as () => void;
    const collect = collecting(async () => ({ kind: 'nothing' }));
    const { signal } = new AbortController();
    const many = async (count: number) => {
      for (let index = 0; index < count; index++) await collect(signal);
    };
    await many(10_000);
    const before = await heap(collectGarbage);
    await many(20_000);
    const each = ((await heap(collectGarbage)) - before) / 20_000;
    assert.ok(each < 8, `${each.toFixed(1)} bytes stay of each period`);
  });

  it('asks for many metrics without a warning about listeners that leak', async () => {
    const warnings: string[] = [];
    const onWarning = ({ message }: Error) => warnings.push(message);
    process.on('warning', onWarning);
    const names = Array.from({ length: 30 }, (_, index) => `metric-${index}`);
    const collect = collecting(async (_, signal) => {
      await turn(undefined, { signal });
      return { kind: 'nothing' };
    }, names);
    await collect(new AbortController().signal);
    await turn();
    process.off('warning', onWarning);
    assert.deepEqual(warnings, []);
  });

  it('aborts the other metrics when one fails, and gives the error of the one that failed', async () => {
    let aborted: unknown;
    const collect = collecting((name, signal) => {
      if (name === 'a') return Promise.reject(new Error('down'));
      return new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          aborted = signal.reason;
          reject(signal.reason);
        });
      });
    });
    await assert.rejects(collect(new AbortController().signal), /Metric 'a': down/);
    assert.match(String(aborted), /Metric 'a': down/);
  });

  it('is aborted with the reason of its own signal, before and while it collects', async () => {
    let asked = 0;
    const collect = collecting((_, signal) => {
      asked++;
      return new Promise((_resolve, reject) =>
        signal.addEventListener('abort', () => reject(signal.reason), { once: true }),
      );
    });
    const during = new AbortController();
    const result = collect(during.signal);
    await turn();
    during.abort(new Error('the lease is lost'));
    await assert.rejects(result, /^Error: the lease is lost$/);
    assert.equal(asked, 2);
    await assert.rejects(collect(AbortSignal.abort(new Error('stopping'))), /^Error: stopping$/);
    assert.equal(asked, 2, 'nobody is asked after the abort');
  });
});
