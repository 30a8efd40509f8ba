import assert from 'node:assert/strict';
import { it } from 'node:test';
import { DataError, RejectedError, UnavailableError } from '../../../core/plugin-api/index.js';
import { sampleSeed } from '../../../core/testkit/samples.js';
import { SeededRandom } from '../../simulation/seeded-random.js';
import { DeliveryWorld } from './world.js';

const down = () => {
  throw new UnavailableError('RATECAT_TEST_DOWN', 'the receiver is down');
};

it('events are delivered in their order, and removed', async () => {
  const world = await DeliveryWorld.create();
  await world.add('a', 250);
  await world.while([world.deliverer()], () => world.until(async () => (await world.waiting()) === 0));
  assert.deepEqual(
    world.serials,
    Array.from({ length: 250 }, (_, index) => index + 1),
  );
  assert.deepEqual(
    world.receiver.attempts.map(({ events }) => events),
    [100, 100, 50],
  );
  assert.equal(world.metrics.counts.delivered, 250);
});

it('an event arrives as it was written', async () => {
  const world = await DeliveryWorld.create();
  await world.database.transaction((tx) =>
    world.outbox.add(tx, {
      type: 'rating.rules.changed',
      severity: 'warn',
      scope: undefined,
      payload: { text: 'ünïcode', nothing: undefined, list: [1, null] },
    }),
  );
  await world.while([world.deliverer()], () => world.until(() => world.receiver.arrived.length > 0));
  const [event] = world.receiver.arrived;
  assert.match(event!.id, /^[0-9a-f]{8}-/);
  assert.deepEqual(
    { ...event, id: undefined },
    {
      id: undefined,
      type: 'rating.rules.changed',
      severity: 'warn',
      at: Date.UTC(2026, 0, 1),
      scope: undefined,
      payload: { text: 'ünïcode', list: [1, null] },
    },
  );
});

