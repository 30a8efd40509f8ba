import { z } from 'zod';
import { definePlugin } from '../../../core/plugin-api/index.js';
import { searchShape } from './options.js';
import { SearchStorage } from './search-storage.js';

/** Stores rated frames in OpenSearch, in the layout that CloudKitty reads and writes. */
export default definePlugin({
  kind: 'storage',
  name: 'opensearch',
  options: z.strictObject(searchShape),
  secretOptions: ['password'],
  create: (options, context) => new SearchStorage(options, context, 'opensearch'),
});
