import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { z } from 'zod';
import { bindMetrics } from '../../../core/config/bind-metrics.js';
import type { PluginConfig } from '../../../core/config/config.js';
import { loadConfig } from '../../../core/config/load-config.js';
import { loadMetrics } from '../../../core/config/load-metrics.js';
import { isRational } from '../../../core/config/metrics-schema.js';
import { configError, type Problem } from '../../../core/config/problems.js';
import { validateOptions } from '../../../core/config/validate-options.js';
import { parseYaml } from '../../../core/config/yaml-document.js';
import type { SourceNode } from '../../../core/config/yaml-tree.js';
import { resolvePlugin } from '../../../core/loading/resolve-plugin.js';
import type { PluginKind } from '../../../core/plugin-api/index.js';
import { fakeContext } from '../../../core/testkit/fakes.js';
import { brief, EXAMPLES, folderWith, problemsOf } from './config-fixtures.js';

const CONFIGS = ['ratecat.yml', 'openstack.yml', 'prometheus.yml', 'file.yml'];
const METRICS = ['host.metrics.yml', 'openstack.metrics.yml', 'prometheus.metrics.yml', 'file.metrics.yml'];
const DATABASE_URL = 'mysql://ratecat:database-secret@db:3306/ratecat';
const STUB_METRICS = 'metrics:\n  a: {unit: b}\n';

/** Everything beside the file under test, so that each file's own faults are what is seen. */
const NEIGHBOURS = {
  'host.metrics.yml': STUB_METRICS,
  'file.metrics.yml': STUB_METRICS,
  'openstack.metrics.yml': STUB_METRICS,
  'prometheus.metrics.yml': STUB_METRICS,
  'host.rules.yml': 'services: []\n',
  'database-url': `${DATABASE_URL}\n`,
  password: 'keystone-secret\nsecond line\n',
};

function environmentOf(folder: string) {
  return {
    RATECAT_DATABASE_URL_FILE: join(folder, 'database-url'),
    RATECAT_PASSWORD_FILE: join(folder, 'password'),
  };
}

/** Stand-ins for the plugins' own schemas: exactly the options that the examples use. */
const text = z.string().min(1);
const keystone = {
  auth_url: text,
  auth_type: z.enum(['password', 'v3applicationcredential']).default('password'),
  username: text,
  password: text,
  user_domain_name: text,
  project_name: text,
  project_domain_name: text,
  timeout: z.number().positive().default(60),
};
const prometheus = { url: text, timeout: z.number().positive().default(60) };
const OPTIONS: Readonly<Record<string, z.ZodType>> = {
  'fetcher host': z.strictObject({ scopes: z.enum(['host', 'slice', 'user']).default('host') }),
  'collector host': z.strictObject({ scopes: z.enum(['host', 'slice', 'user']).default('host') }),
  'fetcher keystone': z.strictObject(keystone),
  'collector gnocchi': z.strictObject({ ...keystone, region_name: text.default('RegionOne') }),
  'fetcher prometheus': z.strictObject({
    ...prometheus,
    metric: text,
    scope_attribute: text.default('project_id'),
  }),
  'collector prometheus': z.strictObject(prometheus),
  'fetcher file': z.strictObject({ folder: text }),
  'collector file': z.strictObject({ folder: text }),
};

/** What the daemon does before it starts: the file itself, then the options of all plugins. */
async function checkConfig(file: string, folder: string): Promise<void> {
  const { config } = await loadConfig(file, environmentOf(folder));
  const plugins = config.pipelines.flatMap(({ fetcher, collector }) => [
    { kind: 'fetcher', ...fetcher },
    { kind: 'collector', ...collector },
  ]);
  const problems: Problem[] = [];
  for (const { kind, plugin, options } of plugins) {
    const schema = OPTIONS[`${kind} ${plugin}`];
    assert.ok(schema !== undefined, `unexpected plugin ${plugin}`);
    problems.push(...((await validateOptions(schema, options)).problems ?? []));
  }
  if (problems.length > 0) throw configError(problems);
}

