import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { deflateSync } from 'node:zlib';
import { SqliteDatabase } from '../../../core/database/sqlite-driver.js';
import { readHashmap } from '../../../core/migrating/hashmap-document.js';
import { RatedRows } from '../../../core/migrating/rated-rows.js';
import { readReprocesses, readScopes } from '../../../core/migrating/scope-source.js';
import { readScripts } from '../../../core/migrating/scripts.js';
import { openSource } from '../../../core/migrating/source-database.js';
import { SourceSchema } from '../../../core/migrating/source-schema.js';
import { CloudkittyDatabase, dateOf, frameRow, type Generation } from './cloudkitty-database.js';

const HOUR = 3600;
const START = Date.UTC(2026, 0, 31, 22) / 1000;
const NAMES = { scopeKey: 'project_id', fetcher: 'keystone', collector: 'gnocchi' };

let folder: string;
let serial = 0;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ratecat-source-'));
});
after(() => rm(folder, { recursive: true, force: true }));

function newDatabase(generation: Generation): Promise<CloudkittyDatabase> {
  return CloudkittyDatabase.create(`sqlite://${join(folder, `${++serial}.db`)}`, generation);
}

async function opened({ url }: CloudkittyDatabase) {
  const source = await openSource(url, folder);
  const schema = await SourceSchema.read(source);
  return { source, schema, rows: new RatedRows(source, schema) };
}

async function unitsOf(rows: RatedRows, ...args: Parameters<RatedRows['units']>) {
  const units: string[] = [];
  for await (const { scopeId, period, rows: points } of rows.units(...args)) {
    const texts = points.map(({ metric, quantity, price }) => `${metric} ${quantity} ${price}`);
    units.push(`${(period.begin - START) / HOUR} ${scopeId}: ${texts.join(', ')}`);
  }
  return units;
}

function frame(generation: Generation, hour: number, tenant: string, metric = 'cpu') {
  const begin = START + hour * HOUR;
  return frameRow(generation, { tenant, metric, begin, quantity: '1.5', price: '0.1' });
}

describe('rated frames of CloudKitty', () => {
  for (const generation of ['first', 'newton', 'rocky', 'today'] as const) {
    it(`come as whole periods in order of time and scope, from the schema called '${generation}'`, async () => {
      const old = await newDatabase(generation);
      await old.insert('rated_data_frames', [
        frame(generation, 3, 'b'),
        frame(generation, 0, 'b'),
        frame(generation, 0, 'a'),
        frame(generation, 0, 'B'),
        frame(generation, 3, 'a', '_NO_DATA_'),
        frame(generation, 0, 'a', 'disk'),
      ]);
      const { rows } = await opened(old);
      const all = [
        '0 B: cpu 1.5 0.1',
        '0 a: cpu 1.5 0.1, disk 1.5 0.1',
        '0 b: cpu 1.5 0.1',
        '3 b: cpu 1.5 0.1',
      ];
      assert.deepEqual(await unitsOf(rows, {}), all);
      for (const [index, line] of all.entries()) {
        const [, hour, scopeId] = /^(\d) (\w):/.exec(line)!;
        const position = { begin: START + Number(hour) * HOUR, scopeId: scopeId! };
        assert.deepEqual(await unitsOf(rows, {}, position), all.slice(index + 1));
      }
      assert.deepEqual(await unitsOf(rows, { begin: START + 1 }), all.slice(3));
      assert.deepEqual(await unitsOf(rows, { end: START + 3 * HOUR }), all.slice(0, 3));
      assert.equal(await rows.count({}), 5);
    });
  }

  it('find their scope in the description where rows are older than tenants', async () => {
    const old = await newDatabase('newton');
    const named = (hour: number, tenant: string) => ({ ...frame('newton', hour, tenant), tenant_id: null });
    await old.insert('rated_data_frames', [
      named(0, 'b'),
      named(0, 'a'),
      named(0, 'b'),
      frame('newton', 0, 'a', 'disk'),
    ]);
    const { rows } = await opened(old);
    assert.deepEqual(await unitsOf(rows, {}), [
      '0 a: cpu 1.5 0.1, disk 1.5 0.1',
      '0 b: cpu 1.5 0.1, cpu 1.5 0.1',
    ]);
  });

  it('name the row that cannot be read', async () => {
    for (const [column, value, problem] of [
      ['desc', '{}', /id 1 .* names no tenant/],
      ['begin', 'yesterday', /id 1 .* is no date/],
      ['rate', 'much', /id 1 .* rate is much, not a number/],
    ] as const) {
      const old = await newDatabase('first');
      await old.insert('rated_data_frames', [{ ...frame('first', 0, 'a'), [column]: value }]);
      const { rows } = await opened(old);
      await assert.rejects(unitsOf(rows, {}), { code: 'RATECAT_MIGRATE_ROW_INVALID', message: problem });
    }
  });
});

