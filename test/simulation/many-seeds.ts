import { World } from './world.js';

// A program of its own, as the long run: the test runner's hooks on every promise would take most of the time.
const [first, count] = process.argv.slice(2).map(Number) as [number, number];

/** What this program prints, as JSON. A seed that goes wrong ends it with the seed and how to replay it. */
export interface ManySeeds {
  readonly faultsFired: number;
  readonly orders: number;
}

let faultsFired = 0;
let orders = 0;
for (let seed = first; seed < first + count; seed++) {
  const world = await World.create({ seed, scopes: 3, processors: 3, hours: 48, faults: 1 });
  await world.run();
  faultsFired += world.faultsFired;
  orders += world.orders;
}
process.stdout.write(JSON.stringify({ faultsFired, orders } satisfies ManySeeds));
