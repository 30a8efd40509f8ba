import { readFile } from 'node:fs/promises';
import { UsageError } from './cli.js';
import type { Session } from './with-services.js';

/** Options that name CloudKitty's database. */
export interface SourceOptions {
  readonly from?: string;
  readonly fromFile?: string;
}

/** The URL of CloudKitty's database; `own` where no option names another. @throws UsageError */
export async function sourceUrl({ from, fromFile }: SourceOptions, own: string): Promise<string> {
  if (fromFile === undefined) return from ?? own;
  try {
    return (await readFile(fromFile, 'utf8')).trim();
  } catch (error) {
    throw new UsageError(`${fromFile} cannot be read (${(error as NodeJS.ErrnoException).code}).`);
  }
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
