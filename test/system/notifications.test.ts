import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, it } from 'node:test';
import { openDatabase } from '../../core/database/open-database.js';
import { Decimal } from '../../core/plugin-api/index.js';
import { ratecat } from '../support/daemon.js';
import { describeOnEngines } from '../support/engines.js';
import { serviceInstalled } from '../support/require-service.js';
import { type Rabbitmq, startRabbitmq } from '../support/services/rabbitmq.js';
import {
  clearAway,
  FIXTURES,
  lastDue,
  periodsStored,
  type SmallDaemon,
  smallDaemon,
  startDaemon,
  waitUntil,
} from '../support/small-daemon.js';
import { storedPrices } from '../support/stored-prices.js';

const HOUR = 3600;
const SCOPES = ['alpha', 'beta'];

interface Told {
  readonly id: string;
  readonly type: string;
  readonly payload: Readonly<Record<string, string>> & { readonly scope?: { readonly id: string } };
}

if (serviceInstalled('rabbitmq')) {
  let broker: Rabbitmq;
  before(async () => {
    broker = await startRabbitmq();
  });
  after(async () => {
    await clearAway();
    await broker?.stop();
  });

  let serial = 0;
  /** A topic of its own for every test. */
  function toBroker(topic = `t${++serial}`) {
    const options = { transport_url: broker.transportUrl, topics: [topic] };
    return { topic, notifications: [{ plugin: 'rabbitmq', options }] };
  }

  async function told(topic: string, priorities = ['info']): Promise<readonly Told[]> {
    const found: Told[] = [];
    for (const priority of priorities) {
      if ((await broker.count(`${topic}.${priority}`)) === undefined) continue;
      for (const { body } of await broker.drain(`${topic}.${priority}`)) {
        const message = JSON.parse(JSON.parse(body)['oslo.message']);
        found.push({ id: message.message_id, type: message.event_type, payload: message.payload });
      }
    }
    return found;
  }

  /** Every stored period was told, none else, and the periods of each scope in their order when they came first. */
  async function assertEveryPeriodTold({ url }: SmallDaemon, messages: readonly Told[]): Promise<void> {
    const stored = await storedPrices(url);
    for (const scope of SCOPES) {
      const rows = stored.filter((row) => row.scope === scope);
      const wanted = [...new Set(rows.map(({ begin }) => begin))].map((begin) => {
        const prices = rows.filter((row) => row.begin === begin).map(({ price }) => Decimal.parse(price));
        return `${begin} ${prices.reduce((sum, price) => sum.plus(price), Decimal.ZERO)}`;
      });
      const ofScope = messages.filter(
        ({ type, payload }) => type === 'rating.period.committed' && payload.scope?.id === scope,
      );
      const first = new Map(ofScope.toReversed().map((message) => [message.id, message]));
      const found = [...first.values()]
        .toReversed()
        .map(({ payload }) => `${Date.parse(payload.begin!) / 1000} ${payload.price}`);
      assert.deepEqual(found, wanted, `periods of ${scope}`);
    }
  }

  async function waiting({ url }: SmallDaemon): Promise<number> {
    const database = await openDatabase(url);
    try {
      const rows = await database.query('SELECT COUNT(*) FROM ratecat_outbox');
      return Number(rows[0]![0]);
    } finally {
      await database.close();
    }
  }

  if (serviceInstalled('oslo-messaging'))
    it('what waited while the broker was down reaches a listener of OpenStack, in order, after kill -9', async () => {
      const { topic, notifications } = toBroker();
      await broker.kill();
      const events = ['rating.period.committed'];
      const daemon = await smallDaemon({
        scopes: SCOPES,
        change: { notifications: notifications.map((notifier) => ({ ...notifier, events })) },
      });
      const first = startDaemon(daemon);
      await waitUntil('all is rated', async () => (await periodsStored(daemon.url)) >= 40, { daemon: first });
      await first.until(/notifications are not taken/);
      await first.stop('SIGKILL');
      const stored = await periodsStored(daemon.url);
      assert.equal(await waiting(daemon), stored, 'committed and not published');
      await broker.start();

      const listener = spawn(
        '/usr/bin/python3',
        [join(FIXTURES, '../support/oslo-listener.py'), broker.transportUrl, 'cloudkitty', topic],
        { stdio: ['pipe', 'pipe', 'inherit'], env: { PATH: '/usr/bin:/bin', PYTHONWARNINGS: 'ignore' } },
      );
      const exited = once(listener, 'exit');
      const messages: Told[] = [];
      createInterface({ input: listener.stdout }).on('line', (line) => {
        const { event_type, payload, metadata, priority, publisher_id } = JSON.parse(line);
        assert.equal(priority, 'info');
        assert.match(publisher_id, /^ratecat\./);
        messages.push({ id: metadata.message_id, type: event_type, payload });
      });
      const second = startDaemon(daemon);
      try {
        await waitUntil('everything has arrived', () => messages.length >= stored, { daemon: second });
      } finally {
        listener.stdin.end();
        await exited;
      }
      await second.stop();
      assert.equal(await waiting(daemon), 0);
      assert.doesNotMatch(
        second.stderr + first.stderr + first.stdout,
        /p%40ss|p@ss/,
        'the password is in no log',
      );
      await assertEveryPeriodTold(daemon, messages);
    });

  describeOnEngines('notifications of a daemon that is killed again and again', (engine) => {
    it('are all delivered, each scope in order, and every budget alert once', async () => {
      const { topic, notifications } = toBroker();
      const periods = 400;
      const daemon = await smallDaemon({
        scopes: SCOPES,
        url: await engine.newDatabase(),
        start: lastDue() - periods * HOUR,
        collectDelayMs: 5,
        change: {
          notifications,
          processor: { lease_seconds: 1, workers: engine.name === 'sqlite' ? 1 : 2 },
          budgets: [
            { scope: '*', amount: '1000.5', thresholds: [50, 100] },
            { name: 'daily', scope: 'alpha', period: 'day', amount: 1 },
          ],
        },
      });
      const messages: Told[] = [];
      for (const share of [0.1, 0.3, 0.6]) {
        const running = startDaemon(daemon);
        await waitUntil(
          'a part is rated',
          async () => (await periodsStored(daemon.url)) >= share * 2 * periods,
          {
            daemon: running,
          },
        );
        await running.stop('SIGKILL');
        if (share === 0.3) await broker.kill();
        if (share === 0.6) {
          await broker.start();
          messages.push(...(await told(topic, ['info', 'warn'])));
        }
      }
      const last = startDaemon(daemon);
      const isDone = async () =>
        (await periodsStored(daemon.url)) >= 2 * periods && (await waiting(daemon)) === 0;
      await waitUntil('everything is delivered', isDone, { daemon: last, timeoutMs: 90_000 });
      await last.stop();
      messages.push(...(await told(topic, ['info', 'warn'])));
      await assertEveryPeriodTold(daemon, messages);

      const sums = new Map<string, Decimal>();
      for (const { scope, begin, price } of await storedPrices(daemon.url)) {
        const time = new Date(begin * 1000).toISOString();
        for (const key of [`* ${scope} ${time.slice(0, 7)}`, `daily ${scope} ${time.slice(0, 10)}`])
          sums.set(key, (sums.get(key) ?? Decimal.ZERO).plus(Decimal.parse(price)));
      }
      const wanted = [...sums].flatMap(([key, spent]) => {
        const reaches = (amount: string) => spent.compare(Decimal.parse(amount)) >= 0;
        if (key.startsWith('daily')) return key.includes('alpha') && reaches('1') ? [`${key} 100`] : [];
        return [...(reaches('500.25') ? [`${key} 50`] : []), ...(reaches('1000.5') ? [`${key} 100`] : [])];
      });
      const alerts = new Map(
        messages
          .filter(({ type }) => type === 'rating.budget.reached')
          .map(({ id, payload }) => {
            const { budget, begin, period, threshold_percent: percent } = payload;
            const slice = begin!.slice(0, period === 'month' ? 7 : 10);
            return [id, `${budget} ${payload.scope!.id} ${slice} ${percent}`];
          }),
      );
      assert.deepEqual([...alerts.values()].sort(), wanted.sort());
      assert.ok(wanted.length >= 4);
    });
  });

  it('a scope that is stuck, and well again, and a change of rules are told', async () => {
    const { topic, notifications } = toBroker();
    const flag = join(tmpdir(), `ratecat-down-${process.pid}`);
    const daemon = await smallDaemon({
      scopes: ['alpha'],
      start: lastDue() - 3 * HOUR,
      change: {
        notifications,
        retry: { first_seconds: 1, max_seconds: 1, stuck_after: 2 },
        collector: { plugin: join(FIXTURES, 'failing-collector.mjs'), options: { while_exists: flag } },
      },
    });
    await writeFile(flag, '');
    const running = startDaemon(daemon);
    await running.until(/scope is stuck/);
    await rm(flag);
    const messages: Told[] = [];
    await waitUntil(
      'it is well again',
      async () => {
        messages.push(...(await told(topic, ['error', 'info'])));
        return messages.some(({ type }) => type === 'rating.scope.recovered');
      },
      { daemon: running },
    );
    const stuck = messages.filter(({ type }) => type === 'rating.scope.stuck');
    assert.equal(stuck.length, 1);
    assert.equal(stuck[0]!.payload.reason, "Metric 'cpu': the meter is down");
    assert.equal(stuck[0]!.payload.code, 'RATECAT_TEST_DOWN');
    const imported = messages.filter(({ type }) => type === 'rating.rules.changed');
    assert.deepEqual(
      imported.map(({ payload }) => [payload.module, payload.action, payload.author]),
      [['hashmap', 'import', 'configuration']],
    );
    const rules = join(daemon.folder, 'more.yml');
    await writeFile(rules, 'services: {ram: {mappings: [{type: flat, cost: "2", start: "2000-01-01"}]}}\n');
    assert.equal((await ratecat('rules', 'import', rules, '--config', daemon.config)).code, 0);
    await waitUntil(
      'the change is told',
      async () => (await told(topic)).some(({ type }) => type === 'rating.rules.changed'),
      { daemon: running },
    );
    await running.stop();
  });

  it('the configuration is printed without the password, and what is wrong in it is found at its place', async () => {
    const { notifications } = toBroker();
    const { config } = await smallDaemon({ change: { notifications } });
    const printed = await ratecat('config', 'check', '--print', '--config', config);
    assert.equal(printed.code, 0);
    assert.match(printed.stdout, /transport_url: "?\*\*\*/);
    const wrong = await smallDaemon({
      change: {
        notifications: [
          { plugin: 'rabbitmq', events: ['rating.period.comitted'], options: { transport_url: 'x' } },
        ],
        budgets: [{ scope: '*', amout: 5 }],
      },
    });
    const refused = await ratecat('config', 'check', '--config', wrong.config);
    assert.equal(refused.code, 78);
    assert.match(refused.stdout, /ratecat\.yml:\d+:\d+.*events.*did you mean 'rating\.period\.committed'/s);
    assert.match(refused.stdout, /ratecat\.yml:\d+:\d+.*amout.*did you mean 'amount'/s);
  });
}
