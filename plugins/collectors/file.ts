import { z } from 'zod';
import { definePlugin } from '../../core/plugin-api/index.js';
import { dropFolderPaths, folderUnusable, openDropFolder } from '../shared/drop-folder.js';
import { FileCollector, type FileMetricOptions } from './file/file-collector.js';
import { PickUp } from './file/pick-up.js';

const options = z.strictObject({
  /** Where producers put their files; a relative path starts from the config file's folder. */
  folder: z.string().min(1),
  /** Between the cells of CSV files. */
  delimiter: z
    .string()
    .length(1)
    .refine((text) => !'"\r\n'.includes(text), 'must be neither a quote nor a line break')
    .default(','),
  /** How long after its end a period stays open for files, when none spans it. */
  settle_seconds: z.number().min(0).max(31_536_000).default(300),
  poll_seconds: z.number().min(0.1).max(3600).default(5),
  /** Days that samples stay in the index; files in `accepted` are never removed. */
  keep_days: z.number().min(1).max(36_600).default(400),
  max_line_bytes: z
    .number()
    .int()
    .min(256)
    .max(64 * 2 ** 20)
    .default(2 ** 20),
  negative_quantities: z.enum(['reject', 'allow']).default('reject'),
});

/** Usage that producers write as CSV or NDJSON files into a folder. */
export default definePlugin<'collector', z.infer<typeof options>>({
  kind: 'collector',
  name: 'file',
  options,
  create(given, context) {
    const paths = dropFolderPaths(given.folder, context.configFolder);
    const rules = {
      delimiter: given.delimiter,
      scopeKey: context.pipeline?.scopeKey ?? 'scope',
      allowNegative: given.negative_quantities === 'allow',
      maxLineBytes: given.max_line_bytes,
    };
    return new FileCollector({
      clock: context.clock,
      logger: context.logger,
      settleSeconds: given.settle_seconds,
      pollMs: given.poll_seconds * 1000,
      keepDays: given.keep_days,
      open: () => {
        const index = openDropFolder(paths);
        try {
          return { index, pickUp: new PickUp(paths, index, rules, context) };
        } catch (error) {
          index.close();
          throw folderUnusable(paths, error);
        }
      },
    });
  },
});

export type { FileMetricOptions };
