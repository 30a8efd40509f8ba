import { test } from 'node:test';
import { testCollector } from '../../../core/testkit/collector.js';
import { testFetcher } from '../../../core/testkit/fetcher.js';
import definition from '../../../plugins/collectors/file.js';
import fetcher from '../../../plugins/fetchers/file.js';
import { BEGIN, csv, Drop, HOUR, row } from './drop.js';

/** A folder with the samples of two machines. */
const drop = new Drop();
drop.put('a.csv', csv(row(0, 'p1', 'vm', '1', 'i1'), row(0, 'p1', 'vm', '2', 'i2')));
await drop.start();
await drop.stop();

const context = {
  clock: drop.clock,
  configFolder: drop.folder,
  pipeline: { name: 'files', scopeKey: 'project_id', periodSeconds: HOUR },
};

testCollector({
  test,
  definition,
  options: () => ({ folder: '.' }),
  context,
  metric: { name: 'vm', unit: 'h', groupby: ['id'], metadata: ['flavor'], extra: { aggregation: 'sum' } },
  scope: { key: 'project_id', id: 'p1' },
  period: { begin: BEGIN, end: BEGIN + HOUR },
  expected: 2,
});

testFetcher({
  test,
  definition: fetcher,
  options: () => ({ folder: '.' }),
  context,
  expected: ['p1'],
});
