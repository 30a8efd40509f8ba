import type { Config } from '../config/config.js';
import { formatProblems, type Problem } from '../config/problems.js';
import { parseYaml, readYaml, type YamlDocument } from '../config/yaml-document.js';
import {
  type Clock,
  ConfigError,
  DataError,
  isRatecatError,
  type JsonValue,
  type RulesChange,
  type RulesDocument,
  type SqlReader,
  type SqlTransaction,
} from '../plugin-api/index.js';
import type { ModuleStates } from '../rating/module-states.js';
import type { LoadedModule } from '../rating/rule-sets.js';
import type { PreparedPlugins } from './build-pipelines.js';
import type { Services } from './composition-root.js';

export interface RulesImport {
  readonly module: string;
  readonly document: JsonValue;
  readonly mode: 'merge' | 'replace';
  readonly author: string;
}

/**
 * A file of rules. Numbers are exact decimals that stand where JSON has numbers.
 * @throws DataError RATECAT_RULES_FILE_INVALID with file, line and column.
 */
export async function readRulesFile(file: string): Promise<JsonValue> {
  return asRules(() => readYaml(file));
}

/** As `readRulesFile`, for text that is already there. */
export async function readRulesText(text: string, name: string): Promise<JsonValue> {
  return asRules(async () => parseYaml(text, name));
}

async function asRules(read: () => Promise<YamlDocument>): Promise<JsonValue> {
  try {
    return (await read()).value as unknown as JsonValue;
  } catch (error) {
    const problems = isRatecatError(error) ? (error.details.problems as readonly Problem[]) : undefined;
    if (problems === undefined) throw error;
    throw new DataError(
      'RATECAT_RULES_FILE_INVALID',
      `The rules cannot be read:\n${formatProblems(problems)}`,
    );
  }
}

/** Writes rules, tells every processor, and notes who did it. */
export async function importRules(
  rules: RulesDocument,
  { module, document, mode, author }: RulesImport,
  tx: SqlTransaction,
  { clock, moduleStates }: { readonly clock: Clock; readonly moduleStates: ModuleStates },
): Promise<RulesChange> {
  const now = Math.floor(clock.now() / 1000);
  const change = await rules.write(document, tx, { mode, now, author });
  await moduleStates.changed(tx, { module, action: 'import', author });
  await tx.execute('INSERT INTO ratecat_audit (at, scope, action, author, detail) VALUES (?, ?, ?, ?, ?)', [
    now,
    null,
    'rules.imported',
    author,
    `${module}: ${change.added} added, ${change.changed} changed, ${change.removed} removed (${mode})`,
  ]);
  return change;
}

/** Modules of the config get the state that the config gives them, unless they have one. */
export async function addModuleStates(
  config: Config,
  plugins: PreparedPlugins,
  states: ModuleStates,
): Promise<void> {
  const defaults = plugins.rating.map(({ definition }, index) => {
    const { enabled, priority } = config.rating[index]!;
    return [definition.name, { enabled, priority }] as const;
  });
  await states.addMissing(new Map(defaults));
}

export interface ImportedFile {
  readonly module: string;
  readonly file: string;
  readonly change: RulesChange;
}

/**
 * Imports the rules files of the config for modules that have no rules. Happens once per module: an operator who deletes
 * every rule means it.
 */
export async function importConfiguredRules(
  config: Config,
  { database, modules, moduleStates }: Pick<Services, 'database' | 'modules' | 'moduleStates'>,
  clock: Clock,
): Promise<readonly ImportedFile[]> {
  const imported: ImportedFile[] = [];
  for (const [index, { rulesFile: file }] of config.rating.entries()) {
    if (file === undefined) continue;
    const loaded = modules[index]!;
    if (await isSettled(loaded, database)) continue;
    const document = await readRulesFile(file);
    const change = await database.transaction((tx) =>
      importOnce(loaded, document, tx, { clock, moduleStates }),
    );
    if (change !== undefined) imported.push({ module: loaded.name, file, change });
  }
  return imported;
}

function marker(module: string): string {
  return `rules_file:${module}`.slice(0, 64);
}

async function isSettled({ name, module }: LoadedModule, reader: SqlReader): Promise<boolean> {
  if (module.rulesDocument === undefined) {
    throw new ConfigError(
      'RATECAT_RULES_UNSUPPORTED',
      `The rating module '${name}' keeps no rules that a file could bring. Remove 'rules' from its place in the configuration.`,
    );
  }
  const rows = await reader.query('SELECT value FROM ratecat_revisions WHERE name = ?', [marker(name)]);
  return Number(rows[0]?.[0] ?? 0) > 0;
}

/** Of several processes that start at once, the one whose counter goes from 0 to 1 imports. */
async function importOnce(
  { name, module }: LoadedModule,
  document: JsonValue,
  tx: SqlTransaction,
  tools: { readonly clock: Clock; readonly moduleStates: ModuleStates },
): Promise<RulesChange | undefined> {
  const row = marker(name);
  await tx.insertRows({
    table: 'ratecat_revisions',
    columns: ['name', 'value'],
    rows: [[row, 0]],
    onConflict: { key: ['name'] },
  });
  const first = await tx.execute('UPDATE ratecat_revisions SET value = 1 WHERE name = ? AND value = 0', [
    row,
  ]);
  const rules = module.rulesDocument!;
  if (first.affected !== 1 || !isBare(await rules.read(tx))) return undefined;
  return importRules(rules, { module: name, document, mode: 'merge', author: 'configuration' }, tx, tools);
}

/** True for a document without rules: nothing in it but empty lists and objects. */
function isBare(document: JsonValue): boolean {
  if (typeof document !== 'object' || document === null) return false;
  return Object.values(document).every((value) => value === undefined || isBare(value));
}
