import type { Config, PipelineConfig } from '../config/config.js';
import type { LoadedConfig } from '../config/load-config.js';
import { billingCalendar } from '../daemon/billing-calendar.js';
import { buildPipelines, type PreparedPlugins, preparePlugins } from '../daemon/build-pipelines.js';
import { httpFactory } from '../loading/http-client.js';
import type { ContextParts } from '../loading/plugin-context.js';
import type { Clock, HttpFactory, Instant } from '../plugin-api/index.js';
import type { Pipeline } from '../processing/pipeline.js';
import { ofProblem } from './error-findings.js';
import type { Examination, Say } from './examination.js';

export interface Configured {
  readonly config: Config;
  readonly plugins: PreparedPlugins;
  readonly context: ContextParts;
  readonly pipelines: readonly ConfiguredPipeline[];
}

export interface ConfiguredPipeline {
  readonly config: PipelineConfig;
  /** Undefined when its metrics file or a plugin is wrong. */
  readonly pipeline: Pipeline | undefined;
}

export interface ConfigurationParts {
  readonly load: () => Promise<LoadedConfig>;
  readonly clock: Clock;
  readonly logger: ContextParts['logger'];
  readonly http?: HttpFactory | undefined;
}

/** Reads the file as the daemon does, finds the plugins, and builds the pipelines. Talks to nobody. */
export async function lookAtConfiguration(
  examination: Examination,
  parts: ConfigurationParts,
): Promise<Configured | undefined> {
  const config = await examination.look(
    { area: 'configuration', what: 'the file', needs: {} },
    async (_, say) => {
      const { config, warnings } = await parts.load();
      for (const problem of warnings) say.finding(ofProblem('configuration', 'warn', problem));
      sayStarts(config, parts.clock, say);
      return config;
    },
  );
  const plugins = await examination.look(
    { area: 'configuration', what: 'the plugins', needs: { config } },
    async (got) => preparePlugins(got.config),
  );
  if (config === undefined || plugins === undefined) return undefined;
  const context = contextOf(config, parts);
  const pipelines: ConfiguredPipeline[] = [];
  for (const prepared of plugins.pipelines) {
    const pipeline = await examination.look(
      {
        area: 'configuration',
        what: 'the metrics file',
        where: pipelineLabel(config, prepared.config),
        needs: {},
      },
      async (_, say) => {
        const built = await buildPipelines(config, { ...plugins, pipelines: [prepared] }, context);
        for (const problem of built.warnings) say.finding(ofProblem('configuration', 'warn', problem));
        const [made] = built.pipelines;
        say.ok('configuration-right', describePipeline(made!), { where: config.file });
        return made;
      },
    );
    pipelines.push({ config: prepared.config, pipeline });
  }
  return { config, plugins, context, pipelines };
}

/** Names the pipeline where there are several. */
export function pipelineLabel(config: Config, { name }: PipelineConfig): string | undefined {
  return config.pipelines.length === 1 ? undefined : `pipeline '${name}'`;
}

function contextOf(config: Config, { clock, logger, http }: ConfigurationParts): ContextParts {
  return {
    logger,
    clock,
    calendar: billingCalendar(config.billing.timeZone),
    http: http ?? httpFactory,
    compat: config.compat,
    dataFolder: config.dataFolder,
    configFolder: config.folder,
  };
}

function describePipeline({ source, fetcherName, collectorName, metrics, settings }: Pipeline): string {
  const { periodSeconds } = settings.periods;
  const counted = `${metrics.length} metric${metrics.length === 1 ? '' : 's'}`;
  return `pipeline '${source}': scopes from ${fetcherName}, ${counted} from ${collectorName}, periods of ${periodSeconds} s`;
}

function sayStarts(config: Config, clock: Clock, say: Say): void {
  const now: Instant = Math.floor(clock.now() / 1000);
  for (const { name, collect } of config.pipelines) {
    if (collect.start === undefined || collect.start <= now) continue;
    say.warn(
      'start-in-future',
      `pipeline '${name}' rates nothing before ${new Date(collect.start * 1000).toISOString()} (collect.start)`,
      { where: config.file, fix: 'Set collect.start to the first period that is to be rated, or remove it.' },
    );
  }
}
