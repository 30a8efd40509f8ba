import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createPlugin } from '../../core/testkit/definition.js';
import { fakeContext } from '../../core/testkit/fakes.js';
import { sampleEvents, testNotifier } from '../../core/testkit/notifier.js';
import rabbitmq from '../../plugins/notifiers/rabbitmq/index.js';
import { serviceInstalled } from '../support/require-service.js';
import { freePort } from '../support/services/free-port.js';
import { type Rabbitmq, startRabbitmq } from '../support/services/rabbitmq.js';

const signal = new AbortController().signal;

if (serviceInstalled('rabbitmq')) {
  let broker: Rabbitmq;
  let nobody: number;

  before(async () => {
    broker = await startRabbitmq();
    nobody = await freePort();
  });
  after(() => broker?.stop());

  const made = (options: object) => createPlugin({ definition: rabbitmq, options, context: fakeContext() });

  testNotifier({
    test,
    definition: rabbitmq,
    options: () => ({ transport_url: broker?.transportUrl ?? 'rabbit://localhost/' }),
    async received() {
      if ((await broker.count('notifications.info')) === undefined) return [];
      return (await broker.drain('notifications.info')).map(({ messageId }) => messageId);
    },
    unreachable: () => ({ transport_url: `rabbit://127.0.0.1:${nobody}/` }),
  });

  test('messages are persistent, and are where the reference puts them', async () => {
    const notifier = await made({
      transport_url: broker.transportUrl,
      exchange: 'bills',
      topics: ['one', 'two'],
    });
    const [event] = sampleEvents('a', 1);
    await notifier.publish([{ ...event!, severity: 'error' }], signal);
    for (const topic of ['one', 'two']) {
      const [message, ...more] = await broker.drain(`${topic}.error`);
      assert.deepEqual(more, []);
      const { body, ...properties } = message!;
      assert.deepEqual(properties, {
        messageId: event!.id,
        contentType: 'application/json',
        isPersistent: true,
        exchange: 'bills',
        routingKey: `${topic}.error`,
      });
      const envelope = JSON.parse(body) as Record<string, string>;
      assert.equal(envelope['oslo.version'], '2.0');
      const inner = JSON.parse(envelope['oslo.message']!) as Record<string, unknown>;
      assert.equal(inner.priority, 'ERROR');
      assert.equal(inner.timestamp, '2026-01-01 00:00:00.000000');
      assert.deepEqual(inner.payload, { ...event!.payload, scope: event!.scope });
    }
    await notifier.stop?.();
  });

  test('hosts are tried in turn, and a wrong password on all of them needs a person', async () => {
    const host = broker.transportUrl.slice('rabbit://'.length);
    const second = await made({ transport_url: `rabbit://x:y@127.0.0.1:${nobody},${host}` });
    await second.publish(sampleEvents('a', 1), signal);
    await second.stop?.();
    const refused = await made({ transport_url: `rabbit://guest:wr0ng@127.0.0.1:${broker.port}/nowhere` });
    await assert.rejects(
      refused.publish(sampleEvents('a', 1), signal),
      (error: Error & { code?: string; kind?: string }) => {
        assert.equal(error.code, 'RATECAT_BROKER_REFUSED');
        assert.equal(error.kind, 'rejected');
        assert.doesNotMatch(error.message, /wr0ng/);
        return true;
      },
    );
    await refused.stop?.();
  });

  test('a queue with other properties is named, with what to do', async () => {
    const durable = await made({ transport_url: broker.transportUrl, topics: ['kept'] });
    await durable.publish(sampleEvents('a', 1), signal);
    await durable.stop?.();
    const transient = await made({
      transport_url: broker.transportUrl,
      topics: ['kept'],
      exchange: 'other',
      durable: false,
    });
    await assert.rejects(transient.publish(sampleEvents('a', 1), signal), {
      code: 'RATECAT_BROKER_REFUSED',
      message: /'kept\.info'.*set 'durable' and 'queue_type'/,
    });
    await transient.stop?.();
  });

  test('TLS is spoken when the URL asks for it, with a broker that the authority vouches for', async () => {
    const secure = broker.transportUrl.replace(`:${broker.port}/`, `:${broker.tlsPort}/`);
    const trusted = await made({
      transport_url: `${secure}?ssl=1&ssl_ca_file=${broker.caFile}`,
      topics: ['tls'],
    });
    const [event] = sampleEvents('a', 1);
    await trusted.publish([event!], signal);
    await trusted.stop?.();
    assert.deepEqual(
      (await broker.drain('tls.info')).map(({ messageId }) => messageId),
      [event!.id],
    );
    const stranger = await made({ transport_url: secure, ssl: true });
    await assert.rejects(stranger.publish([event!], signal), {
      code: 'RATECAT_BROKER_UNREACHABLE',
      message: /self-signed certificate/,
    });
    await stranger.stop?.();
    const careless = await made({ transport_url: secure, ssl: true, insecure: true, topics: ['tls'] });
    await careless.publish([event!], signal);
    await careless.stop?.();
  });

  test('a broker that was killed is found again, and nothing confirmed is lost', async () => {
    const notifier = await made({ transport_url: broker.transportUrl, topics: ['crash'] });
    const [first, second] = sampleEvents('a', 2);
    await notifier.publish([first!], signal);
    await broker.kill();
    await assert.rejects(notifier.publish([second!], signal), { code: 'RATECAT_BROKER_UNREACHABLE' });
    await broker.start();
    await notifier.publish([second!], signal);
    const ids = (await broker.drain('crash.info')).map(({ messageId }) => messageId);
    assert.deepEqual(ids, [first!.id, second!.id]);
    await notifier.stop?.();
  });
}
