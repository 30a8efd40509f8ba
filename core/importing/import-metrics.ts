import { existsSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { stringify } from 'yaml';
import { type MetricDefinition, parseMetrics } from '../config/load-metrics.js';
import { isRational } from '../config/metrics-schema.js';
import { type ConfigPath, configError, type Problem } from '../config/problems.js';
import { nodeAt, parseYaml, type YamlDocument } from '../config/yaml-document.js';
import { readText } from '../config/yaml-text.js';
import { isRatecatError } from '../plugin-api/index.js';
import { besideConfig } from './import-service.js';
import { type ImportSession, listOf } from './import-session.js';
import type { CollectFacts, CollectOverrides } from './import-sources.js';
import {
  DEFAULT_SERVICES,
  metricOfService,
  type ServiceDetails,
  type ServiceMetric,
} from './old-services.js';

const DEFAULT_FILE = '/etc/cloudkitty/metrics.yml';
const MAX_BYTES = 256 * 1024;
const COUNTERS = /^network\.(incoming|outgoing)\.bytes$/;
const FINE: readonly string[] = ['cpu', 'image.size', 'volume.size'];
const TRAFFIC =
  'traffic was rated by the highest reading of a counter that never falls, so in each period everything since the ' +
  'instance started; now it is what flowed in the period';

/** Where the metrics come from: a file, or the list of services that old releases had in its place. */
export interface MetricsSource {
  /** Undefined: from `[collect] services`. */
  readonly file: string | undefined;
  readonly text: string;
  /** The list of release 7: collector, period and services are in the file. */
  readonly oldForm: YamlDocument | undefined;
}

export interface ImportedMetrics {
  /** Undefined: no file was read. */
  readonly source: string | undefined;
  readonly text: string;
  readonly isConverted: boolean;
}

/** Finds and reads the metrics file; undefined when there is none, with a problem that says what to do. */
export async function readMetricsSource(
  session: ImportSession,
  given: string | undefined,
): Promise<MetricsSource | undefined> {
  const setting = session.config.find('collect', 'metrics_conf');
  if (given !== undefined) session.ignored(setting, 'another file is given with --metrics');
  else if (setting === undefined && isOfServices(session))
    return { file: undefined, text: '', oldForm: undefined };
  const wanted = given ?? setting?.text ?? DEFAULT_FILE;
  const file = given ?? candidates(session, wanted).find((path) => existsSync(path)) ?? wanted;
  if (given === undefined && setting !== undefined) {
    if (file === wanted) session.used(setting, ['collect', 'metrics']);
    else session.mapped(setting, ['collect', 'metrics'], `read from ${file}`);
  }
  return readSource(session, file);
}

function isOfServices(session: ImportSession): boolean {
  const collector = session.config.find('collect', 'collector')?.text;
  return collector === 'ceilometer' || session.config.find('collect', 'services') !== undefined;
}

/**
 * Beside the configuration first: files that were copied together belong together. Then the place that is named, also with
 * the other ending.
 */
function candidates(session: ImportSession, wanted: string): readonly string[] {
  const other = wanted.replace(/\.ya?ml$/, (ending) => (ending === '.yml' ? '.yaml' : '.yml'));
  const beside = session.config.files.map((file) => join(dirname(file), basename(wanted)));
  return [...beside, ...besideConfig(session, wanted), ...besideConfig(session, other)];
}

async function readSource(session: ImportSession, file: string): Promise<MetricsSource | undefined> {
  if (!existsSync(file)) {
    const hint = 'give its place with --metrics FILE';
    const message = 'the metrics file does not exist';
    session.problems.push({ file, line: 1, column: 1, path: '', message, hint });
    return undefined;
  }
  try {
    const text = await readText(file, MAX_BYTES);
    const document = parseYaml(text, file);
    return { file, text, oldForm: document.root.kind === 'list' ? document : undefined };
  } catch (error) {
    session.problems.push(...problemsIn(error));
    return undefined;
  }
}

/** What a metrics file of release 7 says in place of `[collect]`. */
export function overridesOf(source: MetricsSource | undefined): CollectOverrides {
  const document = source?.oldForm;
  if (document === undefined) return {};
  return {
    collector: textAt(document, [0, 'collector']),
    period: wholeAt(document, [0, 'period']),
    waitPeriods: wholeAt(document, [0, 'wait_periods']) ?? wholeAt(document, [0, 'wait_period']),
  };
}

/** The metrics file for Ratecat: as it is, or made of an older form. Adds what is wrong with it to the session. */
export async function importMetrics(
  session: ImportSession,
  source: MetricsSource | undefined,
  facts: CollectFacts,
  checkExpression: (text: string) => string | undefined,
): Promise<ImportedMetrics> {
  const services = session.config.find('collect', 'services');
  if (source?.file === undefined || source.oldForm !== undefined) {
    const { file, oldForm } = source ?? {};
    if (oldForm !== undefined) session.ignored(services, 'the metrics file names the services');
    const metrics =
      oldForm === undefined ? fromServices(session, facts) : fromOldForm(session, oldForm, facts);
    return { source: file, text: source === undefined ? '' : written(metrics, file), isConverted: true };
  }
  session.ignored(services, 'the metrics file lists what is measured');
  try {
    const { metrics, warnings } = await parseMetrics(source.text, source.file, { checkExpression });
    session.warnings.push(...warnings);
    for (const metric of metrics) adviseOn(session, metric, facts);
    adviseOnGranularity(session, metrics, facts);
  } catch (error) {
    session.problems.push(...problemsIn(error));
  }
  return { source: source.file, text: source.text, isConverted: false };
}

function adviseOn(
  session: ImportSession,
  metric: MetricDefinition,
  { collector, periodSeconds }: CollectFacts,
): void {
  const { extraArgs, factor, name } = metric;
  const at = { file: extraArgs.file, ...extraArgs.at, path: `metrics.${name}` };
  if (periodSeconds !== 3600 && /^3600(\.0+)?\//.test(factor.text)) {
    const message = `the factor ${factor.text} is made for periods of 3600 s, and the period is ${periodSeconds} s`;
    const hint = `for bytes per second write ${factor.text.replace(/^3600(\.0+)?/, String(periodSeconds))}`;
    session.warnings.push({ ...at, message, hint });
  }
  if (collector === 'prometheus' && argument(metric, 'query') !== undefined) {
    const message = 'extra_args.query is of release 8 only';
    const hint =
      'write the parts of the query as aggregation_method, query_function, range_function, query_prefix and query_suffix';
    session.problems.push({ ...at, message, hint });
  }
  const method = argument(metric, 'aggregation_method') ?? 'max';
  if (collector === 'gnocchi' && COUNTERS.test(name) && !String(method).startsWith('rate:')) {
    const message =
      'is a counter that never falls: each period is charged for everything since the instance started';
    const hint = `${name}.rate with the factor ${periodSeconds}/1000000 counts what flowed in the period`;
    session.warnings.push({ ...at, message, hint });
  }
}

function adviseOnGranularity(
  session: ImportSession,
  metrics: readonly MetricDefinition[],
  { collector }: CollectFacts,
): void {
  const names = metrics
    .filter((metric) => FINE.includes(metric.name) && argument(metric, 'force_granularity') === undefined)
    .map(({ name }) => name);
  if (collector !== 'gnocchi' || names.length === 0) return;
  session.advice.push(
    `${names.join(', ')}: without force_granularity Gnocchi is asked for 3600 s. Newer files of CloudKitty have 300 there.`,
  );
}

function argument({ extraArgs: { value } }: MetricDefinition, name: string): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  return Object.hasOwn(value, name) ? (value as Readonly<Record<string, unknown>>)[name] : undefined;
}

