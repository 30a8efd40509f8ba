import { isIP } from 'node:net';
import { DateTime, IANAZone } from 'luxon';
import { z } from 'zod';
import { Decimal } from '../plugin-api/index.js';
import { checkKeystone, keystoneShape } from '../upstream/index.js';
import { NOTIFICATION_TYPES } from './notification-types.js';
import { retentionSchema } from './retention-schema.js';

/** Source name of frames that are pushed through the API. */
export const RESERVED_PIPELINE_NAME = 'api';
const PIPELINE_NAME = /^[a-z0-9][a-z0-9._-]{0,39}$/;
const DAY = 86_400;

const text = z.string().min(1, { error: 'must not be empty' });

function whole(what: string, least: number, most: number) {
  const error = `must be a whole number${what} from ${least} to ${most}`;
  return z.number({ error }).refine((n) => Number.isSafeInteger(n) && n >= least && n <= most, { error });
}

/** Durations are plain seconds; whoever wrote `1h` is told how many. */
function seconds(least: number, most: number) {
  const error = `must be a whole number of seconds from ${least} to ${most}`;
  const inRange = (n: number) => Number.isSafeInteger(n) && n >= least && n <= most;
  return z.unknown().transform((value, context): number => {
    if (typeof value === 'number' && inRange(value)) return value;
    const meant = typeof value === 'string' ? secondsOf(value) : undefined;
    const hint = meant !== undefined && inRange(meant) ? `write ${meant}` : undefined;
    context.addIssue({ code: 'custom', message: error, params: { hint }, input: value });
    return z.NEVER;
  });
}

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: DAY, w: 7 * DAY };

/** Seconds of `90`, `1h`, `15 min`, `2 days`; undefined for anything else. */
function secondsOf(value: string): number | undefined {
  const parts = /^\s*(\d{1,9})\s*(|s|secs?|seconds?|m|mins?|minutes?|h|hours?|d|days?|w|weeks?)\s*$/i.exec(
    value,
  );
  return parts === null ? undefined : Number(parts[1]) * UNITS[parts[2]![0]?.toLowerCase() ?? 's']!;
}

const plugin = z.strictObject({ plugin: text, options: z.record(z.string(), z.unknown()).nullish() });

const collect = z.strictObject({
  period: seconds(1, 31 * DAY).prefault(3600),
  wait_periods: whole('', 0, 10_000).default(2),
  scope_key: text.default('project_id'),
  metrics: text,
  look_back: whole(' of periods', 0, 100_000).default(0),
  start: z
    .string()
    .refine((value) => instantOf(value) !== undefined, {
      error: 'must be an instant in whole seconds with its offset, such as 2025-01-01T00:00:00Z',
    })
    .optional(),
  skip_datapoints_expression: text.optional(),
});

/** Seconds since the epoch; undefined for text without offset, with a fraction of a second, or before 1970. */
export function instantOf(value: string): number | undefined {
  if (!/T.*(Z|[+-]\d\d(:?\d\d)?)$/i.test(value)) return undefined;
  const milliseconds = DateTime.fromISO(value, { setZone: true }).toMillis();
  return Number.isSafeInteger(milliseconds) && milliseconds >= 0 && milliseconds % 1000 === 0
    ? milliseconds / 1000
    : undefined;
}

const pipelineName = z
  .string()
  .regex(PIPELINE_NAME, {
    error: "must be up to 40 of a-z, 0-9, '.', '_', '-', beginning with a letter or digit",
  })
  .refine((name) => name !== RESERVED_PIPELINE_NAME, {
    error: `'${RESERVED_PIPELINE_NAME}' is reserved for frames pushed through the API`,
  });

const pipeline = z.strictObject({ name: pipelineName, collect, fetcher: plugin, collector: plugin });

const ratingModule = plugin.extend({
  enabled: z.boolean().default(true),
  priority: whole('', 1, 1_000_000).default(1),
  rules: text.optional(),
});

