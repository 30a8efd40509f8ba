import assert from 'node:assert/strict';
import { it } from 'node:test';
import { exitCodeOf } from '../../../core/daemon/exit-codes.js';
import {
  ConfigError,
  DataError,
  FencedError,
  PluginError,
  RejectedError,
  UnavailableError,
} from '../../../core/plugin-api/index.js';

it('the exit code says who must act', () => {
  const kinds = [ConfigError, PluginError, UnavailableError, RejectedError, DataError, FencedError];
  assert.deepEqual(
    kinds.map((Kind) => exitCodeOf(new Kind('X', 'x'))),
    [78, 78, 69, 77, 65, 75],
  );
  assert.equal(exitCodeOf(new TypeError('x')), 70);
});
