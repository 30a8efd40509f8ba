import { test } from 'node:test';
import { testCollector } from '../../../core/testkit/collector.js';
import { testFetcher } from '../../../core/testkit/fetcher.js';
import definition from '../../../plugins/collectors/host.js';
import fetcher from '../../../plugins/fetchers/host.js';
import { FakeMachine, START } from './fake-machine.js';

/** A machine that was watched for a minute before the suite asks about ten seconds of it. */
const machine = await FakeMachine.create();
await machine.startDaemon();
await machine.pass(60);
await machine.stopDaemon();

testCollector({
  test,
  definition,
  options: () => ({ root: machine.root, host: 'box' }),
  context: {
    clock: machine.clock,
    dataFolder: machine.dataFolder,
    pipeline: { name: 'test', scopeKey: 'host', periodSeconds: 10 },
  },
  metric: {
    name: 'memory',
    unit: 'B',
    groupby: ['host'],
    metadata: ['kernel'],
    extra: { aggregation: 'average' },
  },
  scope: { key: 'host', id: 'box' },
  period: { begin: START / 1000 + 10, end: START / 1000 + 20 },
  expected: 1,
});

testFetcher({
  test,
  definition: fetcher,
  options: () => ({ root: machine.root, host: 'box' }),
  expected: ['box'],
});
