import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { shortestSingle } from '../../../core/migrating/single-float.js';
import { Decimal } from '../../../core/plugin-api/index.js';
import { sampleSeed } from '../../../core/testkit/samples.js';
import { SeededRandom } from '../../simulation/seeded-random.js';

const SEED = sampleSeed();

describe(`numbers of single precision (seed ${SEED})`, () => {
  it('come back as they were written with up to six digits', () => {
    const random = new SeededRandom(SEED);
    for (let round = 0; round < 20_000; round++) {
      const coefficient = Math.floor(random.next() * 999_999) + 1;
      const written = Decimal.of(BigInt(coefficient), Math.floor(random.next() * 20) - 12);
      const single = Math.fround(Number(written.toString()));
      assert.equal(Decimal.parse(shortestSingle(single)).toString(), written.toString());
    }
  });

  it('are told apart, whatever they are', () => {
    const random = new SeededRandom(SEED);
    const floats = new Float32Array(1);
    const bits = new Uint32Array(floats.buffer);
    for (let round = 0; round < 20_000; round++) {
      bits[0] = Math.floor(random.next() * 2 ** 32);
      const single = floats[0]!;
      if (!Number.isFinite(single)) continue;
      assert.equal(Math.fround(Number(shortestSingle(single))), single);
    }
  });
});
