import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { parse } from 'yaml';
import {
  Attributes,
  Decimal,
  type Frame,
  isRatecatError,
  type JsonValue,
  type RatedPoint,
  type RulesChange,
  type SqlDatabase,
} from '../../../core/plugin-api/index.js';
import { fakeContext } from '../../../core/testkit/fakes.js';
import { sampleSeed } from '../../../core/testkit/samples.js';
import hashmap from '../../../plugins/rating/hashmap/index.js';
import { ConfigApi, NOW, openHashmapDatabase } from './config-api.js';

const signal = new AbortController().signal;
const module = hashmap.create({}, fakeContext());
const form = module.rulesDocument!;

async function withDatabase(work: (database: SqlDatabase) => Promise<void>): Promise<void> {
  const database = await openHashmapDatabase();
  try {
    await work(database);
  } finally {
    await database.close();
  }
}

function write(
  database: SqlDatabase,
  document: JsonValue,
  mode: 'merge' | 'replace' = 'merge',
  author = 'importer',
): Promise<RulesChange> {
  return database.transaction((tx) => form.write(document, tx, { mode, now: NOW, author }));
}

function problemsOf(document: JsonValue): readonly string[] {
  try {
    form.toRules(document);
  } catch (error) {
    assert.ok(isRatecatError(error));
    assert.equal(error.code, 'RATECAT_HASHMAP_DOCUMENT_INVALID');
    return error.message
      .split('\n')
      .slice(1)
      .map((line) => line.trim());
  }
  return [];
}

const priceList: JsonValue = {
  groups: ['unused'],
  services: {
    instance: {
      mappings: [{ type: 'rate', cost: '0.9', group: 'discount', start: '2026-03-01', end: '2026-03-31' }],
      thresholds: [{ level: '50', type: 'rate', cost: '0.98' }],
      fields: {
        flavor_name: {
          mappings: [
            { value: 'm1.small', cost: '0.25', name: 'small', description: 'one core' },
            { value: 'm1.small', cost: '0.20', tenant: 'alpha' },
          ],
        },
        ram: { thresholds: [{ level: '1024', cost: '0.1' }] },
      },
    },
    empty: {},
  },
};

