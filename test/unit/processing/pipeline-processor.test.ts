import assert from 'node:assert/strict';
import { it } from 'node:test';
import {
  PipelineProcessor,
  type PipelineProcessorParts,
} from '../../../core/processing/pipeline-processor.js';
import type { ProcessingMetrics } from '../../../core/processing/processing-metrics.js';
import { periodSchedule } from '../../../core/processing/tick-schedule.js';
import { TrustedTime } from '../../../core/processing/trusted-time.js';
import { RecordingLogger, VirtualClock } from '../../../core/testkit/fakes.js';

/** A pipeline without scopes whose database answers as `list` does. */
function newProcessor(told: string[], list: () => Promise<readonly never[]>): PipelineProcessor {
  const clock = new VirtualClock();
  const logger = new RecordingLogger();
  const metrics: ProcessingMetrics = {
    periodRated: () => undefined,
    scopeFailed: () => undefined,
    backlog: (source) => told.push(`${source} begins`),
    resting: (source) => told.push(`${source} rests`),
  };
  const periods = { periodSeconds: 3600, waitPeriods: 2, compat: 'fixed' };
  const parts = {
    pipeline: {
      source: 'a',
      scopeKey: 'project_id',
      fetcherName: 'none',
      fetcher: { fetchScopes: async () => [] },
      settings: {
        periods,
        metricTimeoutMs: 1000,
        concurrentScopes: 1,
        maxShrink: 1,
        retry: { firstSeconds: 1, maxSeconds: 2 },
      },
    },
    states: { list, add: async () => undefined },
    tasks: { unfinishedOf: async () => [] },
    leases: { observe: () => undefined, owner: 'me' },
    schedule: periodSchedule(3600),
    clock,
    time: new TrustedTime(clock, logger),
    logger,
    metrics,
  };
  return new PipelineProcessor(parts as unknown as PipelineProcessorParts);
}

async function firstRound(list: () => Promise<readonly never[]>): Promise<readonly string[]> {
  const told: string[] = [];
  const stop = new AbortController();
  const ended = newProcessor(told, list).run(stop.signal);
  await new Promise((resolve) => setImmediate(resolve));
  stop.abort(new Error('enough'));
  await ended;
  return told;
}

it('tells when a round begins and when the pipeline rests', async () => {
  assert.deepEqual(await firstRound(async () => []), ['a begins', 'a rests']);
});

it('tells that the pipeline rests also after a round that failed', async () => {
  assert.deepEqual(await firstRound(() => Promise.reject(new Error('the database is away'))), ['a rests']);
});
