import { z } from 'zod';
import { definePlugin, describeError, type Fetcher, UnavailableError } from '../../core/plugin-api/index.js';
import { dropFolderPaths, openDropFolder } from '../shared/drop-folder.js';
import type { DropFolderIndex } from '../shared/drop-folder-index.js';

const DAY_SECONDS = 86_400;

const options = z.strictObject({
  /** The same folder as the collector's. */
  folder: z.string().min(1),
  /** A scope is listed for this many days after its last sample or file. */
  active_days: z.number().min(1).max(36_600).default(32),
});

/** The scopes that the files of a drop folder name. */
export default definePlugin<'fetcher', z.infer<typeof options>>({
  kind: 'fetcher',
  name: 'file',
  options,
  create(given, context): Fetcher {
    const paths = dropFolderPaths(given.folder, context.configFolder);
    const key = context.pipeline?.scopeKey ?? '';
    let index: DropFolderIndex | undefined;
    return {
      async start(signal) {
        signal.throwIfAborted();
        index = openDropFolder(paths);
      },
      async stop() {
        index?.close();
        index = undefined;
      },
      async fetchScopes(signal) {
        signal.throwIfAborted();
        if (index === undefined) throw new Error('the file fetcher was not started');
        try {
          const since = Math.floor(context.clock.now() / 1000) - given.active_days * DAY_SECONDS;
          return index.scopes(since).map(({ id, name }) => ({ key, id, name: name ?? undefined }));
        } catch (error) {
          throw new UnavailableError(
            'RATECAT_FILE_FOLDER_UNUSABLE',
            `The index of the drop folder '${paths.root}' cannot be read: ${describeError(error)}`,
            { cause: error },
          );
        }
      },
    };
  },
});