describe('reading a price list', () => {
  test('it becomes rules, services in order of name and fields in order of the list', () => {
    assert.deepEqual(form.toRules(priceList), {
      services: [
        { name: 'empty', mappings: [], thresholds: [], fields: [] },
        {
          name: 'instance',
          mappings: [
            {
              type: 'rate',
              cost: '0.9',
              group: 'discount',
              start: Date.UTC(2026, 2, 1) / 1000,
              end: Date.UTC(2026, 3, 1) / 1000 - 1,
            },
          ],
          thresholds: [{ level: '50', type: 'rate', cost: '0.98' }],
          fields: [
            {
              name: 'flavor_name',
              mappings: [
                { value: 'm1.small', type: 'flat', cost: '0.25', start: 0 },
                { value: 'm1.small', type: 'flat', cost: '0.2', tenant: 'alpha', start: 0 },
              ],
              thresholds: [],
            },
            { name: 'ram', mappings: [], thresholds: [{ level: '1024', type: 'flat', cost: '0.1' }] },
          ],
        },
      ],
    });
  });

  test('costs, levels and values may be texts, decimals or plain numbers, and stay exact', () => {
    const written = [0.25, '0.25', '25e-2', Decimal.parse('0.250')] as unknown as readonly JsonValue[];
    for (const cost of written)
      assert.deepEqual(form.toRules({ services: { a: { mappings: [{ cost }] } } }), {
        services: [
          { name: 'a', mappings: [{ type: 'flat', cost: '0.25', start: 0 }], thresholds: [], fields: [] },
        ],
      });
    const values = [4, Decimal.parse('4'), '4'] as unknown as readonly JsonValue[];
    for (const value of values)
      assert.deepEqual(
        form.toRules({ services: { a: { fields: { vcpus: { mappings: [{ value, cost: 1 }] } } } } }),
        form.toRules({ services: { a: { fields: { vcpus: { mappings: [{ value: '4', cost: '1' }] } } } } }),
      );
  });

  test('every problem is listed at once with its path', () => {
    const problems = problemsOf({
      group: [],
      services: {
        a: {
          mappings: [
            { cost: 'much', value: 'x' },
            { type: 'linear' },
            { cost: '1', start: 'soon', end: '2026-02-30' },
            { cost: '1', group: 'g', start: '2026-02-01', end: '2026-01-01' },
            'free',
          ],
          thresholds: [{ cost: '1' }, { level: '0.123456789', cost: '1' }],
          fields: {
            f: { mappings: [{ cost: '1' }, { value: true, cost: '1' }, { value: '', cost: '1e12' }] },
            g: { mapping: [] },
            h: [],
          },
        },
        b: 1,
      },
    });
    assert.deepEqual(problems, [
      'group: is not a key here; the keys are groups, services',
      'services.a.mappings[0].value: is not a key here; the keys are type, cost, group, tenant, overlaps, start, end, name, description',
      'services.a.mappings[0].cost: is "much", not a decimal number',
      'services.a.mappings[1].type: is "linear"; it must be flat or rate',
      'services.a.mappings[1].cost: is missing',
      'services.a.mappings[2].start: is "soon"; write 2026-01-31 or 2026-01-31T12:00:00Z',
      'services.a.mappings[2].end: is "2026-02-30"; write 2026-01-31 or 2026-01-31T12:00:00Z',
      'services.a.mappings[3].end: is before the start',
      'services.a.mappings[4]: is "free"; it must have the keys type, cost, group, tenant, overlaps, start, end, name, description',
      'services.a.thresholds[0].level: is missing',
      'services.a.thresholds[1].level: has more than 8 decimals: 0.123456789',
      'services.a.fields.f.mappings[0].value: is missing',
      "services.a.fields.f.mappings[1].value: is true; write the text of the attribute in quotes, such as 'True' or 'true'",
      'services.a.fields.f.mappings[2].value: is empty',
      'services.a.fields.f.mappings[2].cost: has more than 12 digits before the point: 1000000000000',
      'services.a.fields.g.mapping: is not a key here; the keys are mappings, thresholds',
      'services.a.fields.h: is []; it must have the keys mappings, thresholds',
      'services.b: is 1; it must have the keys mappings, thresholds, fields',
    ]);
  });

  test('rules of one key may follow each other, but only overlap where it is said', () => {
    const list = (second: Record<string, JsonValue>): JsonValue => ({
      services: {
        a: {
          mappings: [
            { cost: '1', end: '2026-01-01T00:00:00Z' },
            { cost: '2', ...second },
          ],
        },
      },
    });
    assert.deepEqual(problemsOf(list({ start: '2026-01-01T00:00:00Z' })), []);
    assert.equal(problemsOf(list({ start: '2025-12-31T23:59:59Z' })).length, 1);
    assert.deepEqual(problemsOf(list({ overlaps: true })), []);
    assert.deepEqual(problemsOf(list({ group: 'g' })), []);
    assert.equal(problemsOf(list({ tenant: 't' })).length, 0);
    const thresholds = [
      { level: '1', cost: '1' },
      { level: '1.0', cost: '2' },
    ];
    assert.equal(problemsOf({ services: { a: { thresholds } } }).length, 1);
  });

  test('the example of the manual is a price list', () => {
    const manual = readFileSync(new URL('../../../docs/plugins/rating-hashmap.md', import.meta.url), 'utf8');
    const blocks = [...manual.matchAll(/```yaml\n(.*?)```/gs)].map((match) => match[1]!);
    const example = blocks.find((block) => block.includes('services:'));
    assert.deepEqual(problemsOf(parse(example!) as JsonValue), []);
  });

  test('a name of a mapping is used once', () => {
    const mappings = [{ cost: '1', name: 'x' }];
    const [problem, ...others] = problemsOf({ services: { a: { mappings }, b: { mappings } } });
    assert.equal(
      problem,
      "services.b.mappings[0].name: 'x' is also the name at services.a.mappings[0].name; names of mappings are unique",
    );
    assert.deepEqual(others, []);
  });
});

