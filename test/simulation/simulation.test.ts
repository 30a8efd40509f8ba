import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { ManySeeds } from './many-seeds.js';
import type { Failure } from './world.js';
import { World } from './world.js';

const FIXED_SEED = process.env.SIMULATION_SEED;
const SEEDS = FIXED_SEED === undefined ? Number(process.env.SIMULATION_SEEDS ?? 200) : 1;
const FIRST = Number(FIXED_SEED ?? process.env.SIMULATION_FIRST ?? 1);

describe('simulation', () => {
  it(`rates every period exactly once, whatever goes wrong (${SEEDS} seeds from ${FIRST} on)`, async () => {
    const program = fileURLToPath(new URL('./many-seeds.ts', import.meta.url));
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['--import', 'tsx', program, String(FIRST), String(SEEDS)],
      { env: { ...process.env, NODE_OPTIONS: '' } },
    );
    const { faultsFired, orders } = JSON.parse(stdout) as ManySeeds;
    assert.ok(faultsFired > SEEDS * 10, `only ${faultsFired} faults fired`);
    assert.ok(orders > SEEDS / 2, `only ${orders} orders to rate anew`);
  });

  it('gives the same log and the same database for the same seed', async () => {
    const record = async () => {
      const world = await World.create({ seed: 42, scopes: 3, processors: 2, hours: 24, faults: 1 });
      for (let index = 0; index < 2; index++) world.startProcessor(index);
      await world.runUntil(24 * 3_600_000);
      const tables = [
        'ratecat_scopes',
        'ratecat_sql_frames',
        'ratecat_sql_points',
        'ratecat_reprocess_tasks',
      ];
      const rows = [];
      for (const table of tables) {
        const content = await world.database.query(`SELECT * FROM ${table} ORDER BY 1, 2`);
        // Commit ids are random by intention.
        rows.push(
          content.map((row) => row.map((value) => (/^[0-9a-f-]{36}$/.test(String(value)) ? 'id' : value))),
        );
      }
      const log = world.logger.lines.map((line) => JSON.stringify(line));
      await world.close();
      return { rows, log };
    };
    const first = await record();
    assert.ok(first.log.length > 50);
    assert.deepEqual(await record(), first);
  });

  it('recovers when any single call of a period fails, hangs or is the last of its process', async () => {
    const clean = await World.create({ seed: 7, scopes: 1, processors: 1, hours: 3, faults: 0 });
    clean.startProcessor(0);
    await clean.runUntil(3 * 3_600_000);
    const calls = clean.processors[0]!.calls;
    await clean.close();
    assert.ok(calls > 30, `a period makes ${calls} calls`);
    for (const how of ['error', 'hang', 'crash', 'crash-after'] satisfies Failure[]) {
      for (let call = 1; call <= calls; call++) {
        const options = {
          seed: 7,
          scopes: 1,
          processors: 2,
          hours: 4,
          faults: 0,
          failAt: { call, how },
        } as const;
        const world = await World.create(options);
        await world.run();
        assert.ok(world.faultsFired > 0, `call ${call} was never reached`);
        assert.equal(
          world.clock.sleeping,
          world.processors.some((processor) => processor.dead) ? world.clock.sleeping : 0,
        );
      }
    }
  });

  it('rates a year of hours of one scope in one go', async () => {
    const world = await World.create({
      seed: 3,
      scopes: 1,
      processors: 1,
      hours: 365 * 24,
      faults: 0,
      collectAhead: 8,
    });
    // The whole year has passed before the processor starts: pure catch-up.
    world.clock.wakeNext(365 * 24 * 3_600_000);
    world.startProcessor(0);
    await world.runUntil(365 * 24 * 3_600_000 + 7_200_000);
    await world.checkEverything();
    const { total } = await world.storage.total(
      { visible: 'all', begin: 0, end: world.now, groupby: [{ kind: 'time', unit: 'day' }] },
      new AbortController().signal,
    );
    assert.ok(total >= 365);
    await world.close();
  });

  it('lets a scope that always fails delay nobody else', async () => {
    const lagOfOthers = async (broken: readonly string[]) => {
      const world = await World.create({ seed: 5, scopes: 50, processors: 1, hours: 12, faults: 0, broken });
      world.startProcessor(0);
      await world.runUntil(12 * 3_600_000);
      const states = (await world.states.list()).filter((state) => !broken.includes(state.scope.id));
      const lag = Math.max(...states.map((state) => world.now - state.watermark!));
      await world.close();
      return lag;
    };
    const without = await lagOfOthers([]);
    const withBroken = await lagOfOthers(['scope-7']);
    assert.ok(withBroken <= without * 1.1, `${withBroken} against ${without}`);
  });
});
