import type { PluginConfig } from '../config/config.js';
import { formatPath, type Problem } from '../config/problems.js';
import { type ValidatedOptions, validateOptions } from '../config/validate-options.js';
import {
  describeError,
  isRatecatError,
  type PluginContext,
  type PluginDefinition,
  PluginError,
  type PluginKind,
  type PluginRoles,
} from '../plugin-api/index.js';
import { withinLoadLimit } from './load-limit.js';
import { isSchema, resolvePlugin } from './resolve-plugin.js';

/** A plugin that was found and whose options are right; nothing of it runs yet. */
export interface PreparedPlugin<K extends PluginKind = PluginKind> {
  /** As the config says it. */
  readonly name: string;
  readonly definition: PluginDefinition<K>;
  /** @throws PluginError RATECAT_PLUGIN_CREATE_FAILED when it throws or makes something that lacks parts of its role. */
  create(context: PluginContext): PluginRoles[K];
}

export interface PrepareResult<K extends PluginKind> {
  readonly plugin?: PreparedPlugin<K>;
  readonly problems: readonly Problem[];
}

/** Finds a plugin and validates its options. What is wrong comes back as problems, so that all plugins can be reported at once. */
export async function preparePlugin<K extends PluginKind>(
  kind: K,
  config: PluginConfig,
  configFolder: string,
): Promise<PrepareResult<K>> {
  const { options } = config;
  let definition: PluginDefinition<K>;
  let checked: ValidatedOptions<unknown>;
  try {
    definition = await resolvePlugin(kind, config.plugin, configFolder);
    const validating = validateOptions(definition.options, options, definition.secretOptions);
    checked = await withinLoadLimit(
      `The ${kind} plugin '${config.plugin}' is broken: checking its options`,
      validating,
    );
  } catch (error) {
    const path = formatPath([...options.path.slice(0, -1), 'plugin']);
    const message = isRatecatError(error) ? `${error.code}: ${error.message}` : describeError(error);
    return { problems: [{ file: options.file, ...options.at, path, message, hint: undefined }] };
  }
  if (checked.problems !== undefined) return { problems: checked.problems };
  const create = (context: PluginContext) => createRole(config.plugin, definition, checked.value, context);
  return { plugin: { name: config.plugin, definition, create }, problems: [] };
}

function createRole<K extends PluginKind>(
  name: string,
  definition: PluginDefinition<K>,
  options: unknown,
  context: PluginContext,
): PluginRoles[K] {
  let role: PluginRoles[K];
  try {
    role = definition.create(options, context);
  } catch (error) {
    if (isRatecatError(error)) throw error;
    throw createFailed(definition, name, `cannot be made from its options: ${describeError(error)}`, error);
  }
  const lacks = missingMembers(definition.kind, role);
  if (lacks.length === 0) return role;
  throw createFailed(definition, name, `made something that lacks ${lacks.join(', ')}`);
}

function createFailed(
  { kind }: PluginDefinition,
  name: string,
  problem: string,
  cause?: unknown,
): PluginError {
  return new PluginError(
    'RATECAT_PLUGIN_CREATE_FAILED',
    `The ${kind} plugin '${name}' ${problem}. Check its options, and report it to its author if they are right.`,
    { cause },
  );
}

const METHODS: Readonly<Record<PluginKind, readonly string[]>> = {
  fetcher: ['fetchScopes'],
  collector: ['collect'],
  rating: ['compile'],
  storage: ['replacePeriod', 'readPeriods', 'countPoints', 'total', 'deletePeriods', 'scopesWithData'],
  notifier: ['publish'],
};

/** Found at the start rather than when the first period is due. */
function missingMembers(kind: PluginKind, role: unknown): readonly string[] {
  const members = (role ?? {}) as Readonly<Record<string, unknown>>;
  const lacks = METHODS[kind]
    .filter((name) => typeof members[name] !== 'function')
    .map((name) => `${name}()`);
  if (kind === 'collector' && !isSchema(members.metricOptions)) lacks.push('metricOptions');
  if (kind === 'storage' && typeof members.capabilities !== 'object') lacks.push('capabilities');
  return lacks;
}