it('a receiver that is down is asked at growing distances, and then gets everything', async () => {
  const world = await DeliveryWorld.create();
  world.receiver.behave = down;
  await world.add('a', 3);
  await world.while([world.deliverer({ leaseSeconds: 3600 })], async () => {
    await world.until(() => world.receiver.attempts.length === 10);
    const times = world.receiver.attempts.map(({ at }) => at);
    const pauses = times.slice(1).map((at, index) => (at - times[index]!) / 1000);
    assert.deepEqual(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    world.receiver.behave = () => undefined;
    await world.until(async () => (await world.waiting()) === 0);
  });
  assert.deepEqual(world.serials, [1, 2, 3]);
  assert.equal(world.metrics.counts.RATECAT_TEST_DOWN, 10);
  assert.ok(world.logger.lines.some(({ message }) => message === 'notifications are delivered again'));
});

it('the time that a receiver asks for is waited', async () => {
  const world = await DeliveryWorld.create();
  world.receiver.behave = () => {
    throw new UnavailableError('RATECAT_TEST_BUSY', 'later', { details: { retryAfterSeconds: 300 } });
  };
  await world.add('a');
  await world.while([world.deliverer({ leaseSeconds: 3600 })], () =>
    world.until(() => world.receiver.attempts.length === 2),
  );
  const [first, second] = world.receiver.attempts;
  assert.equal(second!.at - first!.at, 300_000);
});

it('a refusal that a person must mend keeps every event, and is an error in the log', async () => {
  const world = await DeliveryWorld.create();
  world.receiver.behave = () => {
    throw new RejectedError('RATECAT_TEST_REFUSED', 'wrong password');
  };
  await world.add('a', 2);
  await world.while([world.deliverer({ leaseSeconds: 3600 })], () =>
    world.until(() => world.receiver.attempts.length === 3),
  );
  assert.equal(await world.waiting(), 2);
  const errors = world.logger.lines.filter(({ level }) => level === 'error');
  assert.equal(errors[0]?.fields.code, 'RATECAT_TEST_REFUSED');
  assert.equal(errors[0]?.fields.retrySeconds, 60);
});

it('an event that is refused for good is set aside with the reason, and the others go on', async () => {
  const world = await DeliveryWorld.create();
  await world.add('a', 20);
  world.receiver.behave = (events) => {
    if (events.some(({ payload }) => payload.serial === 7))
      throw new DataError('RATECAT_TEST_BAD', 'no seven');
  };
  await world.while([world.deliverer()], () => world.until(async () => (await world.waiting()) === 0));
  assert.deepEqual(
    world.serials,
    Array.from({ length: 20 }, (_, index) => index + 1).filter((serial) => serial !== 7),
  );
  const rows = await world.database.query('SELECT reason FROM ratecat_outbox WHERE refused = 1');
  assert.deepEqual(rows, [['no seven']]);
  assert.equal(world.metrics.counts.refused, 1);
  assert.ok(world.logger.lines.some(({ level, fields }) => level === 'error' && fields.error === 'no seven'));
});

it('more events than are kept: the oldest go, and log and metric say so', async () => {
  const world = await DeliveryWorld.create();
  world.receiver.behave = down;
  await world.add('a', 1200);
  await world.while([world.deliverer({ keepEvents: 100 })], () =>
    world.until(async () => (await world.waiting()) === 100),
  );
  assert.equal(world.metrics.counts.overflow, 1100);
  assert.equal(world.metrics.counts.waiting, 100);
  const said = world.logger.lines.find(({ message }) => message.startsWith('notifications were dropped'));
  assert.equal(said?.level, 'error');
  assert.equal(said?.fields.dropped, 1100);
  world.receiver.behave = () => undefined;
  await world.while([world.deliverer({ owner: 'two' })], () =>
    world.until(async () => (await world.waiting()) === 0),
  );
  assert.equal(world.serials[0], 1101, 'the newest are kept');
});

it('events that wait for longer than they are kept go, younger ones stay', async () => {
  const world = await DeliveryWorld.create();
  world.receiver.behave = down;
  await world.add('a', 5);
  world.clock.jumpWallClock(3 * 86_400_000);
  await world.add('a', 2);
  await world.while([world.deliverer({ keepSeconds: 2 * 86_400 })], () =>
    world.until(() => world.metrics.counts.overflow === 5),
  );
  assert.equal(await world.waiting(), 2);
});

it('of two processes one delivers, and the other takes over when it dies', async () => {
  const world = await DeliveryWorld.create();
  const [owner] = [
    async () => (await world.database.query('SELECT owner FROM ratecat_outbox_leases'))[0]?.[0],
  ];
  await world.while([world.deliverer(), world.deliverer({ owner: 'two' })], async () => {
    await world.until(async () => (await owner()) !== null && (await owner()) !== undefined);
    const first = await owner();
    const end = world.clock.monotonic() + 600_000;
    await world.until(async () => {
      assert.equal(await owner(), first, 'nobody takes it from one that lives');
      return world.clock.monotonic() > end;
    });
  });
  assert.equal(await owner(), null, 'it is given back at the end');
  // A process that was killed gives nothing back.
  await world.database.transaction((tx) => tx.execute("UPDATE ratecat_outbox_leases SET owner = 'dead'"));
  await world.add('a');
  const begin = world.clock.monotonic();
  await world.while([world.deliverer()], () => world.until(async () => (await world.waiting()) === 0));
  const waited = world.receiver.attempts.at(-1)!.at - begin;
  assert.ok(waited >= 60_000 && waited <= 62_000, `${waited} ms`);
});

it('a delivery under way is given up when the right to deliver is lost', async () => {
  const world = await DeliveryWorld.create();
  await world.add('a');
  let given: AbortSignal | undefined;
  world.receiver.behave = (_, signal) =>
    new Promise((_resolve, reject) => {
      given = signal;
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
  await world.while([world.deliverer()], async () => {
    await world.until(() => given !== undefined);
    await world.database.transaction((tx) =>
      tx.execute("UPDATE ratecat_outbox_leases SET owner = 'other', fence = fence + 1"),
    );
    await world.until(() => given!.aborted);
  });
  assert.equal(await world.waiting(), 1, 'it is for the other one to deliver');
});

it('whatever fails, every event arrives, and those of a scope in their order', async () => {
  const seed = sampleSeed();
  const random = new SeededRandom(seed);
  const world = await DeliveryWorld.create();
  const scopes = ['a', 'b', 'c'];
  const bySerial = new Map<number, string>();
  world.receiver.behave = (events) => {
    if (random.next() < 0.6) return;
    // A part arrives before the failure.
    world.receiver.arrived.push(...events.slice(0, Math.floor(random.next() * events.length)));
    throw random.next() < 0.5 ? new UnavailableError('RATECAT_TEST_DOWN', 'down') : new Error('a bug');
  };
  let serial = 0;
  for (let round = 0; round < 30; round++) {
    for (let i = 0; i < 20; i++) {
      const scope = scopes[Math.floor(random.next() * scopes.length)]!;
      await world.add(scope);
      bySerial.set(++serial, scope);
    }
    const owners = ['one', 'two'].map((owner) => world.deliverer({ owner, random: () => random.next() }));
    const steps = Math.floor(random.next() * 20);
    let step = 0;
    await world.while(owners, () => world.until(() => step++ >= steps));
  }
  world.receiver.behave = () => undefined;
  await world.while([world.deliverer()], () => world.until(async () => (await world.waiting()) === 0));
  for (const scope of scopes) {
    const wanted = [...bySerial].filter(([, of]) => of === scope).map(([of]) => of);
    const first = [...new Set(world.serials.filter((of) => bySerial.get(of) === scope))];
    assert.deepEqual(first, wanted, `scope ${scope}, RATECAT_SEED=${seed}`);
  }
});