const METRIC_OPTIONS: Readonly<Record<string, z.ZodType>> = {
  'host.metrics.yml': z.strictObject({ aggregation: z.enum(['average', 'integral']).optional() }),
  'file.metrics.yml': z.strictObject({
    aggregation: z.enum(['sum', 'mean', 'max', 'min', 'last']).optional(),
  }),
  'openstack.metrics.yml': z.strictObject({
    resource_type: text,
    aggregation_method: z.enum(['mean', 'sum']),
    // Ceilometer's archive policy has no other, and without it a project with such a metric would be stuck.
    force_granularity: z.literal(300),
    custom_query: text.optional(),
  }),
  'prometheus.metrics.yml': z.strictObject({
    aggregation_method: z.enum(['sum', 'max']).default('max'),
    range_function: z.enum(['rate', 'delta']).optional(),
  }),
};

async function checkMetrics(name: string, file: string): Promise<void> {
  const metrics = await loadMetrics(file);
  await bindMetrics(metrics, { metricOptions: METRIC_OPTIONS[name]! }, 'project_id');
}

interface Key {
  readonly path: readonly string[];
  readonly line: number;
  readonly column: number;
  /** Lines of the key and everything below it. */
  readonly lines: number;
  readonly value: SourceNode;
}

/** Every key that stands at the begin of a line of its own, with its place. */
function keysOf(source: string): readonly Key[] {
  const lines = source.split('\n');
  const walk = (node: SourceNode, path: readonly string[]): readonly Key[] => {
    if (node.kind === 'list')
      return node.items.flatMap((item, index) => walk(item, [...path, String(index)]));
    if (node.kind === 'scalar') return [];
    return [...node.entries].flatMap(([key, { keyAt, value }]) => {
      const found = { path: [...path, key], line: keyAt.line, column: keyAt.column, value };
      return [{ ...found, lines: extent(lines, keyAt.line, keyAt.column) }, ...walk(value, found.path)];
    });
  };
  const seen = new Set<string>();
  return walk(parseYaml(source, 'example').root, []).filter(({ line, column, path }) => {
    const before = lines[line - 1]!.slice(0, column - 1);
    const place = `${line}:${column}`;
    // What `<<` merges in stands elsewhere and is seen there.
    if (seen.has(place) || !/^[ -]*$/.test(before)) return false;
    seen.add(place);
    return path.length > 0;
  });
}

function extent(lines: readonly string[], line: number, column: number): number {
  let end = line;
  while (end < lines.length && (lines[end] === '' || /^ */.exec(lines[end]!)![0].length >= column)) end++;
  return end - line + 1;
}

/** The source with the line of a key rewritten. */
function withLine(source: string, { line }: Key, change: (line: string) => string): string {
  return source
    .split('\n')
    .map((text, index) => (index === line - 1 ? change(text) : text))
    .join('\n');
}

function withoutKey(source: string, { line, lines }: Key): string {
  const kept = source.split('\n');
  // The first key of a list item shares its line with the dash.
  const dash = /^ *- /.exec(kept[line - 1]!)?.[0];
  kept.splice(line - 1, lines, ...(dash === undefined ? [] : [`${dash.trimEnd()}`]));
  if (dash !== undefined && kept[line] !== undefined && /^ +\S/.test(kept[line]!)) {
    kept.splice(line - 1, 2, dash + kept[line]!.trimStart());
  }
  return kept.join('\n');
}

/** The source with the value of a key (all of it) replaced by text on the key's line. */
function withValue(source: string, key: Key, value: string): string {
  const lines = source.split('\n');
  const name = key.path.at(-1)!;
  const before = lines[key.line - 1]!.slice(0, key.column - 1);
  lines.splice(key.line - 1, key.lines, `${before}${name}: ${value}`);
  return lines.join('\n');
}

