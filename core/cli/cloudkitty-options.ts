import { readSecret } from '../setup/secret-file.js';
import { UsageError } from './cli.js';
import type { Session } from './with-services.js';

/** Options that name CloudKitty's database. */
export interface SourceOptions {
  readonly from?: string;
  readonly fromFile?: string;
}

/** The URL of CloudKitty's database; `own` where no option names another. @throws ConfigError RATECAT_SECRET_FILE */
export async function sourceUrl({ from, fromFile }: SourceOptions, own: string): Promise<string> {
  return fromFile === undefined ? (from ?? own) : (await readSecret(fromFile)).trim();
}

/** The pipeline that stands for CloudKitty: the named one, or the only one. @throws UsageError */
export function choosePipeline({ plugins }: Session, wanted: string | undefined) {
  const names = plugins.pipelines.map(({ config }) => config.name);
  if (wanted === undefined && names.length > 1)
    throw new UsageError(
      `Name the pipeline that rates what CloudKitty rates with --pipeline (${names.join(', ')}).`,
    );
  const found = plugins.pipelines.find(({ config }) => wanted === undefined || config.name === wanted);
  if (found === undefined)
    throw new UsageError(`There is no pipeline '${wanted}'. Configured are: ${names.join(', ')}.`);
  const { name, collect } = found.config;
  return {
    pipeline: {
      source: name,
      scopeKey: collect.scopeKey,
      periodSeconds: collect.periodSeconds,
      fetcher: found.fetcher.definition.name,
      collector: found.collector.definition.name,
    },
    metricsFile: collect.metricsFile,
  };
}