// ------------------------------------------------------------------------------------------------------- older forms

function fromServices(session: ImportSession, facts: CollectFacts): readonly ServiceMetric[] {
  const setting = session.config.find('collect', 'services');
  const names = setting === undefined ? DEFAULT_SERVICES : listOf(setting.text);
  if (setting !== undefined)
    session.mapped(setting, ['collect', 'metrics'], `the same services, read from ${facts.collector}`);
  const metrics = [...new Set(names)].flatMap((service) => {
    const metric = metricOfService(service, {}, facts);
    if (metric === undefined && setting !== undefined) {
      const hint = `known are ${[...DEFAULT_SERVICES, 'radosgw.usage'].join(', ')}; describe others in a metrics file and give it with --metrics`;
      session.problem(setting, `the service '${service.slice(0, 60)}' is not known`, hint);
    }
    return metric === undefined ? [] : [metric];
  });
  adviseOnServices(session, metrics, facts);
  return metrics;
}

/** What is not as it was. */
function adviseOnServices(
  session: ImportSession,
  metrics: readonly ServiceMetric[],
  { collector }: CollectFacts,
): void {
  const names = metrics.map(({ definition }) => definition.alt_name);
  const traffic = names.filter((name) => name.startsWith('network.bw.'));
  if (traffic.length > 0) session.advice.push(`${traffic.join(', ')}: ${TRAFFIC}.`);
  if (collector === 'gnocchi' && names.includes('compute')) {
    session.advice.push(
      'Attributes have the names of Gnocchi: rules on the field flavor must be moved to flavor_name. Compare the metrics file with your rules.',
    );
  }
}

