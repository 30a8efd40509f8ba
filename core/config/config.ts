import type { Decimal, Instant } from '../plugin-api/index.js';
import type { KeystoneOptions } from '../upstream/index.js';
import type { NotificationType } from './notification-types.js';
import type { ConfigPath } from './problems.js';
import type { OptionsSource } from './validate-options.js';

/** The configuration with every default filled in and every path absolute. Options of plugins are still unchecked. */
export interface Config {
  /** The file it came from, and its folder. */
  readonly file: string;
  readonly folder: string;
  /** `strict` reproduces the reference where it touches money; `fixed` does the right thing. */
  readonly compat: 'strict' | 'fixed';
  readonly dataFolder: string;
  readonly database: DatabaseConfig;
  readonly billing: { readonly timeZone: string };
  readonly log: { readonly level: 'error' | 'warn' | 'info' | 'debug'; readonly format: 'text' | 'json' };
  readonly api: ApiConfig;
  readonly metricsServer: MetricsServerConfig;
  readonly processor: ProcessorConfig;
  readonly retry: RetryConfig;
  readonly storage: PluginConfig;
  readonly retention: RetentionConfig;
  /** In the order of the file, which decides between modules of one priority. */
  readonly rating: readonly RatingModuleConfig[];
  /** At least one; names are distinct. */
  readonly pipelines: readonly PipelineConfig[];
  /** Who is told of what happens; names are distinct. */
  readonly notifications: readonly NotifierConfig[];
  readonly budgets: readonly BudgetConfig[];
}

export interface DatabaseConfig {
  /** `sqlite:file` (relative to `dataFolder`) or `mysql://user:password@host/database`: holds a secret, never log it. */
  readonly url: string;
}

export interface ApiConfig {
  /** Whether `ratecat up` serves it. */
  readonly enabled: boolean;
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly auth: 'noauth' | 'keystone';
  /** Without authentication, addresses other machines can reach are refused unless this is set. */
  readonly allowInsecureBind: boolean;
  /** Present with `auth: keystone`. */
  readonly keystone: KeystoneAuthConfig | undefined;
  readonly policyFile: string | undefined;
  readonly policyFolders: readonly string[];
  readonly cors: {
    readonly allowedOrigins: readonly string[];
    readonly allowCredentials: boolean;
    readonly maxAgeSeconds: number;
  };
  readonly tls: { readonly certFile: string; readonly keyFile: string } | undefined;
  /** Addresses and networks whose forwarding headers are believed; `loopback` for this machine. */
  readonly trustedProxies: readonly string[];
  /** While this file exists the health check answers 503. */
  readonly healthcheckDisableFile: string;
  readonly maxBodyBytes: number;
  readonly maxHeaderBytes: number;
  readonly requestTimeoutSeconds: number;
  /** Requests per token and minute; 0 is off. */
  readonly rateLimitPerMinute: number;
  /** Tokens that Keystone refuses, per client address and minute; 0 is off. */
  readonly refusedRateLimitPerMinute: number;
  /** Whether the price list and quotes of `/ratecat/v1` are open to everybody. */
  readonly anonymousQuotes: boolean;
}

export interface KeystoneAuthConfig {
  /** How the API itself logs in; file names are absolute. Holds a secret. */
  readonly session: KeystoneOptions;
  /** What callers without a valid token are told; default: the log-in URL. */
  readonly wwwAuthenticateUri: string;
  readonly interface: string;
  readonly region: string | undefined;
  /** Longest time that a revoked token may still be accepted. */
  readonly tokenCacheSeconds: number;
  readonly serviceTokenRoles: readonly string[];
  readonly serviceTokenRolesRequired: boolean;
  readonly serviceType: string;
}

/** Where Prometheus reads. */
export interface MetricsServerConfig {
  readonly enabled: boolean;
  readonly host: string;
  /** Of `ratecat up` and `ratecat api`. */
  readonly port: number;
  /** Of `ratecat processor`, which may run beside an API. */
  readonly processorPort: number;
}

export interface ProcessorConfig {
  /** Processes; leases share the work out. */
  readonly workers: number;
  readonly concurrentScopes: number;
  readonly concurrentMetrics: number;
  readonly leaseSeconds: number;
  /** Periods of one scope collected ahead of the one that is rated. */
  readonly collectAhead: number;
  /** Points that may wait in memory, all scopes together. */
  readonly maxPointsAhead: number;
  readonly metricTimeoutSeconds: number;
  /** A scope list that loses more than this share at once is held, not believed; 1 believes everything. */
  readonly scopeListMaxShrink: number;
  readonly gracefulStopSeconds: number;
}

export interface RetryConfig {
  readonly firstSeconds: number;
  readonly maxSeconds: number;
  /** Failures in a row after which a scope counts as stuck; it is still tried, slowly. */
  readonly stuckAfter: number;
}

export interface RetentionConfig {
  /** Whether the daemon applies the policies by itself, once a day. */
  readonly automatic: boolean;
  /** The first one that fits a scope and metric counts; without one, everything is kept. */
  readonly policies: readonly RetentionPolicy[];
}

/** How long something is kept, in months; infinity for ever. points <= dailySums <= monthlySums. */
export interface RetentionPolicy {
  /** Scope ids and rated names of metrics, `*` stands for any run of characters; undefined: all. */
  readonly scopes: readonly string[] | undefined;
  readonly metrics: readonly string[] | undefined;
  readonly points: number;
  readonly dailySums: number;
  readonly monthlySums: number;
}

export interface PluginConfig {
  /** As written: a built-in name, a package, or a path (`./x.js`) relative to `folder`. */
  readonly plugin: string;
  readonly options: OptionsSource;
}

export interface RatingModuleConfig extends PluginConfig {
  /** First values: the database keeps the state once an operator changed it. */
  readonly enabled: boolean;
  readonly priority: number;
  /** Imported when the module has no rules yet. */
  readonly rulesFile: string | undefined;
}

export interface NotifierConfig extends PluginConfig {
  readonly name: string;
  readonly events: readonly NotificationType[];
  /** Events that wait beyond this number are dropped, the oldest first. */
  readonly keepEvents: number;
  readonly keepDays: number;
}

/** What a scope may spend in a month or day of the billing calendar. */
export interface BudgetConfig {
  readonly name: string;
  /** Scope ids it is for; `*` stands for any run of characters. Each scope has the amount for itself. */
  readonly scope: string;
  /** Only scopes of this key; undefined: of any. */
  readonly scopeKey: string | undefined;
  readonly amount: Decimal;
  readonly period: 'day' | 'month';
  /** Percent of the amount, ascending and distinct. */
  readonly thresholds: readonly Decimal[];
  /** Whether to tell that the amount will be passed at the present rate. */
  readonly forecast: boolean;
}

export interface PipelineConfig {
  /** Path in the file: empty for the short form. */
  readonly path: ConfigPath;
  /** The immutable source of the frames. */
  readonly name: string;
  readonly collect: CollectConfig;
  readonly fetcher: PluginConfig;
  readonly collector: PluginConfig;
}

export interface CollectConfig {
  readonly periodSeconds: number;
  readonly waitPeriods: number;
  readonly scopeKey: string;
  readonly metricsFile: string;
  /** Committed periods that are read again for late data; 0 is off. */
  readonly lookBackPeriods: number;
  /** First period of a scope that has no state yet. */
  readonly start: Instant | undefined;
  /** For metrics that bring none of their own. */
  readonly skipExpression: string | undefined;
}
