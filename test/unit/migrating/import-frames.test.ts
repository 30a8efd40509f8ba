import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { billingCalendar } from '../../../core/daemon/billing-calendar.js';
import { migrate } from '../../../core/database/migrate.js';
import { CORE_MIGRATIONS } from '../../../core/database/migrations/core.js';
import { openDatabase } from '../../../core/database/open-database.js';
import { FrameBuilder } from '../../../core/migrating/frame-builder.js';
import { FramesImport } from '../../../core/migrating/import-frames.js';
import { ProgressStore } from '../../../core/migrating/progress-store.js';
import { compareBytes, type RatedUnit, type UnitPosition } from '../../../core/migrating/rated-rows.js';
import { verify } from '../../../core/migrating/verification.js';
import {
  Decimal,
  type Frame,
  type RatedPoint,
  type Storage,
  type StorageCapabilities,
  type WriteContext,
} from '../../../core/plugin-api/index.js';

const HOUR = 3600;
const NEVER = new AbortController().signal;
const CAPABILITIES: StorageCapabilities = {
  joinsCoreTransaction: false,
  atomicReplace: true,
  exactSums: false,
  metadataFilters: true,
  timeGroups: ['month'],
  filteredDelete: true,
};

function unit(scopeId: string, hour: number): RatedUnit {
  const row = {
    metric: 'cpu',
    unit: 'unit',
    quantity: Decimal.ONE,
    price: Decimal.parse('0.1'),
    description: '{}',
  };
  return { scopeId, period: { begin: hour * HOUR, end: (hour + 1) * HOUR }, rows: [row] };
}

/** Two scopes, so that the position matters. */
const UNITS = Array.from({ length: 1500 }, (_, hour) => ['a', 'b'].map((scope) => unit(scope, hour))).flat();

/** A source in memory. */
const rows = {
  async *units(_range: object, after?: UnitPosition) {
    for (const item of UNITS) {
      const { begin } = item.period;
      const isAfter =
        after === undefined ||
        begin > after.begin ||
        (begin === after.begin && compareBytes(item.scopeId, after.scopeId) > 0);
      if (isAfter) yield item;
    }
  },
};

/** A storage outside the core database that fails after so many writes. */
class OtherStorage {
  readonly capabilities = CAPABILITIES;
  readonly written: string[] = [];
  readonly generations: number[] = [];
  failAfter = Number.POSITIVE_INFINITY;

  async replacePeriod({ scope, period }: Frame<RatedPoint>, { generation }: WriteContext): Promise<void> {
    if (this.written.length >= this.failAfter) throw new Error('killed');
    this.written.push(`${scope.id} ${period.begin / HOUR}`);
    this.generations.push(generation);
  }
}

async function newImport(storage: OtherStorage, frontiers: ReadonlyMap<string, number>) {
  const database = await openDatabase('sqlite::memory:');
  await migrate(database, [{ module: 'core', migrations: CORE_MIGRATIONS }]);
  const make = (range = {}) =>
    new FramesImport({
      rows,
      builder: new FrameBuilder({ source: 'default', scopeKey: 'project_id', metrics: [] }),
      database,
      storage: storage as unknown as Storage,
      progress: new ProgressStore('origin'),
      frontiers,
      range,
      onPoints: () => undefined,
    });
  return { make, database };
}

describe('taking frames over into a storage outside the core database', () => {
  it('goes on behind the last period that is remembered, and leaves none out', async () => {
    const storage = new OtherStorage();
    const { make, database } = await newImport(storage, new Map());
    storage.failAfter = 1234;
    await assert.rejects(make().all(NEVER), /killed/);
    assert.equal(await make().isDone(), false);
    storage.failAfter = Number.POSITIVE_INFINITY;
    const { periods } = await make().all(NEVER);
    // Batches of 500: two were remembered, the third is done again.
    assert.equal(periods, UNITS.length - 1000);
    assert.equal(storage.written.length, UNITS.length + 234);
    assert.deepEqual(
      [...new Set(storage.written)],
      UNITS.map(({ scopeId, period }) => `${scopeId} ${period.begin / HOUR}`),
    );
    assert.equal(await make().isDone(), true);
    assert.equal(await make({ begin: 0 }).isDone(), false, 'another range is another work');
    await database.close();
  });

  it('leaves out what lies beyond the state of a scope, and counts it', async () => {
    const storage = new OtherStorage();
    const { make, database } = await newImport(storage, new Map([['a', 10 * HOUR]]));
    const { periods, beyond, stateless } = await make().all(NEVER);
    assert.deepEqual([periods, beyond], [1510, 1490]);
    assert.deepEqual(stateless, new Map([['b', 1499 * HOUR]]));
    await database.close();
  });

  it('gives writes of a scope rising generations', async () => {
    const storage = new OtherStorage();
    const { make, database } = await newImport(storage, new Map([['b', 0]]));
    await database.transaction((tx) =>
      tx.execute(
        "INSERT INTO ratecat_scopes (source, scope_key, scope_id, fetcher, collector, toggled_at, first_seen) VALUES ('default', 'project_id', 'a', 'f', 'c', 0, 0)",
      ),
    );
    await make().all(NEVER);
    assert.deepEqual(
      storage.generations,
      Array.from({ length: 1500 }, (_, index) => index + 1),
    );
    await database.close();
  });
});

describe('the verification', () => {
  async function verdictOf(stored: { points?: number; price: string }, capabilities = CAPABILITIES) {
    const storage = {
      capabilities,
      async total() {
        const { points = 1, price } = stored;
        const group = ['a', 'cpu', '2026-01-01T00:00:00Z'];
        return {
          total: 1,
          rows: [{ points, quantity: Decimal.ONE, price: Decimal.parse(price), group, begin: 0, end: 0 }],
        };
      },
    };
    const source = {
      async *amounts() {
        const price = Decimal.parse('0.1');
        yield {
          scopeId: 'a',
          begin: Date.UTC(2026, 0, 15) / 1000,
          metric: 'cpu',
          quantity: Decimal.ONE,
          price,
          float: Math.fround(0.1),
        };
      },
    };
    const groups = await verify(
      {
        rows: source,
        storage: storage as unknown as Storage,
        calendar: billingCalendar('UTC'),
        source: 'default',
        scopeKey: 'project_id',
        frontiers: new Map(),
        range: {},
        onPoints: () => undefined,
      },
      NEVER,
    );
    assert.equal(groups.length, 1);
    return groups[0]!;
  }

  it('tells noise of a storage that adds up floats from a difference', async () => {
    assert.equal((await verdictOf({ price: '0.1' })).verdict, 'equal');
    assert.equal((await verdictOf({ price: '0.10000000000000001' })).verdict, 'noise');
    assert.equal((await verdictOf({ price: '0.100001' })).verdict, 'different');
    assert.equal((await verdictOf({ price: '0.1', points: 2 })).verdict, 'different');
  });

  it('takes nothing for noise where sums are exact', async () => {
    const exact = { ...CAPABILITIES, exactSums: true };
    assert.equal((await verdictOf({ price: '0.10000000000000001' }, exact)).verdict, 'different');
  });

  it("says how much CloudKitty's own sum is off", async () => {
    const { floatNoise } = await verdictOf({ price: '0.1' });
    assert.equal(floatNoise.round(3).toString(), '0.00000000149');
  });
});
