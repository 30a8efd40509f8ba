import type { Problem } from '../config/problems.js';
import { importDatabase } from './import-database.js';
import {
  type ImportedMetrics,
  importMetrics,
  overridesOf,
  readMetricsSource,
  throwProblems,
} from './import-metrics.js';
import { importService } from './import-service.js';
import { type ConfigNode, ImportSession, type Outcome } from './import-session.js';
import { importSources } from './import-sources.js';
import { importStorage } from './import-storage.js';
import { OsloConfig, type OsloSources } from './oslo-config.js';

export interface ImportOptions extends OsloSources {
  /** In place of `[collect] metrics_conf`. */
  readonly metricsFile?: string | undefined;
  /** What is wrong with a skip expression, or undefined. */
  readonly checkExpression: (text: string) => string | undefined;
}

export interface ImportedConfig {
  /** Files that were read, in the order of their weight. */
  readonly files: readonly string[];
  /** Ratecat's configuration without `collect.metrics`; secrets are marked. */
  readonly root: ConfigNode;
  readonly metrics: ImportedMetrics;
  readonly outcomes: readonly Outcome[];
  readonly warnings: readonly Problem[];
  /** What the operator should know or do, each a sentence or two. */
  readonly advice: readonly string[];
}

/** Name of the pipeline that goes on with what CloudKitty did. */
const PIPELINE = 'openstack';

/** Of keys in the result, for reading from top to bottom. */
const ORDER = [
  'data_folder',
  'database',
  'billing',
  'log',
  'api',
  'processor',
  'storage',
  'name',
  'collect',
  'fetcher',
  'collector',
];

/**
 * Reads the configuration of a CloudKitty of any release and makes Ratecat's out of it. Writes nothing.
 * @throws ConfigError RATECAT_CONFIG_INVALID that lists everything that stands in the way, with file, line and column.
 */
export async function importConfig(options: ImportOptions): Promise<ImportedConfig> {
  const config = await OsloConfig.read(options);
  const session = new ImportSession(config);
  const { checkExpression } = options;
  // Faults of the syntax hide options: what would follow from their absence is no help.
  throwProblems(session.problems);
  const source = await readMetricsSource(session, options.metricsFile);
  session.set(['data_folder'], '/var/lib/ratecat');
  session.set(['billing', 'timezone'], 'UTC');
  importDatabase(session);
  importService(session);
  importStorage(session, PIPELINE);
  const facts = importSources(session, PIPELINE, overridesOf(source), checkExpression);
  const metrics = await importMetrics(session, source, facts, checkExpression);
  throwProblems(session.problems);
  session.advice.push(
    'CloudKitty begins a month at midnight of its host: before the first start set billing.timezone to the zone of that host.',
  );
  return {
    files: config.files,
    root: inOrder(session.root),
    metrics,
    outcomes: session.outcomes(),
    warnings: session.warnings,
    advice: session.advice,
  };
}

function inOrder(root: ConfigNode): ConfigNode {
  const place = (key: string) => ORDER.indexOf(key);
  return Object.fromEntries(Object.entries(root).sort(([a], [b]) => place(a) - place(b)));
}
