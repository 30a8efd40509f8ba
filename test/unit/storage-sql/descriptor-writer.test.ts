import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { migrate } from '../../../core/database/migrate.js';
import { openDatabase } from '../../../core/database/open-database.js';
import type { Descriptor, SqlDatabase } from '../../../core/plugin-api/index.js';
import { sampleDescriptor } from '../../../core/testkit/samples.js';
import { DescriptorWriter } from '../../../plugins/storage/sql/descriptor-writer.js';
import { MIGRATIONS } from '../../../plugins/storage/sql/schema.js';
import { lockScope } from '../../../plugins/storage/sql/scopes.js';

const SCOPE = { key: 'project_id', id: 'alpha' };
const never = new AbortController().signal;
const UNDONE = new Error('undone on purpose');

async function usingDatabase(body: (database: SqlDatabase) => Promise<void>): Promise<void> {
  const database = await openDatabase('sqlite::memory:');
  try {
    await migrate(database, [{ module: 'storage-sql', migrations: MIGRATIONS }]);
    await body(database);
  } finally {
    await database.close();
  }
}

function descriptors(...ids: readonly string[]): readonly Descriptor[] {
  return ids.map((id) => sampleDescriptor({ groupby: { id } }));
}

/** Ids, and how many statements on the descriptor table it took to find them. */
async function resolve(
  database: SqlDatabase,
  writer: DescriptorWriter,
  wanted: readonly Descriptor[],
  end: 'commit' | 'rollback' = 'commit',
  id = SCOPE.id,
): Promise<{ ids: readonly number[]; statements: number }> {
  let answer: { ids: readonly number[]; statements: number } | undefined;
  try {
    await database.transaction(async (tx) => {
      let statements = 0;
      const scope = await lockScope(tx, 'openstack', { ...SCOPE, id });
      const counted = {
        dialect: tx.dialect,
        execute: tx.execute.bind(tx),
        query: (...call: Parameters<typeof tx.query>) => {
          statements++;
          return tx.query(...call);
        },
        insertRows: (...call: Parameters<typeof tx.insertRows>) => {
          statements++;
          return tx.insertRows(...call);
        },
      };
      answer = { ids: await writer.resolve(counted, scope, wanted, never), statements };
      if (end === 'rollback') throw UNDONE;
    });
  } catch (error) {
    if (error !== UNDONE) throw error;
  }
  return answer!;
}

async function assertStored(database: SqlDatabase, ids: readonly number[], wanted: readonly Descriptor[]) {
  const rows = await database.query('SELECT id, groupby FROM ratecat_sql_descriptors');
  const stored = new Map(rows.map(([id, text]) => [Number(id), String(text)]));
  assert.deepEqual(
    ids.map((id) => stored.get(id)),
    wanted.map(({ groupby }) => JSON.stringify(['id', groupby.get('id')])),
  );
}

describe('descriptor ids', () => {
  it('need no statement once they are known', () =>
    usingDatabase(async (database) => {
      const writer = new DescriptorWriter();
      const wanted = descriptors('a', 'b', 'c');
      const first = await resolve(database, writer, wanted);
      assert.ok(first.statements > 0);
      assert.deepEqual(await resolve(database, writer, wanted), { ids: first.ids, statements: 0 });
      await assertStored(database, first.ids, wanted);
    }));

  it('are the same for equal descriptors, and looked up in few statements by a new process', () =>
    usingDatabase(async (database) => {
      const ids = Array.from({ length: 600 }, (_, index) => `server-${index}`);
      const first = await resolve(database, new DescriptorWriter(), descriptors(...ids, ...ids));
      assert.deepEqual(first.ids.slice(0, 600), first.ids.slice(600));
      const again = await resolve(database, new DescriptorWriter(), descriptors(...ids));
      assert.deepEqual(again.ids, first.ids.slice(0, 600));
      assert.ok(again.statements <= 3, `${again.statements} statements`);
    }));

  it('of a transaction that was rolled back are forgotten', () =>
    usingDatabase(async (database) => {
      const writer = new DescriptorWriter();
      const wanted = descriptors('a', 'b');
      const known = await resolve(database, writer, wanted);
      const [c, d] = descriptors('c', 'd') as [Descriptor, Descriptor];
      await resolve(database, writer, [...wanted, c, d], 'rollback');
      // The numbers that were rolled back go to somebody else.
      await resolve(database, new DescriptorWriter(), descriptors('x', 'y'), 'commit', 'beta');
      const retried = await resolve(database, writer, [c, ...wanted, d]);
      await assertStored(database, retried.ids, [c, ...wanted, d]);
      assert.deepEqual(retried.ids.slice(1, 3), known.ids);
    }));

  it('survive what another process adds', () =>
    usingDatabase(async (database) => {
      const writer = new DescriptorWriter();
      const wanted = descriptors('a', 'b');
      await resolve(database, writer, wanted);
      const other = await resolve(database, new DescriptorWriter(), descriptors('c', 'b'));
      const all = [...wanted, ...descriptors('c')];
      const { ids } = await resolve(database, writer, all);
      await assertStored(database, ids, all);
      assert.equal(ids[2], other.ids[0]);
    }));

  it('are found anew when the database was put back to an older state', () =>
    usingDatabase(async (database) => {
      const writer = new DescriptorWriter();
      await resolve(database, writer, descriptors('a'));
      const older = (await database.query('SELECT revision FROM ratecat_sql_scopes'))[0]![0]!;
      const wanted = descriptors('b', 'c');
      await resolve(database, writer, wanted);
      await resolve(database, writer, wanted);
      await database.transaction(async (tx) => {
        await tx.execute('UPDATE ratecat_sql_scopes SET revision = ?', [older]);
        await tx.execute(`DELETE FROM ratecat_sql_descriptors WHERE groupby <> '["id","a"]'`);
      });
      const { ids } = await resolve(database, writer, wanted);
      await assertStored(database, ids, wanted);
    }));

  it('of one scope are not taken for another', () =>
    usingDatabase(async (database) => {
      const writer = new DescriptorWriter();
      const shared = descriptors('a', 'b');
      const alpha = await resolve(database, writer, shared);
      const beta = await resolve(database, writer, shared, 'commit', 'beta');
      assert.equal(new Set([...alpha.ids, ...beta.ids]).size, 4);
      assert.deepEqual((await resolve(database, writer, shared)).ids, alpha.ids);
    }));
});
