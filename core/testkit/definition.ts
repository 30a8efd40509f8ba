import assert from 'node:assert/strict';
import {
  API_VERSION,
  isPluginDefinition,
  type Migration,
  type PluginContext,
  type PluginDefinition,
  type PluginKind,
  type PluginRoles,
  type SqlDialect,
} from '../plugin-api/index.js';

/** The runner's `test`: that of `node:test`, vitest, jest or mocha. */
export type TestFunction = (name: string, body: () => void | Promise<void>) => unknown;

export interface DefinitionTest<K extends PluginKind, Options> {
  readonly test: TestFunction;
  readonly definition: PluginDefinition<K, Options>;
  readonly kind: K;
  /** Options as a config file says them; default: none. */
  readonly options?: unknown;
  readonly context: PluginContext;
}

const REQUIRED_MEMBERS: Readonly<Record<PluginKind, readonly string[]>> = {
  fetcher: ['fetchScopes'],
  collector: ['metricOptions', 'collect'],
  rating: ['description', 'hotConfig', 'compile'],
  storage: [
    'capabilities',
    'replacePeriod',
    'readPeriods',
    'countPoints',
    'total',
    'deletePeriods',
    'scopesWithData',
  ],
  notifier: ['publish'],
};

/** Checks what the host reads of a plugin before it runs. */
export function testDefinition<K extends PluginKind, Options>(suite: DefinitionTest<K, Options>): void {
  const { test, definition, kind } = suite;
  const label = `${kind} ${definition.name}`;

  test(`${label}: the definition is made by definePlugin for this version of the contract`, () => {
    assert.ok(isPluginDefinition(definition), 'export default definePlugin({...})');
    assert.equal(definition.apiVersion, API_VERSION);
    assert.equal(definition.kind, kind);
    assert.match(definition.name, /^\S+$/, 'the name is what a config file says');
  });

  test(`${label}: the option schema takes the given options and refuses what is no object`, async () => {
    const schema = definition.options['~standard'];
    assert.equal(schema.version, 1);
    assert.equal(typeof schema.vendor, 'string');
    const taken = await schema.validate(suite.options ?? {});
    assert.deepEqual(taken.issues ?? [], []);
    for (const nonsense of [42, 'text', ['list']]) {
      const refused = await schema.validate(nonsense);
      assert.ok((refused.issues ?? []).length > 0, `options: ${JSON.stringify(nonsense)} was taken`);
    }
  });

  test(`${label}: secret options are distinct names`, () => {
    const secrets = definition.secretOptions ?? [];
    assert.equal(new Set(secrets).size, secrets.length);
    for (const secret of secrets) assert.match(secret, /^\S+$/);
  });

  test(`${label}: migrations are in order and touch only tables of the plugin`, () => {
    checkMigrations(kind, definition.name, definition.migrations ?? []);
  });

  test(`${label}: create gives an object of its kind`, async () => {
    const plugin = (await createPlugin(suite)) as unknown as Record<string, unknown>;
    for (const member of REQUIRED_MEMBERS[kind])
      assert.notEqual(plugin[member], undefined, `${member} is missing`);
    assert.notEqual(await createPlugin(suite), plugin, 'every call of create makes a new object');
  });
}

/** Validates the options as the host does and creates the plugin. */
export async function createPlugin<K extends PluginKind, Options>(
  suite: Pick<DefinitionTest<K, Options>, 'definition' | 'options' | 'context'>,
): Promise<PluginRoles[K]> {
  const { definition } = suite;
  const result = await definition.options['~standard'].validate(suite.options ?? {});
  if (result.issues !== undefined) {
    const problems = result.issues.map(({ message }) => message).join('; ');
    assert.fail(`options of ${definition.kind} ${definition.name}: ${problems}`);
  }
  return definition.create(result.value, suite.context);
}

function checkMigrations(kind: PluginKind, plugin: string, migrations: readonly Migration[]): void {
  if (migrations.length > 0) assert.ok(kind === 'rating' || kind === 'storage', `a ${kind} has no tables`);
  const names = migrations.map(({ name }) => name);
  assert.deepEqual(names, [...new Set(names)].sort(), 'names are distinct and in order');
  const prefix = `ratecat_${plugin.toLowerCase().replace(/[^a-z0-9]+/g, '_')}_`;
  for (const migration of migrations) {
    for (const statement of migration.statements(PLAIN_DIALECT)) {
      const created = /^\s*CREATE\s+TABLE\s+(IF\s+NOT\s+EXISTS\s+)?(\w+)/i.exec(statement);
      if (created === null) continue;
      assert.ok(
        created[1] !== undefined,
        `${migration.name}: CREATE TABLE ${created[2]} must say IF NOT EXISTS`,
      );
      assert.ok(
        created[2]!.startsWith(prefix),
        `${migration.name}: table ${created[2]} must begin with ${prefix}`,
      );
    }
  }
}

/** Enough of a dialect to read the statements of a migration. */
const PLAIN_DIALECT: SqlDialect = {
  engine: 'sqlite',
  autoId: 'INTEGER PRIMARY KEY',
  integer: 'INTEGER',
  decimal: 'TEXT',
  longText: 'TEXT',
  text: () => 'TEXT',
  binary: () => 'BLOB',
  tableOptions: () => '',
  sum: (expression) => `SUM(${expression})`,
  createIndex: (name, table, columns) => `CREATE INDEX IF NOT EXISTS ${name} ON ${table} (${columns})`,
};
