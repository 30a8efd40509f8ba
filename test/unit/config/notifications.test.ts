// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the syntax of the files under test.
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { loadConfig } from '../../../core/config/load-config.js';
import { redactConfig } from '../../../core/config/redact.js';
import { brief, folderWith, MINIMAL, problemsOf } from './config-fixtures.js';

type Context = Parameters<typeof folderWith>[0];

async function loading(context: Context, text: string, environment = {}) {
  const folder = await folderWith(context, { 'metrics.yml': 'metrics: {}' });
  const file = join(folder, 'ratecat.yml');
  await writeFile(file, `${text}${MINIMAL}`);
  return loadConfig(file, environment);
}

async function refused(context: Context, text: string): Promise<readonly string[]> {
  return (await problemsOf(() => loading(context, text))).map(brief);
}

it('notifiers have the name of their plugin, every event, and bounds', async (context) => {
  const { config } = await loading(
    context,
    'notifications:\n- {plugin: rabbitmq}\n- {plugin: rabbitmq, name: b, events: [rating.scope.stuck], keep_days: 1}\n',
  );
  const [first, second] = config.notifications.map(({ options: _, ...rest }) => rest);
  assert.deepEqual(first, {
    plugin: 'rabbitmq',
    name: 'rabbitmq',
    events: [
      'rating.period.committed',
      'rating.scope.stuck',
      'rating.scope.recovered',
      'rating.rules.changed',
      'rating.budget.reached',
    ],
    keepEvents: 1_000_000,
    keepDays: 31,
  });
  assert.deepEqual([second?.name, second?.events, second?.keepDays], ['b', ['rating.scope.stuck'], 1]);
});

it('amounts and thresholds of budgets are exact', async (context) => {
  const { config } = await loading(
    context,
    [
      'budgets:',
      '- {scope: "*", amount: 0.1000000000000000000000000001}',
      '- {name: b, scope: a, amount: "12345678901234567890.5", thresholds: [100, 33.3, 100.0, 7]}',
      '- {name: c, scope: a, scope_key: k, amount: "${AMOUNT}", period: day, thresholds: [], forecast: true}\n',
    ].join('\n'),
    { AMOUNT: '99.90' },
  );
  assert.deepEqual(
    config.budgets.map(({ name, amount, thresholds }) => [name, String(amount), thresholds.map(String)]),
    [
      ['*', '0.1000000000000000000000000001', ['100']],
      ['b', '12345678901234567890.5', ['7', '33.3', '100']],
      ['c', '99.9', []],
    ],
  );
  const { name: _, amount: __, thresholds: ___, ...last } = config.budgets[2]!;
  assert.deepEqual(last, { scope: 'a', scopeKey: 'k', period: 'day', forecast: true });
});

it('what is wrong is found at its place, with what was meant', async (context) => {
  assert.deepEqual(
    await refused(
      context,
      [
        'notifications:',
        '- plugin: rabbitmq',
        '  events: [rating.scope.stuk]',
        '- {plugin: webhook, keep_evnts: 5}',
        'budgets:',
        '- {scope: "*", amount: 0}',
        '- {scope: "*", amount: lots}',
        '- {scope: "*"}',
        '- {scope: "*", amount: 5, thresholds: [-1], period: week}\n',
      ].join('\n'),
    ),
    [
      "3:12 notifications[0].events[0]: must be one of rating.period.committed, rating.scope.stuck, rating.scope.recovered, rating.rules.changed, rating.budget.reached, got 'rating.scope.stuk' (did you mean 'rating.scope.stuck'?)",
      "4:21 notifications[1].keep_evnts: unknown key 'keep_evnts' (did you mean 'keep_events'?)",
      "6:24 budgets[0].amount: must be a number above 0, got '0' (such as 1500 or 99.90)",
      "7:24 budgets[1].amount: must be a number above 0, got 'lots' (such as 1500 or 99.90)",
      '8:3 budgets[2].amount: must be a number above 0 (such as 1500 or 99.90)',
      "9:40 budgets[3].thresholds[0]: must be a percentage above 0, up to 10000, got '-1'",
      "9:53 budgets[3].period: must be one of month, day, got 'week'",
    ],
  );
});

it('names are used once', async (context) => {
  assert.deepEqual(
    await refused(
      context,
      [
        'notifications:',
        '- {plugin: webhook}',
        '- {plugin: rabbitmq, name: webhook}',
        'budgets:',
        '- {name: a, scope: x, amount: 1}',
        '- {name: a, scope: y, amount: 1}\n',
      ].join('\n'),
    ),
    [
      "3:28 notifications[1].name: the name 'webhook' is already used in line 2 (give each notifier a 'name' of its own)",
      "6:10 budgets[1].name: 'a' is already used in line 5 (each budget needs a name of its own)",
    ],
  );
});

it('the configuration in effect shows both, without what is secret', async (context) => {
  const { config } = await loading(
    context,
    'notifications:\n- {plugin: webhook, options: {secret: hush-hush}}\nbudgets:\n- {scope: x, amount: 1.50, thresholds: [33.3]}\n',
  );
  const shown = redactConfig(config) as {
    readonly notifications: readonly object[];
    readonly budgets: unknown;
  };
  assert.deepEqual((shown.notifications[0] as { readonly options: object }).options, { secret: '***' });
  assert.deepEqual(shown.budgets, [
    { name: 'x', scope: 'x', amount: '1.5', period: 'month', thresholds: [33.3], forecast: false },
  ]);
});
