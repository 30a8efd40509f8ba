import { test } from 'node:test';
import { testFetcher } from '../../core/testkit/fetcher.js';
import source from '../../plugins/fetchers/source.js';

testFetcher({
  test,
  definition: source,
  options: () => ({ scopes: ['a', { id: 'b', name: 'Team B' }] }),
  expected: ['a', 'b'],
});
