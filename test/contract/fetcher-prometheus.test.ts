import { after, before, test } from 'node:test';
import { httpFactory } from '../../core/loading/http-client.js';
import { testFetcher } from '../../core/testkit/fetcher.js';
import prometheus from '../../plugins/fetchers/prometheus.js';
import { HttpDouble, json } from '../support/http-double.js';

let double: HttpDouble;

before(async () => {
  const result = ['a', 'b'].map((tenant) => ({ metric: { tenant }, value: [1, '1'] }));
  double = await HttpDouble.start(() => json({ status: 'success', data: { resultType: 'vector', result } }));
});
after(() => double.stop());

testFetcher({
  test,
  definition: prometheus,
  options: () => ({ url: `${double.url}/api/v1`, metric: 'vm', scope_attribute: 'tenant' }),
  context: { http: httpFactory },
  expected: ['a', 'b'],
});