/** One slip in a short name, two in a long one. */
function misspelt(name: string): string {
  const swapped = `${name.slice(0, -2)}${name.at(-1)}${name.at(-2)}`;
  return name.length < 6 && swapped !== name ? swapped : `${swapped}x`;
}

function bomb(): string {
  const levels = Array.from({ length: 20 }, (_, level) => {
    const item = level === 0 ? 'x' : `*b${level - 1}`;
    return `&b${level} [${Array(10).fill(item).join(', ')}]`;
  });
  return `[${levels.join(', ')}]`;
}

type Check = (source: string) => Promise<readonly Problem[]>;

/** The catalogue of faults, applied to every key of a file; gives the number of cases. */
async function everyFault(
  source: string,
  check: Check,
  accepts: (source: string) => Promise<void>,
): Promise<number> {
  const keys = keysOf(source);
  let cases = 0;
  for (const key of keys) {
    const name = key.path.at(-1)!;
    const label = `${key.path.join('.')} in line ${key.line}`;
    const at = (problems: readonly Problem[], line: number) =>
      assert.ok(
        problems.some((problem) => problem.line === line),
        `${label}: ${problems.map(brief).join('\n')}`,
      );

    const deleted = withoutKey(source, key);
    const missing = await accepts(deleted).then(
      () => [],
      () => check(deleted),
    );
    for (const problem of missing)
      assert.match(
        problem.message,
        /is required|has no value|no metric|at least|no anchor|empty|definition|is an administrator/,
        label,
      );

    if (name !== '<<' && !isFree(key.path)) {
      const wrong = misspelt(name);
      const problems = await check(withLine(source, key, (line) => line.replace(name, wrong)));
      at(problems, key.line);
      const unknown = problems.find((problem) => problem.message.includes(`'${wrong}'`));
      assert.equal(unknown?.column, key.column, `${label}: ${problems.map(brief).join('\n')}`);
      assert.equal(unknown?.hint, `did you mean '${name}'?`, label);
    }

    const types = key.value.kind === 'scalar' ? ['[1, 2]', '{a: 1}'] : ['7'];
    for (const value of name === '<<' ? ['7'] : types) {
      const problems = await check(withValue(source, key, value));
      if (!problems.some((problem) => problem.message.includes('no anchor'))) at(problems, key.line);
      cases++;
    }

    const twice = await check(
      withLine(
        source,
        key,
        (line) => `${line.slice(0, key.column - 1)}${name}: 1\n${line.replace(/^( *)- /, '$1  ')}`,
      ),
    );
    assert.ok(
      name === '<<' || twice.some(({ message }) => message === `key '${name}' is given twice`),
      `${label}: ${twice.map(brief).join('\n')}`,
    );

    const tabbed = await check(withLine(source, key, (line) => `\t${line.trimStart()}`));
    at(tabbed, key.line);
    const marked = await check(withLine(source, key, (line) => `\ufeff${line}`));
    assert.deepEqual(
      [marked[0]?.line, marked[0]?.column, marked[0]?.message],
      [key.line, 1, 'an invisible byte order mark'],
      label,
    );
    const exploding = await check(withValue(source, key, bomb()));
    assert.ok(
      exploding.some(({ line, message }) => line === key.line && message.includes('aliases stand for more')),
      label,
    );
    cases += 6;
  }
  return cases;
}

/** Names that the operator chooses. */
function isFree(path: readonly string[]): boolean {
  return path.length === 2 && path[0] === 'metrics';
}

