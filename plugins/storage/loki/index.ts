import { z } from 'zod';
import { definePlugin, PluginError } from '../../../core/plugin-api/index.js';
import { LokiStorage } from './loki-storage.js';
import { lokiShape } from './options.js';
import { MIGRATIONS } from './schema.js';

/** Stores rated frames in Grafana Loki, and reads those that CloudKitty stored there. */
export default definePlugin({
  kind: 'storage',
  name: 'loki',
  options: z.strictObject(lokiShape),
  usesDatabase: true,
  migrations: MIGRATIONS,
  create(options, context) {
    const { database } = context;
    if (database === undefined) {
      throw new PluginError(
        'RATECAT_PLUGIN_NEEDS_DATABASE',
        "The storage 'loki' was given no database although its definition asks for one.",
      );
    }
    return new LokiStorage(options, context, database);
  },
});