describe('the source', () => {
  it('is not written to, not even its journal mode', async () => {
    const old = await newDatabase('today');
    await old.insert('rated_data_frames', [frame('today', 0, 'a')]);
    const path = old.url.replace('sqlite://', '');
    const raw = new SqliteDatabase(path);
    raw.pragma('journal_mode = DELETE');
    raw.close();
    const digest = async () =>
      createHash('sha256')
        .update(await readFile(path))
        .digest('hex');
    const before = [await digest(), (await readdir(folder)).length];
    const { rows, source } = await opened(old);
    assert.equal((await unitsOf(rows, {})).length, 1);
    await assert.rejects(source.query('DELETE FROM rated_data_frames'));
    assert.deepEqual([await digest(), (await readdir(folder)).length], before);
  });

  it('is refused when it is absent, not CloudKitty or not a URL', async () => {
    await assert.rejects(openSource('sqlite:///nowhere/ck.db', folder), {
      code: 'RATECAT_MIGRATE_SOURCE_ABSENT',
    });
    await assert.rejects(
      openSource('postgresql://u:hidden@h/d', folder),
      (error: Error & { code?: string }) => {
        assert.equal(error.code, 'RATECAT_MIGRATE_URL_INVALID');
        assert.doesNotMatch(error.message, /hidden|database\.url/);
        return true;
      },
    );
    const path = join(folder, 'empty.db');
    new SqliteDatabase(path).close();
    const source = await openSource(`sqlite://${path}`, folder);
    await assert.rejects(SourceSchema.read(source), { code: 'RATECAT_MIGRATE_SOURCE_ABSENT' });
  });
});

describe('scope states of CloudKitty', () => {
  const state = (identifier: string, hour: number, more: object = {}) => ({
    identifier,
    scope_key: 'project_id',
    fetcher: 'keystone',
    collector: 'gnocchi',
    last_processed_timestamp: dateOf(START + hour * HOUR),
    scope_activation_toggle_date: dateOf(START),
    active: 1,
    ...more,
  });

  it('are those of the pipeline, its fetcher and its collector first, then the newest', async () => {
    const old = await newDatabase('today');
    await old.insert('cloudkitty_storage_states', [
      state('a', 5, { collector: 'prometheus' }),
      state('a', 3),
      state('b', 1, { fetcher: null, collector: null, scope_key: null }),
      state('b', 2, { fetcher: null, collector: null, scope_key: null, active: 0 }),
      state('c', 9, { scope_key: 'namespace' }),
    ]);
    const { schema } = await opened(old);
    const { scopes, ofOtherKeys } = await readScopes(schema, NAMES, []);
    assert.deepEqual(
      scopes.map(({ id, lastBegin, active }) => [id, (lastBegin - START) / HOUR, active]),
      [
        ['a', 3, true],
        ['b', 2, false],
      ],
    );
    assert.equal(ofOtherKeys, 1);
  });

  it("are read from the schema called 'rocky'", async () => {
    const old = await newDatabase('rocky');
    await old.insert('cloudkitty_storage_states', [{ identifier: 'a', state: dateOf(START) }]);
    const { schema } = await opened(old);
    const { scopes } = await readScopes(schema, NAMES, []);
    assert.deepEqual(scopes, [{ id: 'a', lastBegin: START, active: true, toggledAt: undefined }]);
  });

  it('are the newest frames where there is no table, periods without usage included', async () => {
    const old = await newDatabase('newton');
    await old.insert('rated_data_frames', [frame('newton', 1, 'a'), frame('newton', 2, 'a', '_NO_DATA_')]);
    const { schema, rows } = await opened(old);
    const { scopes } = await readScopes(schema, NAMES, await rows.newest());
    assert.deepEqual(scopes, [{ id: 'a', lastBegin: START + 2 * HOUR, active: true, toggledAt: undefined }]);
  });

  it('leave of a window what is not rated anew yet', async () => {
    const old = await newDatabase('today');
    const window = (reason: string, current: number | null) => ({
      identifier: 'a',
      start_reprocess_time: dateOf(START),
      end_reprocess_time: dateOf(START + 3 * HOUR),
      current_reprocess_time: current === null ? null : dateOf(START + current * HOUR),
      reason,
    });
    await old.insert('storage_scope_reprocessing_schedule', [
      window('not begun', null),
      window('begun', 1),
      window('done', 3),
    ]);
    const { schema } = await opened(old);
    assert.deepEqual(
      (await readReprocesses(schema, HOUR)).map(({ reason, begin }) => [reason, (begin - START) / HOUR]),
      [
        ['not begun', 0],
        ['begun', 2],
      ],
    );
  });
});

