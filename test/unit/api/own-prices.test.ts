import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { ANONYMOUS } from '../../../core/api/auth/identity.js';
import { Prices } from '../../../core/api/own/prices.js';
import { priceOf } from '../../../core/api/own/quote.js';
import { Decimal } from '../../../core/plugin-api/index.js';
import { raiseRevision } from '../../../core/rating/module-states.js';
import { sampleSeed } from '../../../core/testkit/samples.js';
import { type OpenedOwn, openOwn } from './own-support.js';

describe('prices and quotes of /ratecat/v1', () => {
  let api: OpenedOwn;
  let open: OpenedOwn;
  before(async () => {
    api = await openOwn();
    open = await openOwn({ change: { api: { anonymous_quotes: true } } });
  });
  after(async () => {
    await api.close();
    await open.close();
  });
  const quote = (body: string | object, query = '') =>
    api.call('POST', `/quote${query}`, { token: 'alpha', body });

  it('needs a token, unless the configuration opens them to everybody', async () => {
    for (const [method, path, body] of [
      ['GET', '/prices', undefined],
      ['POST', '/quote', { metric: 'instance' }],
    ] as const) {
      const options = body === undefined ? {} : { body };
      const closed = await api.call(method, path, options);
      assert.deepEqual([closed.status, closed.json.error.code], [401, 'RATECAT_REQUEST_UNAUTHENTICATED']);
      assert.equal((await open.call(method, path, options)).status, 200);
      const wrong = await open.call(method, path, { ...options, token: 'wrong' });
      assert.equal(wrong.status, 401, 'a token that is no good is no missing token');
      assert.equal((await api.call(method, path, { ...options, token: 'alpha' })).status, 200);
    }
    for (const path of ['/scopes', '/summary', '/dataframes', '/explain', '/progress', '/nothing'])
      assert.equal((await open.call('GET', path)).status, 401, path);
  });

  it('gives administrators the whole price list in the order of rating', async () => {
    const { json } = await api.get('/prices');
    assert.deepEqual(
      json.modules.map(({ module }: { module: string }) => module),
      ['hashmap', 'noop'],
    );
    assert.equal(json.modules[0].priority, 5);
    const text = JSON.stringify(json.modules[0].price_list);
    for (const part of ['promised-to-beta', 'secret-flavor', '0.3333333333333333333333333333'])
      assert.ok(text.includes(part), text);
  });

  it('hides the rules for other tenants from everybody else', async () => {
    const shown = async (ask: OpenedOwn, token?: 'alpha' | 'beta') =>
      (await ask.call('GET', '/prices', token === undefined ? {} : { token })).text;
    for (const text of [await shown(api, 'alpha'), await shown(open)]) {
      for (const part of ['beta', 'secret', 'agreement', '"tenant"'])
        assert.ok(!text.includes(part), `${part}: ${text}`);
      assert.ok(text.includes('0.3333333333333333333333333333') && text.includes('big'));
    }
    const beta = await shown(api, 'beta');
    assert.ok(beta.includes('secret-flavor') && beta.includes('agreement') && !beta.includes('promised'));
  });

  it('hides the rules of a module that does not say what a tenant may see', async () => {
    const { name, module } = api.services.modules.find(({ name }) => name === 'hashmap')!;
    const { toRules, read, write } = module.rulesDocument!;
    const silent = { name, module: { ...module, rulesDocument: { toRules, read, write } } };
    const [route] = new Prices({ ...api.services, modules: [silent] }).routes;
    const shown = async (isAdmin: boolean) => {
      const call = { identity: { ...ANONYMOUS, isAdmin, projectId: 'alpha' } };
      return JSON.parse((await route!.handle(call as never)) as string).modules[0].price_list;
    };
    assert.equal(await shown(false), null);
    assert.deepEqual(await shown(true), (await api.get('/prices')).json.modules[0].price_list);
  });

  it('shows a change of the rules at once', async () => {
    const { services } = open;
    const hashmap = services.modules.find(({ name }) => name === 'hashmap')!.module;
    assert.ok(!(await open.get('/prices')).text.includes('added-later'));
    await services.database.transaction(async (tx) => {
      const document = { services: { 'added-later': { mappings: [{ type: 'flat', cost: '1' }] } } };
      await hashmap.rulesDocument!.write(document, tx, { mode: 'merge', now: 0, author: 'test' });
      await raiseRevision(tx);
    });
    assert.ok((await open.get('/prices')).text.includes('added-later'));
  });

  it('prices one resource per period, per hour and per 30 days', async () => {
    const { status, json } = await quote({ metric: 'instance', quantity: 3, metadata: { flavor: 'big' } });
    assert.equal(status, 200);
    const prices = { price: '0.9999999999999999999999999999', per_hour: '0.9999999999999999999999999999' };
    assert.deepEqual(json.total, { ...prices, per_30_days: '719.999999999999999999999999928' });
    assert.deepEqual(json.resources, [{ metric: 'instance', quantity: '3', ...json.total }]);
    assert.equal(json.period_seconds, 3600);
  });

  it('prices several resources, each on its own and together', async () => {
    const resources = [
      { metric: 'instance', quantity: '0.50' },
      { metric: 'nothing' },
      { metric: 'instance', groupby: { flavor: 'big' } },
    ];
    const { json } = await quote({ resources });
    assert.deepEqual(
      json.resources.map(({ price, quantity }: Record<string, string>) => [quantity, price]),
      [
        ['0.5', '0.05'],
        ['1', '0'],
        ['1', '0.3333333333333333333333333333'],
      ],
    );
    assert.equal(json.total.price, '0.3833333333333333333333333333');
  });

  it('uses rules for everybody only, whoever asks', async () => {
    const body = { metric: 'instance', metadata: { flavor: 'secret-flavor' } };
    const { json } = await api.call('POST', '/quote', { token: 'beta', body });
    assert.equal(json.total.price, '0.1');
  });

  it('refuses what is no description of resources, and says where', async () => {
    const cases: readonly (readonly [string | object, number, RegExp])[] = [
      ['', 400, /JSON/],
      ['{', 400, /JSON/],
      ['[]', 400, /object/],
      ['{"metric":"a","metric":"b"}', 400, /JSON/],
      ['{"metric":"a","__proto__":{}}', 400, /JSON/],
      [`${'['.repeat(50_000)}`, 400, /JSON/],
      [{}, 400, /'metric'/],
      [{ metric: '' }, 400, /'metric'/],
      [{ metric: 5 }, 400, /'metric'/],
      [{ metric: 'x', flavour: 1 }, 400, /'flavour'/],
      [{ metric: 'x', groupby: [] }, 400, /'groupby'/],
      [{ metric: 'x', metadata: 'x' }, 400, /'metadata'/],
      [{ metric: 'x', quantity: 'NaN' }, 400, /'quantity'/],
      [{ metric: 'x', quantity: null }, 400, /'quantity'/],
      ['{"metric":"x","quantity":1e31}', 400, /'quantity'/],
      ['{"metric":"x","quantity":1e-29}', 400, /'quantity'/],
      [`{"metric":"x","quantity":${'9'.repeat(5000)}}`, 400, /'quantity'/],
      [{ resources: [] }, 400, /'resources'/],
      [{ resources: {} }, 400, /'resources'/],
      [{ resources: Array(101).fill({ metric: 'x' }) }, 400, /'resources'/],
      [{ resources: [{ metric: 'x' }, 5] }, 400, /resources\[1\]/],
      [{ resources: [{ metric: 'x' }], more: 1 }, 400, /'resources'/],
    ];
    for (const [body, status, message] of cases) {
      const answer = await quote(body);
      assert.equal(answer.status, status, JSON.stringify(body).slice(0, 80));
      assert.match(answer.json.error.message, message);
    }
    const typed = await api.call('POST', '/quote', {
      token: 'alpha',
      body: '{"metric":"x"}',
      headers: { 'content-type': 'text/plain' },
    });
    assert.deepEqual([typed.status, typed.json.error.code], [415, 'RATECAT_REQUEST_TYPE']);
    assert.equal((await quote({ metric: 'x' }, '?source=nobody')).status, 400);
  });
});

describe('the price of a time', () => {
  it('is exact where it comes out even', () => {
    fc.assert(
      fc.property(
        fc.bigInt(-(10n ** 30n), 10n ** 30n),
        fc.integer({ min: -28, max: 2 }),
        (coefficient, exponent) => {
          const price = Decimal.of(coefficient, exponent);
          assert.ok(priceOf(price, 3600, 300).equals(price.times(Decimal.fromInteger(12))));
          assert.ok(priceOf(price, 2_592_000, 3600).equals(price.times(Decimal.fromInteger(720))));
        },
      ),
      { seed: sampleSeed() },
    );
  });

  it('is rounded at 28 places where it does not', () => {
    assert.equal(priceOf(Decimal.parse('1'), 3600, 5400).toString(), '0.6666666666666666666666666667');
    assert.equal(priceOf(Decimal.parse('-1'), 3600, 5400).toString(), '-0.6666666666666666666666666667');
  });
});
