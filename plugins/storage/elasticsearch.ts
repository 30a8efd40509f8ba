import { z } from 'zod';
import { definePlugin } from '../../core/plugin-api/index.js';
import { searchShape } from './opensearch/options.js';
import { SearchStorage } from './opensearch/search-storage.js';

const options = z
  .strictObject({ ...searchShape, api_key: z.string().min(1).optional() })
  .refine(({ api_key, username }) => api_key === undefined || username === undefined, {
    path: ['api_key'],
    message: 'give either api_key or username',
  });

/** Stores rated frames in Elasticsearch 7 or later, in the layout that CloudKitty reads and writes. */
export default definePlugin({
  kind: 'storage',
  name: 'elasticsearch',
  options,
  secretOptions: ['password', 'api_key'],
  create: (options, context) => new SearchStorage(options, context, 'elasticsearch'),
});
