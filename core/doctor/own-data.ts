import { access, constants, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { PipelineConfig } from '../config/config.js';
import { describeError } from '../plugin-api/index.js';
import type { Pipeline } from '../processing/pipeline.js';
import type { Examination } from './examination.js';

/**
 * Plugins that keep data of their own as they are started or asked: the file collector takes files in and notes which
 * periods it answered for, the host collector takes readings. Somebody who only looks leaves them alone.
 */
const KEEPERS = { fetcher: new Set(['file']), collector: new Set(['file', 'host']) } as const;

/** Whether a look may start the plugin and ask it. */
export function isAsked(kind: 'fetcher' | 'collector', name: string): boolean {
  return !KEEPERS[kind].has(name);
}

export interface OwnFolderParts {
  readonly where: string | undefined;
  readonly config: PipelineConfig;
  /** Where relative folders start. */
  readonly configFolder: string;
  readonly pipeline: Pipeline;
}

/** The folder of a collector that is not asked, where its options name one. */
export async function lookAtOwnFolder(
  examination: Examination,
  { where, config, configFolder, pipeline }: OwnFolderParts,
): Promise<void> {
  const { folder: written } = (config.collector.options.value ?? {}) as { readonly folder?: unknown };
  if (isAsked('collector', pipeline.collectorName) || typeof written !== 'string') return;
  const folder = resolve(configFolder, written);
  await examination.look({ area: 'collector', what: 'its folder', where, needs: {} }, async (_, say) => {
    const found = await stat(folder).catch(() => undefined);
    if (found === undefined) {
      say.warn('folder-absent', `there is no folder ${folder} yet, so nobody has put anything there`, {
        fix: 'Correct options.folder, in fetcher and collector alike, or wait: the first start makes it.',
      });
      return;
    }
    try {
      if (!found.isDirectory()) throw new Error('it is no folder');
      await access(folder, constants.R_OK | constants.W_OK);
      say.ok('folder-usable', `the folder ${folder} can be read and written`);
    } catch (error) {
      say.fail('folder-unusable', `the folder ${folder} cannot be used: ${describeError(error)}`, {
        fix: "Give the daemon's user the right to read and write it, or correct options.folder.",
        kind: 'config',
      });
    }
  });
}
