import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fakeContext } from '../../core/testkit/fakes.js';
import { testRating } from '../../core/testkit/rating.js';
import noop from '../../plugins/rating/noop.js';
import { frameOf, vectorCases } from '../unit/hashmap/vectors.js';

const samples = vectorCases.slice(0, 3).map((vector) => ({
  name: vector.id,
  rules: null,
  frame: frameOf(vector),
}));

testRating({ test, definition: noop, samples });

test('noop is always enabled and returns the very frame it was given', () => {
  const module = noop.create({}, fakeContext());
  assert.equal(module.alwaysEnabled, true);
  const frame = samples[0]!.frame;
  assert.equal(module.compile(null, undefined).rate(frame, new AbortController().signal), frame);
});