describe('rules of CloudKitty', () => {
  const mapping = {
    value: '',
    map_type: 'flat',
    service_id: 1,
    field_id: null,
    group_id: null,
    cost: '1',
  };

  async function withRules(rules: readonly object[]): Promise<CloudkittyDatabase> {
    const old = await newDatabase('newton');
    await old.insert('hashmap_services', [{ service_id: 's', name: 'cpu' }]);
    await old.insert('hashmap_fields', [{ field_id: 'f', name: 'flavor', service_id: 1 }]);
    await old.insert(
      'hashmap_mappings',
      rules.map((rule, index) => ({ mapping_id: `m-${index}`, tenant_id: null, ...mapping, ...rule })),
    );
    return old;
  }

  it('are valid for ever where their schema has no dates; those that collide say so', async () => {
    const { source, schema } = await opened(
      await withRules([
        {},
        { cost: '2' },
        { tenant_id: 'shop' },
        { service_id: null, field_id: 1, value: 'small' },
      ]),
    );
    const { document, rules, deleted } = await readHashmap(source, schema);
    assert.deepEqual([rules, deleted], [4, 0]);
    assert.deepEqual(document, {
      groups: [],
      services: [
        {
          name: 'cpu',
          mappings: [
            { type: 'flat', cost: '1' },
            { type: 'flat', cost: '2', overlaps: true },
            { type: 'flat', cost: '1', tenant: 'shop' },
          ],
          thresholds: [],
          fields: [
            { name: 'flavor', mappings: [{ value: 'small', type: 'flat', cost: '1' }], thresholds: [] },
          ],
        },
      ],
    });
  });

  it('are refused by name when they cannot rate', async () => {
    for (const [rule, problem] of [
      [{ cost: null }, /mapping m-0 .* its cost is null/],
      [{ service_id: null, field_id: 1, value: null }, /mapping m-0 .* has no value/],
      [{ service_id: null }, /mapping m-0 .* on no service and on no field/],
    ] as const) {
      const { source, schema } = await opened(await withRules([rule]));
      await assert.rejects(readHashmap(source, schema), {
        code: 'RATECAT_MIGRATE_RULE_INVALID',
        message: problem,
      });
    }
  });

  it('include scripts, decompressed', async () => {
    const old = await newDatabase('newton');
    await old.insert('pyscripts_scripts', [
      { script_id: 's', checksum: 'x', name: 'discount', data: deflateSync('# grüße') },
    ]);
    const { schema } = await opened(old);
    const { scripts } = await readScripts(schema);
    assert.deepEqual(
      scripts.map(({ name, data, start, end }) => [name, data, start, end]),
      [['discount', '# grüße', Date.UTC(2014, 0, 1) / 1000, undefined]],
    );
  });
});
