import { z } from 'zod';
import { upstreamShape } from '../../../core/upstream/index.js';

/** What an index may be called. */
const indexName = z
  .string()
  .regex(
    /^(?![-_+.])[^A-Z\s\\/*?"<>|,#:]{1,200}$/,
    'must be the name of one index: lower case, without blanks and \\ / * ? " < > | , # : and not beginning with - _ + .',
  );

/** Option names are those of CloudKitty's sections [storage_elasticsearch] and [storage_opensearch]. */
export const searchShape = {
  ...upstreamShape,
  host: z
    .string()
    .regex(
      /^https?:\/\/[^\s/@?#]+(\/[^\s@?#]*)?$/,
      'must be a URL without user, query and fragment, e.g. http://localhost:9200',
    )
    .default('http://localhost:9200'),
  index_name: indexName.default('cloudkitty'),
  period_index_name: indexName.optional(),
  username: z.string().min(1).optional(),
  password: z.string().optional(),
  scroll_duration: z.int().min(1).max(300).default(30),
  reference: z
    .strictObject({
      source: z.string().min(1),
      scope_key: z.string().min(1).default('project_id'),
      index_name: indexName.optional(),
    })
    .optional(),
};
