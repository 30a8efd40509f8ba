import { z } from 'zod';
import { definePlugin } from '../../../core/plugin-api/index.js';
import { upstreamShape } from '../../../core/upstream/index.js';
import { InfluxStorage } from './influx-storage.js';

/** Option names are those of CloudKitty's section [storage_influxdb]. */
const options = z.strictObject({
  ...upstreamShape,
  host: z
    .string()
    .regex(/^[^\s/@?#]+$/, 'must be a host name or an address, without scheme and port')
    .default('localhost'),
  port: z.int().min(1).max(65_535).default(8086),
  use_ssl: z.boolean().default(false),
  username: z.string().min(1).optional(),
  password: z.string().optional(),
  database: z.string().min(1).default('cloudkitty'),
  retention_policy: z.string().min(1).default('autogen'),
  reference: z
    .strictObject({
      source: z.string().min(1),
      scope_key: z.string().min(1).default('project_id'),
    })
    .optional(),
});

/** Stores rated frames in InfluxDB 1.x, in the layout that CloudKitty reads and writes. */
export default definePlugin({
  kind: 'storage',
  name: 'influxdb',
  options,
  secretOptions: ['password'],
  create: (options, context) => new InfluxStorage(options, context),
});