const notifier = plugin.extend({
  name: text.max(64, { error: 'must be at most 64 characters' }).optional(),
  events: z
    .array(z.enum(NOTIFICATION_TYPES))
    .min(1, { error: 'must name at least one event' })
    .default([...NOTIFICATION_TYPES]),
  keep_events: whole(' of events', 1, 100_000_000).default(1_000_000),
  keep_days: whole(' of days', 1, 3650).default(31),
});

const positive = 'must be a number above 0';
const percent = 'must be a percentage above 0, up to 10000';

/** The exact number is read from the literal; here only its sign and size are looked at. */
const amount = z.custom<number | string>(
  (value) => (Decimal.tryParse(String(value).trim())?.compare(Decimal.ZERO) ?? 0) > 0,
  { error: positive, params: { hint: 'such as 1500 or 99.90' } },
);

const budget = z.strictObject({
  name: text.max(64, { error: 'must be at most 64 characters' }).optional(),
  scope: text.max(256, { error: 'must be at most 256 characters' }),
  scope_key: text.optional(),
  amount,
  period: z.enum(['month', 'day']).default('month'),
  thresholds: z
    .array(z.number({ error: percent }).gt(0, { error: percent }).max(10_000, { error: percent }))
    .max(100, { error: 'must hold at most 100 thresholds' })
    .optional(),
  forecast: z.boolean().default(false),
});

/** Schemes of the core's database; what follows them is checked by the part that connects. */
export const DATABASE_URL = /^(sqlite:|(mysql|mariadb)(\+\w+)?:\/\/)./i;

const database = z.strictObject({
  url: z
    .string()
    .regex(DATABASE_URL, {
      error: 'must be the URL of a database: sqlite:file or mysql://user:password@host:3306/database',
    })
    .default('sqlite:ratecat.db'),
  // Read and replaced before this schema is asked; known so that a misspelling finds it.
  url_file: z.never().optional(),
});

const timeZone = z.string().superRefine((name, context) => {
  if (IANAZone.isValidZone(name)) return;
  context.addIssue({
    code: 'invalid_value',
    values: ['UTC', ...Intl.supportedValuesOf('timeZone')],
    message: 'unknown time zone',
    input: name,
  });
});

const address = z.string().min(1, { error: 'must be an address to listen on, such as 127.0.0.1 or ::' });
const port = whole('', 0, 65_535);
const network = z.string().refine(isNetwork, {
  error: "must be an address or network such as 10.0.0.5, 10.0.0.0/24 or fd00::/8, or 'loopback'",
});

/** An IP address with an optional prefix length. */
function isNetwork(value: string): boolean {
  if (value === 'loopback') return true;
  const [host, bits, more] = value.split('/');
  const family = isIP(host!);
  if (family === 0 || more !== undefined) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128));
}

/** How tokens are checked; the names are those of CloudKitty's [keystone_authtoken]. */
const keystoneAuth = z
  .strictObject({
    ...keystoneShape,
    www_authenticate_uri: text.optional(),
    interface: z.string().default('internal'),
    region_name: text.optional(),
    token_cache_time: seconds(0, DAY).prefault(300),
    service_token_roles: z.array(text).default(['service']),
    service_token_roles_required: z.boolean().default(true),
    service_type: text.default('rating'),
  })
  .superRefine((options, context) => checkKeystone(options, context));