describe('storing a price list', () => {
  test('it reads back as it was written, with what is implied spelled out', async () => {
    await withDatabase(async (database) => {
      assert.deepEqual(await write(database, priceList), { added: 11, changed: 0, removed: 0 });
      const document = await form.read(database);
      assert.deepEqual(document, {
        groups: ['unused', 'discount'],
        services: {
          empty: {},
          instance: {
            mappings: [
              {
                type: 'rate',
                cost: '0.9',
                group: 'discount',
                start: '2026-03-01T00:00:00Z',
                end: '2026-03-31T23:59:59Z',
              },
            ],
            thresholds: [{ level: '50', type: 'rate', cost: '0.98' }],
            fields: {
              flavor_name: {
                mappings: [
                  { value: 'm1.small', type: 'flat', cost: '0.25', name: 'small', description: 'one core' },
                  { value: 'm1.small', type: 'flat', cost: '0.2', tenant: 'alpha' },
                ],
              },
              ram: { thresholds: [{ level: '1024', type: 'flat', cost: '0.1' }] },
            },
          },
        },
      });
      assert.deepEqual(form.toRules(document), form.toRules(priceList));
      for (const mode of ['merge', 'replace'] as const)
        assert.deepEqual(await write(database, document, mode), { added: 0, changed: 0, removed: 0 });
    });
  });

  test('a changed cost keeps the id of the rule and records who changed it', async () => {
    const database = await openHashmapDatabase();
    const api = new ConfigApi(database);
    const list = (cost: string): JsonValue => ({
      services: {
        a: { fields: { f: { mappings: [{ value: 'x', cost }], thresholds: [{ level: '1', cost }] } } },
      },
    });
    await write(database, list('1'));
    const before = (await api.request('GET', '/mappings')).body.mappings[0]!;
    assert.equal(before.created_by, 'importer');
    assert.deepEqual(await write(database, list('2'), 'merge', 'editor'), {
      added: 0,
      changed: 2,
      removed: 0,
    });
    const { mappings } = (await api.request('GET', '/mappings')).body;
    assert.deepEqual(mappings, [{ ...before, cost: '2.0000000000000000000000000000', updated_by: 'editor' }]);
    await database.close();
  });

  test('a mapping with a name is found again wherever it moves', async () => {
    const database = await openHashmapDatabase();
    const api = new ConfigApi(database);
    const rule = { cost: '1', name: 'base', start: '2026-01-01' };
    await write(database, { services: { a: { fields: { f: { mappings: [{ ...rule, value: 'x' }] } } } } });
    const before = (await api.request('GET', '/mappings')).body.mappings[0]!;
    const moved = { services: { b: { mappings: [{ ...rule, group: 'g', start: '2027-01-01' }] } } };
    assert.deepEqual(await write(database, moved, 'replace'), { added: 2, changed: 1, removed: 2 });
    const after = (await api.request('GET', '/mappings')).body.mappings;
    assert.equal(after.length, 1);
    assert.equal(after[0]!.mapping_id, before.mapping_id);
    assert.equal(after[0]!.start, '2027-01-01T00:00:00');
    await database.close();
  });

  test('merge leaves what is not listed; replace removes it, mappings softly', async () => {
    const database = await openHashmapDatabase();
    const api = new ConfigApi(database);
    await write(database, {
      services: {
        a: {
          mappings: [{ cost: '1' }, { cost: '2', group: 'old' }],
          thresholds: [{ level: '1', cost: '1' }],
        },
        b: {},
      },
    });
    const only: JsonValue = { services: { a: { mappings: [{ cost: '3' }] } } };
    assert.deepEqual(await write(database, only, 'merge'), { added: 0, changed: 1, removed: 0 });
    assert.equal((await api.request('GET', '/mappings')).body.mappings.length, 2);
    assert.deepEqual(await write(database, only, 'replace', 'cleaner'), { added: 0, changed: 0, removed: 4 });
    assert.deepEqual(await form.read(database), {
      services: { a: { mappings: [{ type: 'flat', cost: '3' }] } },
    });
    const all = (await api.request('GET', '/mappings?deleted=true')).body.mappings;
    assert.equal(all.length, 2);
    assert.equal(
      (await api.request('GET', '/mappings?deleted=true&deleted_by=cleaner')).body.mappings.length,
      1,
    );
    await database.close();
  });

  test('merge refuses a rule that collides with a stored one, and stores nothing', async () => {
    await withDatabase(async (database) => {
      await write(database, { services: { a: { mappings: [{ cost: '1' }] } } });
      const later: JsonValue = { services: { a: { mappings: [{ cost: '2', start: '2026-06-01' }] }, b: {} } };
      const before = await form.read(database);
      await assert.rejects(
        () => write(database, later),
        (error) =>
          isRatecatError(error) &&
          error.code === 'RATECAT_HASHMAP_RULES_OVERLAP' &&
          /services\.a\.mappings\[0\]/.test(error.message),
      );
      assert.deepEqual(await form.read(database), before);
      await write(database, later, 'replace');
    });
  });

  test('the order of the list is the order of the stored rules, also when they are there already', async () => {
    await withDatabase(async (database) => {
      const rule = (cost: string, start: string) => ({ cost, start, overlaps: true });
      const first = rule('1', '2026-01-01');
      const second = rule('2', '2026-01-02');
      const fields = (names: readonly string[]) => names.map((name) => ({ name }));
      const list = (mappings: JsonValue, names: readonly string[]): JsonValue => ({
        services: { a: { mappings, fields: fields(names) } },
      });
      await write(database, list([first, second], ['x', 'y', '1']));
      for (const [rules, names] of [
        [
          [second, first],
          ['1', 'y', 'x'],
        ],
        [
          [rule('3', '2026-01-03'), first, second],
          ['new', 'x', '1', 'y'],
        ],
      ] as const) {
        await write(database, list(rules, names), 'replace');
        const loaded = JSON.parse(
          JSON.stringify(await module.loadRules!(database, signal)).replace(/"id":"[^"]*",/g, ''),
        );
        assert.deepEqual(loaded, form.toRules(list(rules, names)));
        assert.deepEqual(form.toRules(await form.read(database)), form.toRules(list(rules, names)));
      }
    });
  });

  test('rules that were stored overlapping read back as a list that is accepted', async () => {
    const database = await openHashmapDatabase();
    const api = new ConfigApi(database);
    const { service_id } = await api.create('/services', { name: 'a' });
    const { group_id } = await api.create('/groups', { name: 'g' });
    await api.create('/mappings', { cost: '1', service_id });
    await api.create('/mappings', { cost: '2', service_id, group_id });
    await api.create('/thresholds', { cost: '1', level: '1', service_id });
    await api.create('/thresholds', { cost: '2', level: '1', service_id });
    await api.request('DELETE', `/groups/${group_id}`);
    const document = await form.read(database);
    assert.deepEqual(problemsOf(document), []);
    assert.deepEqual(await write(database, document, 'replace'), { added: 0, changed: 0, removed: 0 });
    await database.close();
  });
});