describe('example configurations', () => {
  for (const name of CONFIGS) {
    it(`${name} refuses every fault in every key with its place and the nearest key`, async (context) => {
      const folder = await folderWith(context, NEIGHBOURS);
      const source = await readFile(join(EXAMPLES, name), 'utf8');
      const file = join(folder, name);
      const accepts = async (text: string) => {
        await writeFile(file, text);
        await checkConfig(file, folder);
      };
      await accepts(source);
      const cases = await everyFault(source, (text) => problemsOf(() => accepts(text)), accepts);
      context.diagnostic(`${cases} faults`);
      assert.ok(cases > 100);
    });

    it(`${name} names the second that was meant when a duration has a unit`, async (context) => {
      const folder = await folderWith(context, NEIGHBOURS);
      const source = await readFile(join(EXAMPLES, name), 'utf8');
      const file = join(folder, name);
      const periods = keysOf(source).filter(({ path }) => path.at(-1) === 'period');
      assert.equal(periods.length, 1);
      for (const key of periods) {
        await writeFile(file, withValue(source, key, '1h'));
        const problems = await problemsOf(() => loadConfig(file, environmentOf(folder)));
        assert.deepEqual(problems.map(brief), [
          `${key.line}:11 collect.period: must be a whole number of seconds from 1 to 2678400, got '1h' (write 3600)`,
        ]);
      }
    });

    it(`${name} loads as it is shipped, with its metrics and rules`, async (context) => {
      const folder = await folderWith(context, NEIGHBOURS);
      const { config, warnings } = await loadConfig(join(EXAMPLES, name), environmentOf(folder));
      assert.deepEqual(warnings, []);
      for (const { collect } of config.pipelines) {
        const { metrics, warnings } = await loadMetrics(collect.metricsFile);
        assert.ok(metrics.length > 0);
        assert.deepEqual(warnings, []);
      }
      for (const { rulesFile } of config.rating) assert.ok(rulesFile === undefined || existsSync(rulesFile));
    });
  }

  for (const name of METRICS) {
    it(`${name} refuses every fault in every key with its place and the nearest key`, async (context) => {
      const folder = await folderWith(context, {});
      const source = await readFile(join(EXAMPLES, name), 'utf8');
      const file = join(folder, name);
      const accepts = async (text: string) => {
        await writeFile(file, text);
        await checkMetrics(name, file);
      };
      await accepts(source);
      const cases = await everyFault(source, (text) => problemsOf(() => accepts(text)), accepts);
      context.diagnostic(`${cases} faults`);
      assert.ok(cases > 100);
    });
  }

  for (const name of CONFIGS) {
    it(`${name} gives every built-in plugin and metric options that it accepts`, async (context) => {
      const folder = await folderWith(context, NEIGHBOURS);
      const { config } = await loadConfig(join(EXAMPLES, name), environmentOf(folder));
      const accepted = async <K extends PluginKind>(kind: K, { plugin, options }: PluginConfig) => {
        const definition = await resolvePlugin(kind, plugin, config.folder);
        const result = await validateOptions(definition.options, options, definition.secretOptions);
        assert.deepEqual(result.problems?.map(brief), undefined);
        return { definition, options: result.value };
      };
      await accepted('storage', config.storage);
      for (const module of config.rating) await accepted('rating', module);
      for (const { collect, fetcher, collector } of config.pipelines) {
        await accepted('fetcher', fetcher);
        const { definition, options } = await accepted('collector', collector);
        const client = { request: () => Promise.reject(new Error('no network')), close: async () => {} };
        const plugin = definition.create(options, fakeContext({ http: { client: () => client } }));
        const bound = await bindMetrics(await loadMetrics(collect.metricsFile), plugin, collect.scopeKey);
        assert.ok(bound.every(({ metric }) => metric.groupby.includes(collect.scopeKey)));
        assert.ok(
          bound.every(({ definition: { factor, offset } }) =>
            [factor, offset].every(({ text }) => isRational(text)),
          ),
        );
      }
    });
  }

  it('has secrets in no example', async () => {
    for (const name of CONFIGS) {
      const source = await readFile(join(EXAMPLES, name), 'utf8');
      assert.doesNotMatch(source, /^ *(password|secret|token): [^.$]/m, name);
    }
  });
});
