import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Config } from './config.js';
import { DATABASE_URL, SHORT_FORM_KEYS } from './config-schema.js';
import { type ConfigPath, type Problem, TOP } from './problems.js';
import { keyPositionOf, nodeAt, type YamlDocument } from './yaml-document.js';
import type { MapNode } from './yaml-tree.js';

/** Checks of those who understand a value. Each gives what is wrong with it, or undefined. */
export interface ConfigChecks {
  /** What is wrong with a skip expression, or undefined. Absent: not checked here. */
  readonly checkExpression?: ((text: string) => string | undefined) | undefined;
  /** What is wrong with a database URL, in words that do not show it, or undefined. Absent: only its scheme is checked. */
  readonly checkDatabaseUrl?: ((url: string) => string | undefined) | undefined;
}

const DAY = 86_400;

/** Looks at the document, not at the checked value, so that these problems appear beside those of the schema. */
export function configRelations(
  document: YamlDocument,
  folder: string,
  checks: ConfigChecks,
): readonly Problem[] {
  return [
    ...missingFiles(document, folder),
    ...duplicates(document, 'pipelines', 'name', 'each pipeline needs a name of its own'),
    ...duplicates(document, 'rating', 'plugin', 'list each rating module once'),
    ...duplicates(document, 'budgets', 'name', 'each budget needs a name of its own'),
    ...sameNotifiers(document),
    ...badExpressions(document, checks),
    ...badDatabaseUrl(document, checks),
    ...retryOrder(document),
    ...apiAccess(document),
  ];
}

/** Keys of the short form beside `pipelines`. */
export function mixedForms(document: YamlDocument): readonly Problem[] {
  const { entries } = document.root as MapNode;
  return SHORT_FORM_KEYS.filter((key) => entries.has(key)).map((key) => ({
    ...document.problem(
      [key],
      `'${key}' cannot stand beside 'pipelines'`,
      'move it into the list, or remove the list',
    ),
    ...keyPositionOf(document.root, [key], TOP),
  }));
}

function missingFiles(document: YamlDocument, folder: string): readonly Problem[] {
  const rules = indexes(document, 'rating').map((index) => ['rating', index, 'rules']);
  return [...collectPaths(document).map((path) => [...path, 'metrics']), ...rules].flatMap((path) => {
    const name = textAt(document, path);
    const file = name === undefined ? undefined : resolve(folder, name);
    if (file === undefined || statSync(file, { throwIfNoEntry: false })?.isFile()) return [];
    return [
      document.problem(path, `there is no file ${file}`, 'paths are relative to the folder of this file'),
    ];
  });
}

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|::1)$/;

/** An API without authentication must not be reachable by accident; one with Keystone must know how to log in. */
function apiAccess(document: YamlDocument): readonly Problem[] {
  const written = nodeAt(document.root, ['api', 'auth']);
  const auth = written === undefined ? 'noauth' : textAt(document, ['api', 'auth']);
  if (auth === 'keystone') {
    if (nodeAt(document.root, ['api', 'keystone']) !== undefined) return [];
    const hint = 'give auth_url, username, password, project_name and the domains of the service user';
    return [
      document.problem(['api', 'auth'], "the section 'api.keystone' is required with auth: keystone", hint),
    ];
  }
  const host = textAt(document, ['api', 'host']);
  if (auth !== 'noauth' || host === undefined || LOOPBACK.test(host)) return [];
  const allowed = nodeAt(document.root, ['api', 'allow_insecure_bind']);
  if (allowed?.kind === 'scalar' && allowed.text === 'true') return [];
  return [
    document.problem(
      ['api', 'host'],
      `without authentication everybody who reaches ${host} is an administrator`,
      'set api.auth to keystone, keep 127.0.0.1, or set api.allow_insecure_bind to true',
    ),
  ];
}

function duplicates(document: YamlDocument, list: string, key: string, hint: string): readonly Problem[] {
  const first = new Map<string, number>();
  return indexes(document, list).flatMap((index) => {
    const path = [list, index, key];
    const name = textAt(document, path);
    if (name === undefined) return [];
    const line = first.get(name);
    if (line !== undefined)
      return [document.problem(path, `'${name}' is already used in line ${line}`, hint)];
    first.set(name, document.locate(path).line);
    return [];
  });
}

/** Without a name a notifier is called like its plugin. Events wait under that name. */
function sameNotifiers(document: YamlDocument): readonly Problem[] {
  const first = new Map<string, number>();
  return indexes(document, 'notifications').flatMap((index) => {
    const named = ['notifications', index, 'name'];
    const path = textAt(document, named) === undefined ? ['notifications', index, 'plugin'] : named;
    const name = textAt(document, path);
    if (name === undefined) return [];
    const line = first.get(name);
    if (line !== undefined)
      return [
        document.problem(
          path,
          `the name '${name}' is already used in line ${line}`,
          "give each notifier a 'name' of its own",
        ),
      ];
    first.set(name, document.locate(path).line);
    return [];
  });
}

function badExpressions(document: YamlDocument, checks: ConfigChecks): readonly Problem[] {
  return collectPaths(document).flatMap((collect) => {
    const path = [...collect, 'skip_datapoints_expression'];
    const expression = textAt(document, path);
    const fault = expression === undefined ? undefined : checks.checkExpression?.(expression);
    return fault === undefined ? [] : [document.problem(path, fault)];
  });
}

function badDatabaseUrl(document: YamlDocument, checks: ConfigChecks): readonly Problem[] {
  const path = ['database', 'url'];
  const url = textAt(document, path);
  const fault = url === undefined || !DATABASE_URL.test(url) ? undefined : checks.checkDatabaseUrl?.(url);
  return fault === undefined ? [] : [document.problem(path, fault)];
}

function retryOrder(document: YamlDocument): readonly Problem[] {
  const [first, max] = ['first_seconds', 'max_seconds'].map((key) => numberAt(document, ['retry', key]));
  if ((first ?? 5) <= (max ?? 900)) return [];
  const path = ['retry', first === undefined ? 'max_seconds' : 'first_seconds'];
  return [document.problem(path, `first_seconds ${first ?? 5} is more than max_seconds ${max ?? 900}`)];
}

/** What works but is probably not meant. */
export function periodWarnings(document: YamlDocument, config: Config): readonly Problem[] {
  return config.pipelines
    .filter(({ collect }) => DAY % collect.periodSeconds !== 0)
    .map(({ path, collect }) =>
      document.problem(
        [...path, 'collect', 'period'],
        `periods of ${collect.periodSeconds} s do not divide a day, so they straddle midnight`,
        'a period is counted to the day of its begin; 3600, 900 or 300 are usual',
      ),
    );
}

function collectPaths(document: YamlDocument): readonly ConfigPath[] {
  return [['collect'], ...indexes(document, 'pipelines').map((index) => ['pipelines', index, 'collect'])];
}

function indexes(document: YamlDocument, key: string): readonly number[] {
  const list = nodeAt(document.root, [key]);
  return list?.kind === 'list' ? list.items.map((_, index) => index) : [];
}

function textAt(document: YamlDocument, path: ConfigPath): string | undefined {
  const node = nodeAt(document.root, path);
  return node?.kind === 'scalar' && node.type === 'string' && node.text !== '' ? node.text : undefined;
}

function numberAt(document: YamlDocument, path: ConfigPath): number | undefined {
  const node = nodeAt(document.root, path);
  return node?.kind === 'scalar' && (node.type === 'number' || node.untyped) ? Number(node.text) : undefined;
}