// ------------------------------------------------------------------------------------------------- random price lists

const names = fc.constantFrom('a', 'B', '10', '__proto__', 'grün', '_DEFAULT_');
const amounts = fc
  .tuple(fc.integer({ min: -9_999, max: 99_999_999 }), fc.integer({ min: 0, max: 8 }))
  .map(([coefficient, places]) => Decimal.of(BigInt(coefficient), -places).toString());
const instants = fc.integer({ min: 0, max: 9 }).map((hour) => `2026-01-01T0${hour}:00:00Z`);

const commonKeys = {
  type: fc.constantFrom('flat', 'rate'),
  cost: amounts,
  group: fc.option(names, { nil: undefined }),
  tenant: fc.option(fc.constantFrom('alpha', 'beta'), { nil: undefined }),
  overlaps: fc.constant(true),
};
const dates = fc.oneof(
  fc.constant({}),
  fc.record({ start: instants }),
  fc
    .tuple(instants, instants)
    .map(([one, other]) => (one < other ? { start: one, end: other } : { start: other, end: one })),
);
const mappingBodies = fc
  .tuple(fc.record(commonKeys), dates)
  .map(([rule, validity]) => ({ ...rule, ...validity }));
const valueMappings = fc
  .tuple(fc.constantFrom('x', 'True', '4', ' x'), mappingBodies)
  .map(([value, rule]) => ({ value, ...rule }));
const thresholdBodies = fc.record({ level: amounts, ...commonKeys });
const fieldBodies = fc.record({
  name: names,
  mappings: fc.array(valueMappings, { maxLength: 4 }),
  thresholds: fc.array(thresholdBodies, { maxLength: 3 }),
});
const priceLists = fc
  .record({
    services: fc.uniqueArray(
      fc.record({
        name: names,
        mappings: fc.array(mappingBodies, { maxLength: 4 }),
        thresholds: fc.array(thresholdBodies, { maxLength: 3 }),
        fields: fc.uniqueArray(fieldBodies, { selector: (field) => field.name, maxLength: 3 }),
      }),
      { selector: (service) => service.name, maxLength: 3 },
    ),
  })
  .map((list) => JSON.parse(JSON.stringify(list)) as JsonValue);

const everyPoint: readonly RatedPoint[] = ['a', 'B', '10', '__proto__', 'grün', '_DEFAULT_'].flatMap(
  (metric) =>
    ['x', 'True', '4', ' x'].flatMap((value) =>
      ['0', '1.5', '-3', '70000'].map((quantity) => ({
        descriptor: {
          metric,
          unit: 'u',
          groupby: Attributes.of(['a', '__proto__'], [value, '4']),
          metadata: Attributes.of(['B', '10', 'grün'], ['4', value, Decimal.parse('7')]),
          description: undefined,
        },
        quantity: Decimal.parse(quantity),
        price: Decimal.ZERO,
      })),
    ),
);

