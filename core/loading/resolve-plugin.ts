import { createRequire } from 'node:module';
import { isAbsolute, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { didYouMean } from '../config/nearest-key.js';
import {
  API_VERSION,
  describeError,
  isPluginDefinition,
  type PluginDefinition,
  PluginError,
  type PluginKind,
  type Schema,
} from '../plugin-api/index.js';
import { BUILTIN_PLUGINS } from './builtin-plugins.js';
import { withinLoadLimit } from './load-limit.js';

/**
 * Finds the definition behind a name of the config: a path (relative to the config file), then the built-ins, then a scoped
 * name or subpath as it is, then `ratecat-<kind>-<name>` and `<name>`, looked up from the config file's folder and then from
 * the daemon's.
 * @throws PluginError RATECAT_PLUGIN_NOT_FOUND (with everything that was tried), RATECAT_PLUGIN_BROKEN,
 *   RATECAT_PLUGIN_KIND, RATECAT_PLUGIN_API_MISMATCH
 */
export async function resolvePlugin<K extends PluginKind>(
  kind: K,
  name: string,
  configFolder: string,
): Promise<PluginDefinition<K>> {
  const builtin = Object.hasOwn(BUILTIN_PLUGINS[kind], name) ? BUILTIN_PLUGINS[kind][name] : undefined;
  if (builtin !== undefined) return checked(kind, name, 'built in', (await builtin()).default);
  const tried: Attempt[] = [];
  const path = find(kind, name, configFolder, tried);
  if (path === undefined) throw notFound(kind, name, tried);
  return checked(kind, name, path, await load(kind, name, path));
}

/** One place where a plugin was looked for in vain. */
interface Attempt {
  readonly candidate: string;
  readonly folder: string;
  /** Why it was not taken. */
  readonly reason: string;
  /** Something of that name is there, but cannot be used. */
  readonly present: boolean;
}

function find(kind: PluginKind, name: string, configFolder: string, tried: Attempt[]): string | undefined {
  if (/^\.{0,2}\//.test(name)) return lookUp(resolve(configFolder, name), configFolder, tried);
  const candidates = name.includes('/') ? [name] : [`ratecat-${kind}-${name}`, name];
  const daemonFolder = fileURLToPath(new URL('.', import.meta.url));
  for (const candidate of candidates) {
    for (const folder of [configFolder, daemonFolder]) {
      const path = lookUp(candidate, folder, tried);
      if (path !== undefined) return path;
    }
  }
  return undefined;
}

function lookUp(candidate: string, folder: string, tried: Attempt[]): string | undefined {
  try {
    const path = createRequire(join(folder, 'noop.js')).resolve(candidate);
    // A name such as `fs` or `fs/promises` would find Node's own module.
    if (isAbsolute(path)) return path;
    tried.push({ candidate, folder, reason: 'a module of Node itself', present: false });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    // A damaged package.json is a plain SyntaxError.
    const present = code === undefined || code.startsWith('ERR_PACKAGE_') || error instanceof SyntaxError;
    const reason = UNUSABLE[code ?? ''] ?? (present ? message : code);
    tried.push({ candidate, folder, reason, present });
  }
  return undefined;
}

/** What Node's codes mean to the author of a package. */
const UNUSABLE: Readonly<Record<string, string>> = {
  ERR_PACKAGE_PATH_NOT_EXPORTED:
    "its package.json exports nothing of that name under the condition 'default' (an 'import' alone cannot be resolved)",
};

async function load(kind: PluginKind, name: string, path: string): Promise<unknown> {
  try {
    const module = (await withinLoadLimit('loading it', import(pathToFileURL(path).href))) as {
      readonly default?: unknown;
    };
    return module.default;
  } catch (error) {
    throw new PluginError(
      'RATECAT_PLUGIN_BROKEN',
      `The ${kind} plugin '${name}' (${path}) cannot be loaded: ${sentence(describeError(error ?? 'it threw undefined'))} Install it anew with all it needs, or report it to its author.`,
      { cause: error },
    );
  }
}

function checked<K extends PluginKind>(
  kind: K,
  name: string,
  where: string,
  value: unknown,
): PluginDefinition<K> {
  // The default export of a CommonJS module that was compiled from ESM sits one level deeper.
  const nested = (value as { readonly default?: unknown } | undefined)?.default;
  const definition = isPluginDefinition(value) ? value : nested;
  if (!isPluginDefinition(definition)) {
    throw new PluginError(
      'RATECAT_PLUGIN_BROKEN',
      `The ${kind} plugin '${name}' (${where}) has no definition. Name another module, or have its author export definePlugin({...}) as default.`,
    );
  }
  if (definition.apiVersion !== API_VERSION) {
    throw new PluginError(
      'RATECAT_PLUGIN_API_MISMATCH',
      `The ${kind} plugin '${name}' (${where}) was made for plugin API ${String(definition.apiVersion)}; this is ${API_VERSION}. Install a matching version of the plugin.`,
    );
  }
  if (definition.kind !== kind) {
    throw new PluginError(
      'RATECAT_PLUGIN_KIND',
      `The plugin '${name}' (${where}) is a plugin for '${definition.kind}', but the config uses it as ${kind}. Move it to its place, or name another one.`,
    );
  }
  const lacks = missingParts(definition);
  if (lacks.length > 0) {
    throw new PluginError(
      'RATECAT_PLUGIN_BROKEN',
      `The definition of the ${kind} plugin '${name}' (${where}) lacks ${lacks.join(' and ')}. Report it to its author.`,
    );
  }
  return definition as PluginDefinition<K>;
}

/** Nothing in JavaScript keeps an author from leaving them out. */
function missingParts(definition: PluginDefinition): readonly string[] {
  const { name, create, options } = definition as Partial<PluginDefinition>;
  return [
    ...(typeof name === 'string' && name !== '' ? [] : ['a name']),
    ...(typeof create === 'function' ? [] : ['the function create']),
    ...(isSchema(options) ? [] : ['a Standard Schema of its options']),
  ];
}

/** True for what has the validation part of Standard Schema. */
export function isSchema(value: unknown): boolean {
  const standard = (value as Partial<Schema> | null | undefined)?.['~standard'];
  return typeof standard?.validate === 'function';
}

function notFound(kind: PluginKind, name: string, tried: readonly Attempt[]): PluginError {
  const details = {
    tried: tried.map(({ candidate, folder, reason }) => `${candidate} from ${folder}: ${reason}`),
  };
  const unusable = tried.find(({ present }) => present);
  if (unusable !== undefined) {
    return new PluginError(
      'RATECAT_PLUGIN_BROKEN',
      `The ${kind} plugin '${name}' is installed as '${unusable.candidate}' but cannot be used: ${sentence(unusable.reason)} Report it to its author.`,
      { details },
    );
  }
  const builtins = Object.keys(BUILTIN_PLUGINS[kind]);
  const meant = didYouMean(name, builtins);
  const each = (values: readonly string[]) => [...new Set(values)].join(' and ');
  const sought = `${each(tried.map(({ candidate }) => candidate))} from ${each(tried.map(({ folder }) => folder))}`;
  const remedy = 'Correct the name, or install the package beside the config file.';
  return new PluginError(
    'RATECAT_PLUGIN_NOT_FOUND',
    `No ${kind} plugin '${name}'${meant === undefined ? '.' : `; ${meant}`} Built in: ${builtins.join(', ')}. Tried: ${sought}. ${remedy}`,
    { details },
  );
}

function sentence(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim().slice(0, 300);
  return /[.!?]$/.test(line) ? line : `${line}.`;
}
