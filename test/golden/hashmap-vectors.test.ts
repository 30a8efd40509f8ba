import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Decimal, isRatecatError } from '../../core/plugin-api/index.js';
import { fakeContext, RecordingLogger } from '../../core/testkit/fakes.js';
import hashmap from '../../plugins/rating/hashmap/index.js';
import { rulesToJson } from '../../plugins/rating/hashmap/rules.js';
import { frameOf, rulesOf, scopeOf, type VectorCase, vectorCases } from '../unit/hashmap/vectors.js';

const signal = new AbortController().signal;
const strict = hashmap.create({}, fakeContext({ compat: 'strict' }));

function compile(vector: VectorCase, module = strict) {
  return module.compile(JSON.parse(JSON.stringify(rulesToJson(rulesOf(vector)))), scopeOf(vector));
}

async function pricesOf(vector: VectorCase, module = strict): Promise<readonly Decimal[]> {
  return (await compile(vector, module).rate(frameOf(vector), signal)).points.map((point) => point.price);
}

function isNotNumeric(error: unknown): boolean {
  return isRatecatError(error) && error.code === 'RATECAT_HASHMAP_FIELD_NOT_NUMERIC';
}

const priced = vectorCases.filter((vector) => vector.expected.error === undefined);
const refused = vectorCases.filter((vector) => vector.expected.error !== undefined);

test('the file of vectors is complete', () => {
  assert.equal(vectorCases.length, 435);
  assert.ok(refused.length > 0);
});

test('every vector gives the prices of the reference to the last digit', async () => {
  for (const vector of priced) {
    const prices = (await pricesOf(vector)).map(String);
    const expected = vector.expected.prices!.map((price) => Decimal.parse(price).toString());
    assert.deepEqual(prices, expected, `${vector.id}: ${vector.title}`);
  }
});

test('every vector that the reference refuses is refused in strict mode', async () => {
  for (const vector of refused) {
    assert.equal(vector.expected.error, 'field-not-numeric');
    await assert.rejects(() => pricesOf(vector), isNotNumeric, vector.id);
  }
});

test('what the reference refuses is rated and reported in fixed mode', async () => {
  for (const vector of refused) {
    const logger = new RecordingLogger();
    const fixed = hashmap.create({}, fakeContext({ compat: 'fixed', logger }));
    assert.equal((await pricesOf(vector, fixed)).length, vector.points.length);
    assert.ok(logger.lines.length > 0, vector.id);
    assert.ok(logger.lines.every((line) => line.level === 'warn'));
  }
});

test('the explanation of every point ends at the price of the point', async () => {
  for (const vector of priced) {
    const compiled = compile(vector);
    const frame = frameOf(vector);
    const rated = await compiled.rate(frame, signal);
    frame.points.forEach((point, index) => {
      const steps = compiled.explain!(point, frame.period);
      const last = steps.at(-1)!.price.toString();
      assert.equal(last, rated.points[index]!.price.toString(), `${vector.id}, point ${index}`);
    });
  }
});

test('prices of vectors survive rating again and in another order', async () => {
  for (const vector of priced) {
    const compiled = compile(vector);
    const frame = frameOf(vector);
    const reversed = { ...frame, points: frame.points.toReversed() };
    const first = (await compiled.rate(frame, signal)).points.map((point) => String(point.price));
    const backwards = (await compiled.rate(reversed, signal)).points.map((point) => String(point.price));
    assert.deepEqual(backwards.toReversed(), first, vector.id);
    const again = (await compiled.rate(frame, signal)).points.map((point) => String(point.price));
    assert.deepEqual(again, first, vector.id);
  }
});