const api = z.strictObject({
  enabled: z.boolean().default(true),
  host: address.default('127.0.0.1'),
  port: port.default(8889),
  auth: z.enum(['noauth', 'keystone']).default('noauth'),
  allow_insecure_bind: z.boolean().default(false),
  keystone: keystoneAuth.optional(),
  policy_file: text.optional(),
  policy_dirs: z.array(text).default([]),
  cors: z
    .strictObject({
      allowed_origins: z.array(text).default([]),
      allow_credentials: z.boolean().default(true),
      max_age: seconds(0, 31 * DAY).prefault(3600),
    })
    .prefault({}),
  tls: z.strictObject({ cert_file: text, key_file: text }).optional(),
  trusted_proxies: z.array(network).default([]),
  healthcheck_disable_file: text.default('/etc/ratecat/healthcheck_disable'),
  max_body_mib: whole('', 1, 1024).default(64),
  max_header_kib: whole('', 4, 1024).default(64),
  request_timeout: seconds(1, 3600).prefault(60),
  rate_limit: whole(' of requests per minute', 0, 10_000_000).default(0),
  refused_rate_limit: whole(' of refused tokens per minute', 0, 10_000_000).default(0),
  anonymous_quotes: z.boolean().default(false),
});

const metricsServer = z.strictObject({
  enabled: z.boolean().default(true),
  host: address.default('127.0.0.1'),
  port: port.default(9889),
  processor_port: port.default(9890),
});

const common = {
  api: api.prefault({}),
  metrics_server: metricsServer.prefault({}),
  compat: z.enum(['strict', 'fixed']).default('fixed'),
  data_folder: text.default('./data'),
  database: database.prefault({}),
  billing: z.strictObject({ timezone: timeZone.default('UTC') }).prefault({}),
  log: z
    .strictObject({
      level: z.enum(['error', 'warn', 'info', 'debug']).default('info'),
      format: z.enum(['text', 'json']).default('text'),
    })
    .prefault({}),
  processor: z
    .strictObject({
      workers: whole(' of processes', 1, 256).default(1),
      concurrent_scopes: whole('', 1, 1000).default(8),
      concurrent_metrics: whole('', 1, 1000).default(8),
      lease_seconds: seconds(1, 3600).prefault(60),
      collect_ahead: whole(' of periods', 0, 1000).default(4),
      max_points_ahead: whole(' of points', 1, 1_000_000_000).default(200_000),
      metric_timeout: seconds(1, DAY).prefault(300),
      scope_list_max_shrink: z
        .number({ error: 'must be a share from 0 to 1' })
        .min(0, { error: 'must be a share from 0 to 1' })
        .max(1, { error: 'must be a share from 0 to 1' })
        .default(0.5),
      graceful_stop: seconds(0, 3600).prefault(30),
    })
    .prefault({}),
  retry: z
    .strictObject({
      first_seconds: seconds(1, DAY).prefault(5),
      max_seconds: seconds(1, DAY).prefault(900),
      stuck_after: whole(' of failures', 1, 1000).default(5),
    })
    .prefault({}),
  storage: plugin.prefault({ plugin: 'sql' }),
  retention: retentionSchema.prefault({}),
  rating: z
    .array(ratingModule)
    .prefault([{ plugin: 'hashmap' }, { plugin: 'noop' }, { plugin: 'pyscripts', enabled: false }]),
  notifications: z.array(notifier).default([]),
  budgets: z.array(budget).max(1000, { error: 'must hold at most 1000 budgets' }).default([]),
};

/** One pipeline, its keys at the top level. `pipelines` is known only so that a misspelling finds it. */
export const shortFormSchema = z.strictObject({
  ...common,
  ...pipeline.shape,
  name: pipelineName.default('default'),
  pipelines: z.never().optional(),
});

/** Several pipelines. The keys of the short form are reported apart and taken out before this schema is asked. */
export const severalPipelinesSchema = z.strictObject({
  ...common,
  pipelines: z.array(pipeline).min(1, { error: 'must hold at least one pipeline' }),
});

export const SHORT_FORM_KEYS = Object.keys(pipeline.shape);

export type WrittenConfig = Omit<z.output<typeof severalPipelinesSchema>, 'pipelines'>;
export type WrittenPipeline = z.output<typeof pipeline>;
export type WrittenPlugin = z.output<typeof plugin>;
