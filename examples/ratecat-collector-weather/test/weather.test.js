// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fakeContext, testCollector } from 'ratecat/testkit';
import definition from '../src/index.js';

const NOON = Date.UTC(2025, 5, 1, 12) / 1000;
const HOUR = { begin: NOON, end: NOON + 3600 };
const SCOPE = { key: 'project_id', id: 'meadow' };
const OPTIONS = { stations: { meadow: ['north', 'south'] } };
const signal = new AbortController().signal;

// Everything that the host relies on, checked by the host's own kit.
testCollector({
  test,
  definition,
  options: () => OPTIONS,
  metric: {
    name: 'rain',
    unit: 'mm',
    groupby: ['project_id'],
    metadata: ['intensity'],
    extra: { intensity: 'all' },
  },
  scope: SCOPE,
  period: HOUR,
  expected: 2,
});

/** @param {unknown} given */
async function weather(given = OPTIONS) {
  const result = await definition.options['~standard'].validate(given);
  if (result.issues !== undefined) assert.fail(JSON.stringify(result.issues));
  return definition.create(result.value, fakeContext());
}

/**
 * @param {string} name
 * @param {'all' | 'heavy'} intensity
 */
function metric(name, intensity = 'all') {
  const groupby = ['station', 'project_id'];
  return {
    name,
    ratedName: name,
    unit: '',
    groupby,
    metadata: [],
    description: undefined,
    options: { intensity },
  };
}

/** @param {import('ratecat/plugin-api').Collected} collected */
function total(collected) {
  if (collected.kind !== 'measured') return assert.fail(collected.kind);
  return collected.samples.map(({ value }) => value).reduce((a, b) => a.plus(b));
}

test('the rain of an hour is the rain of its minutes, to the last thousandth', async () => {
  const collector = await weather();
  const hour = total(await collector.collect({ metric: metric('rain'), scope: SCOPE, period: HOUR }, signal));
  let minutes = hour.minus(hour);
  for (let begin = HOUR.begin; begin < HOUR.end; begin += 60) {
    const period = { begin, end: begin + 60 };
    minutes = minutes.plus(
      total(await collector.collect({ metric: metric('rain'), scope: SCOPE, period }, signal)),
    );
  }
  assert.ok(hour.compare(minutes) === 0 && !hour.isZero, `${hour} and ${minutes}`);
});

test('heavy rain is a part of all rain', async () => {
  const collector = await weather();
  const all = total(await collector.collect({ metric: metric('rain'), scope: SCOPE, period: HOUR }, signal));
  const heavy = total(
    await collector.collect({ metric: metric('rain', 'heavy'), scope: SCOPE, period: HOUR }, signal),
  );
  assert.ok(heavy.compare(all) < 0 && !heavy.isZero);
});

test('a scope without stations has no weather, and a time before the stations none that is known', async () => {
  const elsewhere = { key: 'project_id', id: 'elsewhere' };
  const request = { metric: metric('rain'), period: HOUR };
  assert.deepEqual(await (await weather()).collect({ ...request, scope: elsewhere }, signal), {
    kind: 'nothing',
  });
  const young = await weather({ ...OPTIONS, since: NOON + 10 });
  assert.equal((await young.collect({ ...request, scope: SCOPE }, signal)).kind, 'unmeasurable');
  assert.equal(await young.earliest?.(SCOPE, signal), NOON + 10);
});

test('the weather of tomorrow is asked for again later, that of an unknown kind never', async () => {
  const collector = await weather();
  const now = fakeContext().clock.now() / 1000;
  const tomorrow = { metric: metric('rain'), scope: SCOPE, period: { begin: now, end: now + 3600 } };
  await assert.rejects(collector.collect(tomorrow, signal), { code: 'WEATHER_NOT_YET', retryable: true });
  const odd = { metric: metric('snow'), scope: SCOPE, period: HOUR };
  await assert.rejects(collector.collect(odd, signal), { code: 'WEATHER_METRIC_UNKNOWN', retryable: false });
});

test('every wrong option is named', async () => {
  const wrong = { stations: { meadow: [] }, seed: 1, since: 'today', colour: 'blue' };
  const result = await definition.options['~standard'].validate(wrong);
  const paths = (result.issues ?? []).map(({ path }) => (path ?? []).join('.'));
  assert.deepEqual(paths.sort(), ['colour', 'seed', 'since', 'stations.meadow']);
});