async function pricesUnder(
  rules: JsonValue,
  tenant: string | undefined,
  hour: number,
): Promise<readonly string[]> {
  const scope = { key: 'project_id', id: tenant ?? '' };
  const begin = NOW + hour * 3600;
  const frame: Frame<RatedPoint> = {
    source: 'test',
    scope,
    period: { begin, end: begin + 3600 },
    points: everyPoint,
    gaps: [],
  };
  const compiled = module.compile(rules, tenant === undefined ? undefined : scope);
  return (await compiled.rate(frame, signal)).points.map(({ price }) => price.toString());
}

async function assertSamePrices(actual: JsonValue, expected: JsonValue): Promise<void> {
  for (const tenant of ['alpha', undefined])
    for (const hour of [0, 4])
      assert.deepEqual(await pricesUnder(actual, tenant, hour), await pricesUnder(expected, tenant, hour));
}

test('random price lists give the same prices from the document, the database and the document read back', async () => {
  await withDatabase(async (database) => {
    await fc.assert(
      fc.asyncProperty(priceLists, async (document) => {
        const expected = form.toRules(document);
        // The database still holds the list before: replacing must leave nothing of it.
        await write(database, document, 'replace');
        await assertSamePrices(await module.loadRules!(database, signal), expected);
        const readBack = await form.read(database);
        await assertSamePrices(form.toRules(readBack), expected);
        assert.deepEqual(await write(database, readBack, 'replace'), { added: 0, changed: 0, removed: 0 });
      }),
      { seed: sampleSeed(), numRuns: 60, verbose: 1 },
    );
  });
});

describe('ids that others use already', () => {
  const document: JsonValue = {
    groups: ['vip'],
    services: [
      {
        name: 'volume',
        mappings: [{ cost: '1' }, { cost: '2', group: 'vip' }],
        thresholds: [{ level: '10', cost: '3' }],
        fields: [{ name: 'type', mappings: [{ value: 'ssd', cost: '4' }] }],
      },
    ],
  };
  const ids = new Map([
    ['groups[0]', 'group-a'],
    ['services[0]', 'service-a'],
    ['services[0].mappings[0]', 'mapping-a'],
    ['services[0].thresholds[0]', 'threshold-a'],
    ['services[0].fields[0]', 'field-a'],
    ['services[0].fields[0].mappings[0]', 'mapping-b'],
  ]);
  const options = {
    mode: 'merge',
    now: NOW,
    author: 'importer',
    idOf: (path: string) => ids.get(path),
  } as const;

  async function storedIds(database: SqlDatabase): Promise<readonly unknown[]> {
    const rows = await database.query(
      `SELECT group_id FROM ratecat_hashmap_groups UNION ALL SELECT service_id FROM ratecat_hashmap_services
       UNION ALL SELECT field_id FROM ratecat_hashmap_fields UNION ALL SELECT threshold_id FROM ratecat_hashmap_thresholds
       UNION ALL SELECT mapping_id FROM ratecat_hashmap_mappings ORDER BY 1`,
    );
    return rows.map(([id]) => id);
  }

  const known = ['field-a', 'group-a', 'mapping-a', 'mapping-b', 'service-a', 'threshold-a'];

  test('are given to what is new; the rest gets ids of its own', async () => {
    await withDatabase(async (database) => {
      await database.transaction((tx) => form.write(document, tx, options));
      const stored = await storedIds(database);
      assert.equal(stored.length, 7);
      assert.deepEqual(
        stored.filter((id) => known.includes(String(id))),
        known,
      );
    });
  });

  test('stay with the rule that has them, deleted or not', async () => {
    await withDatabase(async (database) => {
      await database.transaction((tx) => form.write(document, tx, options));
      await write(database, { services: [{ name: 'volume', fields: [{ name: 'type' }] }] }, 'replace');
      await database.transaction((tx) => form.write(document, tx, options));
      const rows = await database.query(
        "SELECT deleted_at IS NULL FROM ratecat_hashmap_mappings WHERE mapping_id IN ('mapping-a', 'mapping-b')",
      );
      assert.deepEqual(rows, [[0], [0]], 'the deleted rules keep their ids');
      const alive = await database.query(
        'SELECT COUNT(*) FROM ratecat_hashmap_mappings WHERE deleted_at IS NULL',
      );
      assert.deepEqual(alive, [[3]]);
    });
  });
});
