import { z } from 'zod';
import { upstreamShape } from '../../../core/upstream/index.js';

/** Labels of a stream. Those that begin with `ratecat` are the plugin's own. */
const streamLabels = z
  .record(
    z.string().regex(/^(?!ratecat|__)[A-Za-z_][A-Za-z0-9_]*$/, {
      message: "must be the name of a label that does not begin with 'ratecat' or '__'",
    }),
    z.string().min(1, 'must not be empty').max(1024),
  )
  .refine((labels) => Object.keys(labels).length > 0, 'must have at least one label')
  // Loki takes 15 labels in all.
  .refine((labels) => Object.keys(labels).length <= 10, 'must have at most 10 labels');

/** CloudKitty's section [storage_loki] has these too; files are called as in every plugin here. */
export const lokiShape = {
  ...upstreamShape,
  url: z
    .string()
    .regex(
      /^https?:\/\/[^\s/@?#]+(\/[^\s@?#]*)?$/,
      'must be a URL without user, query and fragment, e.g. http://localhost:3100/loki/api/v1',
    )
    .default('http://localhost:3100/loki/api/v1'),
  tenant: z
    .string()
    .regex(
      /^(?!\.{1,2}$)[A-Za-z0-9!_.*'()-]{1,150}$/,
      "must be one tenant: letters, digits and ! - _ . * ' ( )",
    )
    .default('cloudkitty'),
  stream: streamLabels.default({ service: 'ratecat' }),
  shard_days: z.int().min(1).max(30).default(30),
  /** Entries of one answer: the server's `max_entries_limit_per_query`, or less. */
  max_entries: z.int().min(10).max(1_000_000).default(5_000),
  /** The server's `max_line_size`, or less. */
  max_line_kib: z.int().min(16).max(4_096).default(256),
  reference: z
    .strictObject({
      source: z.string().min(1),
      scope_key: z.string().min(1).default('project_id'),
      stream: streamLabels.default({ service: 'cloudkitty' }),
      period: z.int().min(1).max(2_678_400).default(3_600),
    })
    .optional(),
};
