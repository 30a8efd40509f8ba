import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { LongRun } from './long-run.js';

/** Ten in a nightly run; two show already what a period leaves behind. */
const YEARS = Number(process.env.SIMULATION_YEARS ?? 2);
/** One KiB per 1,000 periods over ten years; in shorter runs the compiler still adds several bytes per period by itself. */
const MAX_BYTES_PER_PERIOD = YEARS >= 10 ? 1.024 : 15;

describe('a long catch-up', () => {
  it(`rates ${YEARS} years of hours in one go, and no period leaves anything in memory`, async (test) => {
    const program = fileURLToPath(new URL('./long-run.ts', import.meta.url));
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['--import', 'tsx', program, String(YEARS * 365 * 24)],
      { env: { ...process.env, NODE_OPTIONS: '' } },
    );
    const { bytesPerPeriod, secondsToRate } = JSON.parse(stdout) as LongRun;
    test.diagnostic(
      `${YEARS} years in ${secondsToRate.toFixed(1)} s, ${bytesPerPeriod.toFixed(2)} bytes a period`,
    );
    assert.ok(
      bytesPerPeriod < MAX_BYTES_PER_PERIOD,
      `${bytesPerPeriod.toFixed(2)} bytes stay of each period`,
    );
  });
});