function fromOldForm(
  session: ImportSession,
  document: YamlDocument,
  facts: CollectFacts,
): readonly ServiceMetric[] {
  const { root } = document;
  const entries = root.kind === 'list' ? root.items.length : 0;
  if (entries !== 1) {
    const hint = 'import a file with one entry; each further one becomes a pipeline of its own';
    session.problems.push(document.problem([], `the list has ${entries} entries in place of one`, hint));
  }
  const collector = textAt(document, [0, 'collector']);
  if (facts.collector === 'prometheus' || (collector !== undefined && collector !== facts.collector)) {
    const hint = 'write the metrics in the form that docs/configuration.md shows';
    const message = 'only lists for gnocchi and ceilometer can be converted';
    session.problems.push(document.problem([0, 'collector'], message, hint));
    return [];
  }
  const names = namesAt(document, [0, 'services']);
  if (names.length === 0) {
    session.problems.push(document.problem([0, 'services'], 'names no services', 'list at least one'));
  }
  const metrics = names.flatMap((service, index) => {
    const details = detailsOf(session, document, service);
    const metric = metricOfService(service, details, facts);
    if (metric !== undefined) return [metric];
    const hint = 'give services_objects, services_metrics and metrics_units for it';
    session.problems.push(
      document.problem([0, 'services', index], `too little is said about '${service}'`, hint),
    );
    return [];
  });
  adviseOnServices(session, metrics, facts);
  return metrics;
}

function detailsOf(session: ImportSession, document: YamlDocument, service: string): ServiceDetails {
  const aggregations = aggregationsOf(document, service);
  const units = ['metrics_units', 'services_units'].map((key) => [0, key, service] as ConfigPath);
  const path = units.find((candidate) => nodeAt(document.root, candidate) !== undefined);
  const node = path === undefined ? undefined : nodeAt(document.root, path);
  const measured = node?.kind === 'map' ? [...node.entries.keys()] : [];
  const rated = measured.find((name) => name !== '1');
  const counts = rated === undefined && measured.length > 0;
  const metric = rated ?? (counts && aggregations.has('cpu') ? 'cpu' : [...aggregations.keys()][0]);
  const unitPath = path === undefined ? undefined : [...path, rated ?? '1'];
  const number = (key: string) =>
    unitPath === undefined ? undefined : rationalAt(session, document, [...unitPath, key]);
  return {
    metric,
    counts: measured.length === 0 ? undefined : counts,
    unit:
      unitPath === undefined
        ? undefined
        : (textAt(document, [...unitPath, 'unit']) ?? textAt(document, unitPath)),
    factor: number('factor'),
    offset: number('offset'),
    resourceType: textAt(document, [0, 'services_objects', service]),
    aggregation: metric === undefined ? undefined : aggregations.get(metric),
  };
}

/** `- volume.size: max`, one mapping for each metric. */
function aggregationsOf(document: YamlDocument, service: string): ReadonlyMap<string, string> {
  const list = nodeAt(document.root, [0, 'services_metrics', service]);
  const found = new Map<string, string>();
  for (const item of list?.kind === 'list' ? list.items : []) {
    if (item.kind === 'scalar') found.set(item.text, 'max');
    if (item.kind !== 'map') continue;
    for (const [name, { value }] of item.entries)
      found.set(name, value.kind === 'scalar' ? value.text : 'max');
  }
  return found;
}

function rationalAt(session: ImportSession, document: YamlDocument, path: ConfigPath): string | undefined {
  const node = nodeAt(document.root, path);
  if (node === undefined) return undefined;
  if (node.kind === 'scalar' && isRational(node.text)) return node.text.trim();
  const hint = 'such as 0.5 or "1/1048576"';
  session.problems.push(document.problem(path, 'must be a number or a fraction of whole numbers', hint));
  return undefined;
}

function textAt(document: YamlDocument, path: ConfigPath): string | undefined {
  const node = nodeAt(document.root, path);
  return node?.kind === 'scalar' && node.type !== 'null' && node.text !== '' ? node.text : undefined;
}

function wholeAt(document: YamlDocument, path: ConfigPath): number | undefined {
  const text = textAt(document, path);
  return text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : undefined;
}

function namesAt(document: YamlDocument, path: ConfigPath): readonly string[] {
  const node = nodeAt(document.root, path);
  if (node?.kind !== 'list') return [];
  return node.items.flatMap((item) => (item.kind === 'scalar' ? [item.text] : []));
}

/** Several services of one metric become a list. */
function written(metrics: readonly ServiceMetric[], file: string | undefined): string {
  const byName = new Map<string, ServiceMetric['definition'][]>();
  for (const { name, definition } of metrics) byName.set(name, [...(byName.get(name) ?? []), definition]);
  const entries = [...byName].map(([name, definitions]) => [
    name,
    definitions.length === 1 ? definitions[0] : definitions,
  ]);
  const origin = file === undefined ? "[collect] services of CloudKitty's configuration" : basename(file);
  const head = `# Made of ${origin} by \`ratecat config import\`. Each alt_name is the old name of the service, which rules refer to.\n`;
  return head + stringify({ metrics: Object.fromEntries(entries) }, { lineWidth: 0 });
}

function problemsIn(error: unknown): readonly Problem[] {
  if (!isRatecatError(error) || error.details.problems === undefined) throw error;
  return error.details.problems as readonly Problem[];
}

/** @throws ConfigError RATECAT_CONFIG_INVALID with everything that stands in the way. */
export function throwProblems(problems: readonly Problem[]): void {
  if (problems.length > 0) throw configError(problems);
}
