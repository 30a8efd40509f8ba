import {
  type LocatedMetric,
  type MetricChecks,
  type MetricDefinition,
  readMetric,
} from './metric-definition.js';
import { didYouMean } from './nearest-key.js';
import { type ConfigPath, configError, type Position, type Problem } from './problems.js';
import {
  type InspectedYaml,
  inspectYaml,
  inspectYamlText,
  nodeAt,
  withFollowing,
  type YamlDocument,
} from './yaml-document.js';

/** What `loadMetrics` gives is made of these. */
export type { MetricDefinition, NumberText } from './metric-definition.js';

export interface MetricsFile {
  readonly file: string;
  /** In the order of the file. */
  readonly metrics: readonly MetricDefinition[];
  readonly warnings: readonly Problem[];
}

const MAX_BYTES = 256 * 1024;

/**
 * Reads a metrics file in the reference's format.
 * @throws ConfigError RATECAT_CONFIG_INVALID that lists every problem with file, line and column.
 */
export async function loadMetrics(file: string, checks: MetricChecks = {}): Promise<MetricsFile> {
  return readMetrics(await inspectYaml(file, { maxBytes: MAX_BYTES }), checks);
}

/** As `loadMetrics`, for text that is already there; `file` is what problems call it. */
export async function parseMetrics(
  text: string,
  file = 'metrics.yml',
  checks: MetricChecks = {},
): Promise<MetricsFile> {
  return readMetrics(inspectYamlText(text, file), checks);
}

async function readMetrics(inspected: InspectedYaml, checks: MetricChecks): Promise<MetricsFile> {
  const { document } = inspected;
  const top = topProblems(document);
  const written = await Promise.all(places(document).map((place) => readMetric(document, place, checks)));
  const definitions = written.flatMap(({ definition }) => (definition === undefined ? [] : [definition]));
  const problems = withFollowing(inspected.problems, [
    ...top,
    ...written.flatMap((result) => result.problems),
    ...sharedNames(document, definitions),
  ]);
  if (problems.length > 0) throw configError(problems);
  return {
    file: document.file,
    metrics: definitions.map(({ metric }) => metric),
    warnings: written.flatMap((result) => result.warnings),
  };
}

// ------------------------------------------------------------------------------------------------------- the whole file

function topProblems(document: YamlDocument): readonly Problem[] {
  const { root } = document;
  const hint = 'write `metrics:` and the metrics below it, indented';
  if (root.kind !== 'map')
    return [document.problem([], 'the top level must be a mapping with the key metrics', hint)];
  const unknown = [...root.entries].filter(([key]) => key !== 'metrics');
  const problems = unknown.map(([key, { keyAt }]) => ({
    ...document.problem(
      [key],
      `unknown key '${key}'`,
      didYouMean(key, ['metrics']) ?? 'only metrics is known here',
    ),
    ...keyAt,
  }));
  const metrics = root.entries.get('metrics')?.value;
  const misspelt = unknown.some(([key]) => didYouMean(key, ['metrics']) !== undefined);
  if (metrics === undefined)
    return misspelt ? problems : [...problems, document.problem(['metrics'], 'is required', hint)];
  if (metrics.kind !== 'map' || metrics.entries.size === 0) {
    const message = 'must be a mapping of metric names with at least one metric';
    return [
      ...problems,
      document.problem(['metrics'], message, 'write `name:` and its keys below, indented'),
    ];
  }
  return problems;
}

/** Paths of all definitions: one per metric, or one per item where a metric has a list. */
function places(document: YamlDocument): readonly ConfigPath[] {
  const metrics = nodeAt(document.root, ['metrics']);
  if (metrics?.kind !== 'map') return [];
  return [...metrics.entries].flatMap(([name, { value }]): ConfigPath[] => {
    const path = ['metrics', name];
    if (value.kind !== 'list' || value.items.length === 0) return [path];
    return value.items.map((_, index) => [...path, index]);
  });
}

/**
 * Two definitions of one rated name would be summed into one another. The reference refuses it within a metric and lets
 * the later one win silently across metrics.
 */
function sharedNames(document: YamlDocument, definitions: readonly LocatedMetric[]): readonly Problem[] {
  const first = new Map<string, LocatedMetric>();
  return definitions.flatMap((definition) => {
    const { metric, path } = definition;
    const earlier = first.get(metric.ratedName);
    if (earlier === undefined) {
      first.set(metric.ratedName, definition);
      return [];
    }
    const line = namePosition(document, earlier).line;
    const message = `the rated name '${metric.ratedName}' is already used by metric '${earlier.metric.name}' in line ${line}`;
    const problem = document.problem(path, message, 'give each definition an alt_name of its own');
    return [{ ...problem, ...namePosition(document, definition) }];
  });
}

function namePosition(document: YamlDocument, { path }: LocatedMetric): Position {
  return document.locate([...path, 'alt_name']);
}
