import { z } from 'zod';
import { definePlugin, PluginError } from '../../../core/plugin-api/index.js';
import { MIGRATIONS } from './schema.js';
import { SqlStorage } from './sql-storage.js';

/** Stores rated frames in the core database: SQLite, MySQL or MariaDB. */
export default definePlugin({
  kind: 'storage',
  name: 'sql',
  options: z.strictObject({}),
  usesDatabase: true,
  migrations: MIGRATIONS,
  create(_options, { database, calendar }) {
    if (database === undefined) {
      throw new PluginError(
        'RATECAT_PLUGIN_NEEDS_DATABASE',
        "The storage 'sql' was given no database although its definition asks for one.",
      );
    }
    return new SqlStorage(database, calendar);
  },
});
