import assert from 'node:assert/strict';
import { after, before, beforeEach, it } from 'node:test';
import { httpFactory } from '../../../core/loading/http-client.js';
import type { Notification, RatecatError } from '../../../core/plugin-api/index.js';
import { createPlugin } from '../../../core/testkit/definition.js';
import { fakeContext } from '../../../core/testkit/fakes.js';
import { sampleEvents } from '../../../core/testkit/notifier.js';
import webhook, { webhookSignature } from '../../../plugins/notifiers/webhook.js';
import { HttpDouble, json, raw, reply, reset } from '../../support/http-double.js';

const signal = new AbortController().signal;
const SECRET = 'whsec_plJ3nmyCDGBKInavdOK15jsl';
let receiver: HttpDouble;

before(async () => {
  receiver = await HttpDouble.start();
});
beforeEach(() => {
  receiver.requests.length = 0;
  receiver.handler = () => json({});
});
after(() => receiver.stop());

function notifier(options: object = {}) {
  return createPlugin({
    definition: webhook,
    options: { url: `${receiver.url}/hooks/T0KEN?key=abc`, secret: SECRET, ...options },
    context: fakeContext({ http: httpFactory }),
  });
}

async function publishing(
  events: readonly Notification[],
  options: object = {},
): Promise<RatecatError | undefined> {
  const made = await notifier(options);
  try {
    await made.publish(events, signal);
    return undefined;
  } catch (error) {
    return error as RatecatError;
  } finally {
    await made.stop?.();
  }
}

function posted(): readonly string[] {
  return receiver.requests.map(({ headers }) => String(headers['webhook-id']));
}

it('the signature is that of the Standard Webhooks specification', () => {
  const body = '{"event_type":"ping","data":{"success":true}}';
  assert.equal(
    webhookSignature(SECRET, 'msg_loFOjxBNrRLzqYUf', '1731705121', body),
    'v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=',
  );
  assert.notEqual(
    webhookSignature('another secret value', 'msg_loFOjxBNrRLzqYUf', '1731705121', body),
    'v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=',
  );
});

it('an event is posted as JSON with its id, its signature and the headers of the configuration', async () => {
  const [event] = sampleEvents('a', 1);
  assert.equal(await publishing([event!], { headers: { authorization: 'Bearer x' } }), undefined);
  const [request] = receiver.requests;
  assert.equal(request!.method, 'POST');
  assert.equal(request!.target, '/hooks/T0KEN?key=abc');
  assert.equal(request!.headers['content-type'], 'application/json');
  assert.equal(request!.headers.authorization, 'Bearer x');
  assert.equal(request!.headers['idempotency-key'], event!.id);
  const timestamp = String(request!.headers['webhook-timestamp']);
  assert.equal(
    request!.headers['webhook-signature'],
    webhookSignature(SECRET, event!.id, timestamp, request!.body),
  );
  assert.deepEqual(JSON.parse(request!.body), {
    id: event!.id,
    type: 'rating.period.committed',
    timestamp: '2026-01-01T00:00:00.000Z',
    severity: 'info',
    scope: event!.scope,
    data: event!.payload,
  });
});

it('without a secret nothing is signed', async () => {
  await publishing(sampleEvents('a', 1), { secret: undefined });
  assert.equal(receiver.requests[0]!.headers['webhook-signature'], undefined);
});

it('what may pass is told apart from what will not, and no message shows the path of the URL', async () => {
  const cases = [
    [() => reply(500), 'unavailable'],
    [() => reply(503), 'unavailable'],
    [() => reply(429), 'unavailable'],
    [() => reset(), 'unavailable'],
    [() => raw('this is not HTTP\r\n\r\n'), 'unavailable'],
    [() => reply(301, '', { location: '/hooks/T0KEN' }), 'rejected'],
    [() => reply(401), 'rejected'],
    [() => reply(404), 'rejected'],
    [() => reply(400, 'no such field'), 'data'],
    [() => reply(422), 'data'],
  ] as const;
  for (const [behaviour, kind] of cases) {
    receiver.handler = behaviour;
    const error = await publishing(sampleEvents('a', 1));
    assert.equal(error?.kind, kind, behaviour.toString());
    assert.doesNotMatch(
      JSON.stringify([error?.message, error?.details]),
      /hooks|key=abc/,
      behaviour.toString(),
    );
  }
});

it('the time that a receiver asks for is passed on', async () => {
  receiver.handler = () => reply(429, '', { 'retry-after': '120' });
  assert.equal((await publishing(sampleEvents('a', 1)))?.details.retryAfterSeconds, 120);
});

it('after a failure the events behind it wait, and those confirmed are not posted again', async () => {
  const [a, b] = [sampleEvents('a', 3), sampleEvents('b', 2)];
  const made = await notifier({ concurrency: 1 });
  receiver.handler = ({ headers }) => (headers['webhook-id'] === a[1]!.id ? reply(400) : json({}));
  await assert.rejects(made.publish([...a, ...b], signal), { code: 'RATECAT_NOTIFICATION_REFUSED' });
  assert.deepEqual(posted(), [a[0]!.id, a[1]!.id, b[0]!.id, b[1]!.id], 'the third of a waits for the second');
  receiver.requests.length = 0;
  receiver.handler = () => json({});
  await made.publish([...a, ...b], signal);
  assert.deepEqual(posted(), [a[1]!.id, a[2]!.id]);
  receiver.requests.length = 0;
  await made.publish([a[0]!], signal);
  assert.deepEqual(posted(), [a[0]!.id], 'a batch that went well is forgotten');
  await made.stop?.();
});

it('a receiver that is down is asked once, not once for each event', async () => {
  receiver.handler = () => reply(502);
  const events = ['a', 'b', 'c', 'd', 'e'].flatMap((scope) => sampleEvents(scope, 2));
  assert.equal((await publishing(events, { concurrency: 1 }))?.kind, 'unavailable');
  assert.equal(receiver.requests.length, 1);
});

it('options that cannot work are refused', async () => {
  const problems = async (options: object) =>
    (await webhook.options['~standard'].validate({ url: 'https://host/', ...options })).issues?.length ?? 0;
  assert.equal(await problems({}), 0);
  assert.equal(await problems({ url: 'ftp://host/' }), 1);
  assert.equal(await problems({ secret: 'short' }), 1);
  assert.equal(await problems({ headers: { 'bad name': 'x' } }), 1);
  assert.equal(await problems({ headers: { good: 'line\nbreak' } }), 1);
});
