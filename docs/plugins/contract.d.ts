/*
 * The contract between Ratecat and its plugins, as `ratecat/plugin-api` exports it.
 *
 * Generated from core/plugin-api by `node bin/emit-contract.mjs`; not to be edited. How to use it: docs/plugins/writing.md.
 */

// ---- model

/**
 * The words of this project.
 *
 * - scope: whom a price is for, identified by (scope key, scope id): usually a project.
 * - source: the immutable name of the pipeline a frame came through, or `api` for frames pushed from outside.
 * - period: a half-open slice of time [begin, end); the unit of rating.
 * - metric: what is measured; its rated name (`alt_name`) is what rules and reports call it.
 * - sample: what a collector measured for one resource, before conversion.
 * - descriptor: everything about a point that repeats from period to period.
 * - point: a descriptor with a quantity and, once rated, a price.
 * - frame: all points of one (source, scope, period).
 * - gap: a metric that could not be measured for a period, with the reason. A gap is not a zero.
 * - snapshot: the immutable set of rules that a period was rated with.
 */
/** Seconds since 1970-01-01T00:00:00Z. */
export type Instant = number;
/** [begin, end): a point in time belongs to the period when begin <= t < end. */
export interface Period {
    readonly begin: Instant;
    readonly end: Instant;
}
export interface Scope {
    /** The attribute that identifies scopes, e.g. `project_id`. */
    readonly key: string;
    readonly id: string;
    /** For people; may change at any time. */
    readonly name?: string | undefined;
}
/** A metric as its collector sees it: defaults filled in, scope key and collector's own keys appended to `groupby`. */
export interface Metric<Options = unknown> {
    /** Name in the data source. */
    readonly name: string;
    /** Name in frames, rules and reports: `alt_name`, or the name. */
    readonly ratedName: string;
    readonly unit: string;
    readonly groupby: readonly string[];
    readonly metadata: readonly string[];
    readonly description: string | undefined;
    /** `extra_args`, validated by the collector's own schema. */
    readonly options: Options;
}
/** One measured resource. `value` is the literal of the source; factor, offset and mutation are applied by the host. */
export interface Sample {
    readonly groupby: Attributes;
    readonly metadata: Attributes;
    readonly value: Decimal;
}
/** Everything about a point that repeats. The host interns descriptors: equal ones of a scope are the same object. */
export interface Descriptor {
    readonly metric: string;
    readonly unit: string;
    readonly groupby: Attributes;
    readonly metadata: Attributes;
    readonly description: string | undefined;
}
export interface MeasuredPoint {
    readonly descriptor: Descriptor;
    readonly quantity: Decimal;
}
export interface RatedPoint extends MeasuredPoint {
    readonly price: Decimal;
}
/** A metric that could not be measured in a period. */
export interface Gap {
    readonly metric: string;
    readonly reason: string;
}
export interface Frame<P extends MeasuredPoint = RatedPoint> {
    readonly source: string;
    readonly scope: Scope;
    readonly period: Period;
    /** In ascending order of metric; within a metric in the collector's order. */
    readonly points: readonly P[];
    readonly gaps: readonly Gap[];
}
/** All metadata, overlaid by groupby: what rules see of a point. */
export declare function describedAttribute(descriptor: Descriptor, name: string): AttributeValue | undefined;
/** Text that is equal for equal descriptors and different for different ones. */
export declare function canonicalDescriptor(descriptor: Descriptor): string;

// ---- contract

/** Major version of this contract. A plugin made for another one is refused at start. */
export declare const API_VERSION = 1;
export type PluginKind = 'fetcher' | 'collector' | 'rating' | 'storage' | 'notifier';
export interface PluginRoles {
    fetcher: Fetcher;
    collector: Collector;
    rating: RatingModule;
    storage: Storage;
    notifier: Notifier;
}
export interface Lifecycle {
    /** Opens connections. The constructor and `create` do no I/O. */
    start?(signal: AbortSignal): Promise<void>;
    /** Called once per successful start, in reverse order of starting, also when start-up is aborted. */
    stop?(): Promise<void>;
}
/** Says which scopes exist now. */
export interface Fetcher extends Lifecycle {
    /**
     * Every scope to be rated, each once. An empty list means "there are none", so a fetcher that does not know throws.
     * `key` is filled in by the host when the fetcher leaves it empty.
     */
    fetchScopes(signal: AbortSignal): Promise<readonly Scope[]>;
}
export interface CollectRequest<MetricOptions = unknown> {
    readonly metric: Metric<MetricOptions>;
    readonly scope: Scope;
    readonly period: Period;
}
/** What is known about one metric of one scope and period. Unknown is an exception, never an empty list. */
export type Collected = {
    readonly kind: 'measured';
    readonly samples: readonly Sample[];
}
/** The source answered and there was nothing. */
 | {
    readonly kind: 'nothing';
}
/** Nobody kept the data: it will never be known. Becomes a visible gap. */
 | {
    readonly kind: 'unmeasurable';
    readonly reason: string;
};
/** How the reference computed quantities with this source; used with `compat: strict` (spec: unit conversion). */
export interface StrictArithmetic {
    readonly significantDigits: number;
    readonly rounding: RoundingMode;
    /** The sample itself is rounded before factor and offset. */
    readonly roundsSample: boolean;
    /** The sample was read as a binary float. */
    readonly binarySample: boolean;
}
export interface Collector<MetricOptions = unknown> extends Lifecycle {
    /** Validates each metric's `extra_args` before the first period. */
    readonly metricOptions: Schema<MetricOptions>;
    readonly strictArithmetic?: StrictArithmetic | undefined;
    /** Attributes that this collector needs in `groupby` (e.g. the resource key); appended when missing. */
    requiredGroupby?(options: MetricOptions): readonly string[];
    /**
     * Measures one metric of one scope for one period. Called concurrently.
     * @throws UnavailableError when the answer is not known yet and asking again may help.
     * @throws RejectedError when asking again will not help until somebody changes a credential or setting.
     * @throws DataError when the source answered something that cannot be priced (NaN, truncated or contradictory data).
     */
    collect(request: CollectRequest<MetricOptions>, signal: AbortSignal): Promise<Collected>;
    /** The first instant this source can answer for, or undefined for "any": a new scope starts there. */
    earliest?(scope: Scope, signal: AbortSignal): Promise<Instant | undefined>;
}
/**
 * Turns quantities into prices. Rules are data: `loadRules` reads them, the host stores them as an immutable snapshot,
 * `compile` prepares them for one scope, and the compiled form rates any number of periods.
 */
export interface RatingModule extends Lifecycle {
    /** One line for people. */
    readonly description: string;
    /** Whether the rules can change while the daemon runs. */
    readonly hotConfig: boolean;
    /** A module that is always on ignores the stored state. */
    readonly alwaysEnabled?: boolean | undefined;
    /** All rules, in an order that depends on nothing but their content; a constant number of queries. Absent: no rules. */
    loadRules?(database: SqlReader, signal: AbortSignal): Promise<JsonValue>;
    /**
     * Prepares rules for one scope; pure, and called once per snapshot and scope. `scope` is undefined for quotes.
     * @throws DataError when rules contradict each other.
     */
    compile(rules: JsonValue, scope: Scope | undefined): CompiledRating;
    /** Rules as a document that people edit. */
    readonly rulesDocument?: RulesDocument | undefined;
    /** Routes below `/v1/rating/module_config/<name>`. Absent: "module is not configurable". */
    readonly configRoutes?: readonly ConfigRoute[] | undefined;
}
export interface CompiledRating {
    /**
     * A new frame with prices added. Pure: the same frame and rules give the same prices. Rules are judged at the
     * period's begin. Points may be dropped or added; source, scope and period stay.
     * @throws DataError when a point cannot be rated; nothing of the frame is stored then.
     */
    rate(frame: Frame<RatedPoint>, signal: AbortSignal): Frame<RatedPoint> | Promise<Frame<RatedPoint>>;
    /** As `rate`, for a resource that does not exist yet. Absent: `rate`. */
    quote?(frame: Frame<RatedPoint>, signal: AbortSignal): Frame<RatedPoint> | Promise<Frame<RatedPoint>>;
    /** How `rate` comes to the price of one point: in order, each with the price after it. */
    explain?(point: RatedPoint, period: Period): readonly ExplanationStep[];
}
export interface ExplanationStep {
    /** For people: `flat 0.25 for flavor=m1.small (group default)`. */
    readonly text: string;
    /** Rule that acted, where one did. */
    readonly rule?: JsonValue | undefined;
    /** Price of the point after this step. */
    readonly price: Decimal;
}
export interface RulesDocument {
    /** Rules of a document in the form that `loadRules` gives. @throws DataError that lists every problem with its path. */
    toRules(document: JsonValue): JsonValue;
    /** The current rules as a document; reading it back gives the same rules. */
    read(database: SqlReader): Promise<JsonValue>;
    /**
     * What one tenant may see of a document that `read` gave, which stays as it is; for undefined, what everybody may see.
     * Absent: only administrators see it.
     */
    visibleTo?(document: JsonValue, tenant: string | undefined): JsonValue;
    /** Stores a document in one transaction. `merge` adds and changes, `replace` also removes what is not in it. */
    write(document: JsonValue, tx: SqlTransaction, options: RulesWriteOptions): Promise<RulesChange>;
}
export interface RulesWriteOptions {
    readonly mode: 'merge' | 'replace';
    readonly now: Instant;
    /** Who is recorded as author. */
    readonly author: string;
    /**
     * The public id that something new at a path of the document gets, when an importer knows one that others use already.
     * Paths are those of problems: `services[0].fields[1].mappings[2]`. Absent, undefined or taken: a new id.
     */
    idOf?(path: string): string | undefined;
}
export interface RulesChange {
    readonly added: number;
    readonly changed: number;
    readonly removed: number;
}
/** One configuration call. The host authenticates, checks the policy, opens the transaction and publishes the change. */
export interface ConfigRoute {
    readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
    /** Below the module's root, `:name` for parameters: `/services/:id`. */
    readonly path: string;
    handle(request: ConfigRequest, signal: AbortSignal): Promise<ConfigResponse>;
}
export interface ConfigRequest {
    readonly parameters: Readonly<Record<string, string>>;
    readonly query: ReadonlyMap<string, readonly string[]>;
    /** Parsed JSON with numbers as their literal text in decimals. */
    readonly body: unknown;
    /** Absolute URL of the request, for links and `Location`. */
    readonly url: string;
    readonly caller: {
        readonly userId: string | undefined;
        readonly projectId: string | undefined;
    };
    readonly now: Instant;
    /** A public id for a rule that this call creates; an importer gives one that others already know. Ask again when it is taken. */
    newId(): string;
    readonly tx: SqlTransaction;
}
export interface ConfigResponse {
    readonly status: number;
    readonly headers?: Readonly<Record<string, string>> | undefined;
    readonly body?: JsonValue | undefined;
}
/** What a storage promises. The core's promises hold where they are declared. */
export interface StorageCapabilities {
    /** `replacePeriod` joins the core's transaction: frame, watermark and fence are one commit. */
    readonly joinsCoreTransaction: boolean;
    /** Readers see a period whole or not at all, also while it is replaced. */
    readonly atomicReplace: boolean;
    /** Sums are exact to the last digit. */
    readonly exactSums: boolean;
    /** Filters may name metadata. */
    readonly metadataFilters: boolean;
    /** Time units that `total` can group by. */
    readonly timeGroups: readonly TimeUnit[];
    /** `deletePeriods` honours scope, metrics and filters. */
    readonly filteredDelete: boolean;
}
export type TimeUnit = 'period' | 'day' | 'week' | 'month' | 'year';
/** One scope of one source; without `source`, of every source. */
export interface ScopeSelector {
    readonly source?: string | undefined;
    readonly key: string;
    readonly id: string;
}
/** Which scopes a reader may see. Every reader takes it; there is no default. */
export type VisibleScopes = 'all' | readonly ScopeSelector[];
/** An attribute whose text is one of the values. `any` looks at groupby first, then at metadata. */
export interface AttributeFilter {
    readonly name: string;
    readonly values: readonly string[];
    readonly in: 'groupby' | 'metadata' | 'any';
}
/** A row belongs to the range when begin <= start of its period < end. */
export interface PointQuery {
    readonly visible: VisibleScopes;
    readonly begin: Instant;
    readonly end: Instant;
    /** Rated names; absent: all. */
    readonly metrics?: readonly string[] | undefined;
    readonly filters?: readonly AttributeFilter[] | undefined;
}
export interface FrameQuery extends PointQuery {
    /** Points to skip and to give, over the order (begin, source, scope, metric, ordinal). Absent: everything. */
    readonly offset?: number | undefined;
    readonly limit?: number | undefined;
}
export type GroupKey = {
    readonly kind: 'type';
} | {
    readonly kind: 'scope';
} | {
    readonly kind: 'time';
    readonly unit: TimeUnit;
} | {
    readonly kind: 'attribute';
    readonly name: string;
};
export interface TotalQuery extends PointQuery {
    readonly groupby: readonly GroupKey[];
    readonly offset?: number | undefined;
    readonly limit?: number | undefined;
}
export interface Total {
    /** The requested range, or the time slice when grouped by time. */
    readonly begin: Instant;
    readonly end: Instant;
    readonly quantity: Decimal;
    readonly price: Decimal;
    readonly points: number;
    /** One text per group key, in their order; `''` where a point lacks the attribute; time keys give the slice's begin. */
    readonly group: readonly string[];
}
export interface TotalPage {
    /** Rows before paging. */
    readonly total: number;
    readonly rows: readonly Total[];
}
export interface StoredFrame extends Frame<RatedPoint> {
    /** Hash of the rule snapshot the period was rated with; empty for frames pushed from outside. */
    readonly snapshot: string;
}
export interface WriteContext {
    /** The core's transaction, when the storage declares that it joins it. */
    readonly tx?: SqlTransaction | undefined;
    /** Rises with every change of the lease's owner. */
    readonly fence: number;
    /** Rises with every write of the scope; readers of storages outside the core ignore other generations. */
    readonly generation: number;
    readonly snapshot: string;
}
export interface Storage extends Lifecycle {
    readonly capabilities: StorageCapabilities;
    /**
     * Leaves exactly the given frame for its (source, scope, period), however often it runs.
     * An empty frame without gaps leaves an empty period.
     */
    replacePeriod(frame: Frame<RatedPoint>, write: WriteContext, signal: AbortSignal): Promise<void>;
    /** Frames in order of (begin, source, scope); with paging, frames hold just the points of the page. */
    readPeriods(query: FrameQuery, signal: AbortSignal): AsyncIterable<StoredFrame>;
    /** Number of points that `readPeriods` would give without paging. */
    countPoints(query: PointQuery, signal: AbortSignal): Promise<number>;
    /** Sums by group, rows ordered by group. No rows match: no rows, also without a group-by. */
    total(query: TotalQuery, signal: AbortSignal): Promise<TotalPage>;
    /** Removes whole periods (or, where declared, only matching points). Readers stop seeing them at once. */
    deletePeriods(query: PointQuery, write: Pick<WriteContext, 'tx'>, signal: AbortSignal): Promise<void>;
    /** Scopes with at least one point in the range. */
    scopesWithData(query: PointQuery, signal: AbortSignal): Promise<readonly ScopeWithData[]>;
    /** Reclaims what deletions left behind, in small steps; gives the number of rows removed, 0 when there is no more. */
    sweep?(signal: AbortSignal): Promise<number>;
    /**
     * Retention and erasure are optional: a storage has `keptFrom`, `storedMonths`, `retain` and `thin` together or none of
     * them. Afterwards sums that are still kept are exactly what they were, and a question that needs more than is kept throws
     * DataError RATECAT_POINTS_DROPPED, which says from when; a write there throws DataError RATECAT_PERIOD_THINNED.
     *
     * From when points and sums are kept, where that is not from the beginning.
     */
    keptFrom?(visible: VisibleScopes, signal: AbortSignal): Promise<readonly KeptFrom[]>;
    /** Every month that holds points or what is left of them, in ascending order of begin. */
    storedMonths?(signal: AbortSignal): AsyncIterable<StoredMonth>;
    /** Raises limits, never lowers them, in one transaction; from then on nothing before them is given or taken. */
    retain?(order: RetainOrder, signal: AbortSignal): Promise<void>;
    /** Removes some of what lies before the limits, in a small step; gives the number of rows removed, 0 when there is no more. */
    thin?(signal: AbortSignal): Promise<number>;
    /**
     * Removes some of everything about one scope, in a small step; gives the number of rows removed, 0 when there is no more.
     * Nobody may write the scope meanwhile. What its deleted periods leave behind, `sweep` removes.
     */
    erase?(scope: ScopeWithData, signal: AbortSignal): Promise<number>;
}
export interface ScopeWithData {
    readonly source: string;
    readonly scope: Scope;
}
/** From when on something is kept: begins of months of the billing time zone, 0 for the beginning. points >= daily >= monthly. */
export interface KeptLimits {
    /** Points, their attributes, and gaps. */
    readonly points: Instant;
    /** Sums by day, scope and metric. */
    readonly dailySums: Instant;
    /** Sums by month, scope and metric. */
    readonly monthlySums: Instant;
}
/** Limits of one metric of a scope; without `metric`, of everything that the scope has, beside limits of single metrics. */
export interface KeptFrom extends KeptLimits, ScopeWithData {
    readonly metric: string | undefined;
}
export interface MetricLimits extends KeptLimits {
    readonly metric: string | undefined;
    /** Begin of the first month that is stored of it. */
    readonly since: Instant;
}
export interface RetainOrder extends ScopeWithData {
    readonly limits: readonly MetricLimits[];
}
/** One month of one scope and metric. */
export interface StoredMonth extends ScopeWithData {
    readonly metric: string;
    readonly month: Period;
    /** Points that were rated, whether they are kept or not. */
    readonly points: number;
    /** About what these points take, or took. */
    readonly bytes: number;
}
/** Tells the outside world what happened. Events come from a queue in the database and stay there until they are confirmed. */
export interface Notifier extends Lifecycle {
    /**
     * Hands over events, each at least once: resolves when the receiver has confirmed every one of them. After a failure the
     * same events come again, so an event may be handed over twice; its `id` stays the same. Events of one scope are handed
     * over in their order: none before the one ahead of it is confirmed. Called one at a time, and before the receiver was
     * ever reached: connections are opened here rather than in `start`, so that a receiver that is down stops nothing.
     * @throws UnavailableError when the receiver cannot be reached or asks to come back later.
     * @throws RejectedError when it will not take anything until somebody changes a credential or setting.
     * @throws DataError when it will never take one of these events; with one event given, that event is set aside.
     */
    publish(events: readonly Notification[], signal: AbortSignal): Promise<void>;
}
/** One event. Decimals and instants in `payload` are text. */
export interface Notification {
    /** UUID, the same however often the event is handed over. */
    readonly id: string;
    /** `rating.period.committed`, `rating.scope.stuck`, … */
    readonly type: string;
    readonly severity: 'info' | 'warn' | 'error';
    /** When it happened; milliseconds since the epoch. */
    readonly at: number;
    /** Whom it is about; undefined for what concerns every scope. */
    readonly scope: NotificationScope | undefined;
    readonly payload: {
        readonly [name: string]: JsonValue | undefined;
    };
}
export interface NotificationScope {
    readonly source: string;
    readonly key: string;
    readonly id: string;
    readonly name?: string | undefined;
}
export interface PluginDefinition<K extends PluginKind = PluginKind, Options = unknown> {
    readonly apiVersion: typeof API_VERSION;
    readonly kind: K;
    /** As the config says it. */
    readonly name: string;
    readonly options: Schema<Options>;
    /** Option names whose values never reach a log. */
    readonly secretOptions?: readonly string[] | undefined;
    /** Asks for the core database. Storages and rating modules only. */
    readonly usesDatabase?: boolean | undefined;
    /** Tables of this plugin, named `ratecat_<plugin>_…`; migrated with the core's. */
    readonly migrations?: readonly Migration[] | undefined;
    create(options: Options, context: PluginContext): PluginRoles[K];
}
/** All that a plugin receives. It never sees the container, the config file or another plugin. */
export interface PluginContext {
    readonly logger: Logger;
    readonly clock: Clock;
    readonly calendar: Calendar;
    readonly http: HttpFactory;
    /** `strict` reproduces the reference where it touches money; `fixed` does the right thing. */
    readonly compat: 'strict' | 'fixed';
    /** A folder of the daemon's own, and the folder that relative paths in options start from. */
    readonly dataFolder: string;
    readonly configFolder: string;
    /** Facts about the pipeline; fetchers and collectors only. */
    readonly pipeline?: PipelineFacts | undefined;
    /** Present when the definition says `usesDatabase`. */
    readonly database?: SqlDatabase | undefined;
}
export interface PipelineFacts {
    readonly name: string;
    readonly scopeKey: string;
    readonly periodSeconds: number;
}
export interface Logger {
    error(message: string, fields?: Readonly<Record<string, unknown>>): void;
    warn(message: string, fields?: Readonly<Record<string, unknown>>): void;
    info(message: string, fields?: Readonly<Record<string, unknown>>): void;
    debug(message: string, fields?: Readonly<Record<string, unknown>>): void;
}
export interface Clock {
    /** Wall clock, milliseconds since the epoch. */
    now(): number;
    /** Never goes back; milliseconds from an arbitrary start. */
    monotonic(): number;
    /** @throws the signal's reason when it is aborted. */
    sleep(milliseconds: number, signal: AbortSignal): Promise<void>;
}
/** Days, weeks and months of the billing time zone. */
export interface Calendar {
    readonly timeZone: string;
    /** Begin and end of the slice of the unit that holds the instant. Weeks begin on Monday. */
    slice(instant: Instant, unit: Exclude<TimeUnit, 'period'>): Period;
    /** The local date as YYYYMMDD. */
    day(instant: Instant): number;
    /** The local month as YYYYMM. */
    month(instant: Instant): number;
}
export interface HttpFactory {
    /** One client (and connection pool) per upstream. */
    client(options: HttpClientOptions): HttpClient;
}
export interface HttpClientOptions {
    /** Limit for the whole exchange, body included; milliseconds. Default 60,000. */
    readonly timeoutMs?: number | undefined;
    /** Default 64 MiB after decompression. */
    readonly maxResponseBytes?: number | undefined;
    /** Connections per host. Default 16. */
    readonly connections?: number | undefined;
    readonly caFile?: string | undefined;
    readonly certFile?: string | undefined;
    readonly keyFile?: string | undefined;
    readonly insecure?: boolean | undefined;
}
export interface HttpClient {
    /**
     * One exchange; any status is an answer. Redirects are not followed.
     * @throws UnavailableError RATECAT_UPSTREAM_UNREACHABLE, RATECAT_UPSTREAM_TIMEOUT, RATECAT_UPSTREAM_TRUNCATED
     * @throws DataError RATECAT_UPSTREAM_TOO_LARGE
     */
    request(request: HttpRequest, signal: AbortSignal): Promise<HttpResponse>;
    close(): Promise<void>;
}
export interface HttpRequest {
    readonly method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE' | 'HEAD' | undefined;
    readonly url: string;
    readonly headers?: Readonly<Record<string, string>> | undefined;
    readonly body?: string | undefined;
}
export interface HttpResponse {
    readonly status: number;
    /** Lower-case names; repeated headers joined with ", ". */
    readonly headers: Readonly<Record<string, string>>;
    readonly body: string;
}
/** Marks a definition; the default export of a plugin's module. */
export declare function definePlugin<K extends PluginKind, Options>(definition: Omit<PluginDefinition<K, Options>, 'apiVersion'> & {
    readonly apiVersion?: typeof API_VERSION;
}): PluginDefinition<K, Options>;
/** True for what `definePlugin` made, whichever copy of the package did. */
export declare function isPluginDefinition(value: unknown): value is PluginDefinition;

// ---- schema

/**
 * The validation part of Standard Schema (https://standardschema.dev), version 1: zod, valibot and arktype schemas fit as
 * they are.
 */
export interface Schema<Output = unknown> {
    readonly '~standard': {
        readonly version: 1;
        readonly vendor: string;
        readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
        readonly types?: {
            readonly input: unknown;
            readonly output: Output;
        } | undefined;
    };
}
export type SchemaResult<Output> = {
    readonly value: Output;
    readonly issues?: undefined;
} | {
    readonly issues: readonly SchemaIssue[];
};
export interface SchemaIssue {
    readonly message: string;
    readonly path?: readonly (PropertyKey | {
        readonly key: PropertyKey;
    })[] | undefined;
}
/** What may be written to and read from JSON. Numbers here are counts and settings; quantities and prices are text. */
export type JsonValue = string | number | boolean | null | readonly JsonValue[] | {
    readonly [name: string]: JsonValue | undefined;
};

// ---- errors

/** What the daemon does with an error. */
export type ErrorKind = 
/** The configuration is wrong; the daemon does not start (exit code 78). */
'config'
/** A plugin is missing, incompatible or broke its contract. */
 | 'plugin'
/** Something outside does not answer now; the same call may succeed later. */
 | 'unavailable'
/** Something outside refused for good: credentials, privileges. */
 | 'rejected'
/** Data that cannot be rated as it is; the period stays unrated. */
 | 'data'
/** The lease was taken by somebody else; this worker must not write. */
 | 'fenced';
export type ErrorDetails = Readonly<Record<string, unknown>>;
export interface ErrorOptions {
    readonly cause?: unknown;
    readonly details?: ErrorDetails;
}
export declare class RatecatError extends Error {
    readonly code: string;
    readonly kind: ErrorKind;
    readonly retryable: boolean;
    readonly details: ErrorDetails;
    constructor(kind: ErrorKind, retryable: boolean, code: string, message: string, options?: ErrorOptions);
}
export declare class ConfigError extends RatecatError {
    constructor(code: string, message: string, options?: ErrorOptions);
}
export declare class PluginError extends RatecatError {
    constructor(code: string, message: string, options?: ErrorOptions);
}
export declare class UnavailableError extends RatecatError {
    constructor(code: string, message: string, options?: ErrorOptions);
}
export declare class RejectedError extends RatecatError {
    constructor(code: string, message: string, options?: ErrorOptions);
}
export declare class DataError extends RatecatError {
    constructor(code: string, message: string, options?: ErrorOptions);
}
export declare class FencedError extends RatecatError {
    constructor(code: string, message: string, options?: ErrorOptions);
}
/** True for errors of this contract, whichever copy of the package made them. */
export declare function isRatecatError(error: unknown): error is RatecatError;
/** One line for people: the message and, shortened, the messages of its causes. */
export declare function describeError(error: unknown): string;

// ---- database

/** The narrow SQL layer that storages and rating modules see. One SQL for SQLite and MySQL/MariaDB. */
/** Decimals travel as text, instants as integers. */
export type SqlValue = string | number | bigint | null | Uint8Array;
export type SqlRow = readonly SqlValue[];
export interface SqlReader {
    readonly dialect: SqlDialect;
    /** Rows as arrays in the order of the select list. Integers come back as numbers (bigint beyond 2^53), decimals as text. */
    query(sql: string, parameters?: readonly SqlValue[]): Promise<readonly SqlRow[]>;
}
export interface SqlTransaction extends SqlReader {
    execute(sql: string, parameters?: readonly SqlValue[]): Promise<SqlResult>;
    /** Many rows by few prepared statements; yields to the event loop between slices. */
    insertRows(insert: BulkInsert): Promise<void>;
}
export interface SqlResult {
    /** Rows that matched the WHERE clause of an update or delete, or were inserted. */
    readonly affected: number;
    readonly insertId: number;
}
export interface SqlDatabase extends SqlReader {
    /**
     * Runs `work` in one transaction. Deadlocks, lock time-outs and certification failures run it again, so `work` must have
     * no effect outside the transaction.
     * @throws UnavailableError RATECAT_DATABASE_UNAVAILABLE when the engine cannot be reached.
     */
    transaction<T>(work: (tx: SqlTransaction) => Promise<T>, signal?: AbortSignal): Promise<T>;
    /** Rows one by one, without holding the whole answer in memory. */
    iterate(sql: string, parameters?: readonly SqlValue[], signal?: AbortSignal): AsyncIterable<SqlRow>;
}
export interface BulkInsert {
    readonly table: string;
    readonly columns: readonly string[];
    readonly rows: readonly SqlRow[];
    /** What to do when the primary or a unique key exists; absent: the statement fails. */
    readonly onConflict?: ConflictRule | undefined;
}
export interface ConflictRule {
    /** Columns of the key that may already exist. */
    readonly key: readonly string[];
    /** Decimal columns to which the new value is added, exactly. */
    readonly addDecimal?: readonly string[];
    /** Integer columns to which the new value is added. */
    readonly addInteger?: readonly string[];
    /** Columns that take the new value. With none of the three the existing row is kept. */
    readonly replace?: readonly string[];
}
/** What differs between the engines. */
export interface SqlDialect {
    readonly engine: 'sqlite' | 'mysql';
    /** Column type of an auto-incremented integer primary key, `PRIMARY KEY` included. */
    readonly autoId: string;
    readonly integer: string;
    /** DECIMAL(58,28), or text on an engine without exact decimals. */
    readonly decimal: string;
    /** Text of any length. */
    readonly longText: string;
    /** Text with binary comparison. */
    text(length: number): string;
    /** Fixed-length binary. */
    binary(length: number): string;
    /** Appended to CREATE TABLE; `compact` asks for a table clustered on its primary key. */
    tableOptions(options?: {
        readonly compact?: boolean;
    }): string;
    /** Expression for the exact sum of a decimal expression; NULL over no rows. The text it yields parses with Decimal. */
    sum(expression: string): string;
    /** `CREATE INDEX` that may run twice. */
    createIndex(name: string, table: string, columns: string, unique?: boolean): string;
}
export interface Migration {
    /** Sorts and identifies: `0001-create`. Never changes once released. */
    readonly name: string;
    /** Each statement must be safe to run again: an interrupted migration is repeated from its first statement. */
    statements(dialect: SqlDialect): readonly string[];
}

// ---- attributes

/**
 * A value of a groupby or metadata attribute. Numbers are decimals with the scale of their literal, so that 1 and 1.0 stay
 * apart (the reference compares rule values with the text of the literal).
 */
export type AttributeValue = string | boolean | null | Decimal | readonly AttributeValue[] | {
    readonly [name: string]: AttributeValue;
};
/**
 * An immutable, ordered list of named values. Names are kept in an array that all points of a metric share, so that a
 * hundred thousand points do not carry a hundred thousand hash tables, and a label called `__proto__` is just a name.
 */
export declare class Attributes implements Iterable<readonly [string, AttributeValue]> {
    readonly names: readonly string[];
    readonly values: readonly AttributeValue[];
    static readonly EMPTY: Attributes;
    private constructor();
    /** `names` must be distinct and as long as `values`; both are kept, not copied. */
    static of(names: readonly string[], values: readonly AttributeValue[]): Attributes;
    static from(record: Readonly<Record<string, AttributeValue>>): Attributes;
    get size(): number;
    get(name: string): AttributeValue | undefined;
    has(name: string): boolean;
    /** A copy with one value set; an absent name is added at the end. */
    with(name: string, value: AttributeValue): Attributes;
    [Symbol.iterator](): IterableIterator<readonly [string, AttributeValue]>;
    /** JSON with names in code-unit order and exact number literals: equal attributes have equal text, 1 and 1.0 do not. */
    canonical(): string;
}
/** Code-unit order: the same on every engine and in every locale. */
export declare function compareText(left: string, right: string): number;
/** JSON text of a value: object keys sorted, decimals as literals with their scale. */
export declare function canonicalJson(value: AttributeValue): string;
/** True for decimals, also those of a second copy of this package. */
export declare function isDecimal(value: unknown): value is Decimal;

// ---- decimal

/** How a value that lies exactly between two neighbours is rounded. */
export type RoundingMode = 'half-even' | 'half-up';
/** Significant digits of every rating operation: the default decimal context of the reference. */
export declare const SIGNIFICANT_DIGITS = 28;
/** Decimal places kept by every storage. */
export declare const STORED_PLACES = 28;
/** Digits before the point that a stored value may have (DECIMAL(58,28) has 58 − 28). */
export declare const STORED_INTEGER_DIGITS = 30;
/**
 * An exact decimal number: coefficient × 10^exponent, immutable.
 *
 * `plus`, `minus` and `times` are exact. Rounding happens only where `round` or `quantize` is written. The scale is kept
 * (2.50 stays 2.50 until it is printed), as the decimals of the reference do; `toString` prints the canonical form.
 * There is one zero: -0 reads as 0.
 */
export declare class Decimal {
    #private;
    readonly coefficient: bigint;
    readonly exponent: number;
    static readonly ZERO: Decimal;
    static readonly ONE: Decimal;
    private constructor();
    /**
     * Reads `[+-]digits[.digits][e[+-]digits]` of up to 16,384 characters with an exponent of up to ±6144.
     * @throws DataError RATECAT_NUMBER_MALFORMED when the text is anything else (NaN and infinities included).
     */
    static parse(text: string): Decimal;
    /** Like `parse`, but answers undefined. */
    static tryParse(text: string): Decimal | undefined;
    /** The decimal of an integer. @throws DataError when a number is not a safe integer. */
    static fromInteger(value: number | bigint): Decimal;
    /** coefficient × 10^exponent. */
    static of(coefficient: bigint, exponent: number): Decimal;
    /** The exact value of the binary float nearest to this decimal: how the reference reads JSON and YAML numbers. */
    throughBinary(): Decimal;
    get isZero(): boolean;
    get isNegative(): boolean;
    plus(other: Decimal): Decimal;
    minus(other: Decimal): Decimal;
    times(other: Decimal): Decimal;
    negated(): Decimal;
    /** Negative, zero or positive as this is less than, equal to or greater than `other`; scale does not matter. */
    compare(other: Decimal): number;
    equals(other: Decimal): boolean;
    /** Rounds to at most `digits` significant digits. */
    round(digits?: number, mode?: RoundingMode): Decimal;
    /** Rounds to at most `places` digits after the point; a coarser value stays as it is. */
    quantize(places?: number, mode?: RoundingMode): Decimal;
    /**
     * The value as storages keep it: half-even at 28 places.
     * @throws DataError RATECAT_NUMBER_OVERFLOW with more than 30 digits before the point.
     */
    toStored(): Decimal;
    /** Greatest integer not above the value. */
    floor(): bigint;
    /** Least integer not below the value. */
    ceil(): bigint;
    /** Coefficient at the given number of places; exact, so `places` must be enough. */
    scaled(places: number): bigint;
    /** Canonical plain notation: no exponent, no trailing zeros, `0` for zero. */
    toString(): string;
    /** Plain notation with the scale kept: 2.50 prints as `2.50`. */
    toFixedScale(): string;
    /** The reference's decimal notation: scale kept, scientific below 1E-6 (`0E-28`, `1.5E-7`). */
    toReferenceNotation(): string;
    /** Exact text, so that a decimal never becomes a JSON float by accident. */
    toJSON(): string;
}
/** Divides two non-negative integers, rounding the quotient. */
export declare function divideRounded(dividend: bigint, divisor: bigint, mode?: RoundingMode): bigint;

// ---- slice

/** Tells long synchronous work when to let the event loop run: requests, heartbeats and other scopes wait meanwhile. */
export declare class Slice {
    #private;
    constructor(milliseconds?: number);
    get isOver(): boolean;
    /** Resolves when it is this work's turn again. Of all that wait, one goes on in each turn of the event loop. */
    breathe(): Promise<void>;
}
/**
 * Visits each item in order and lets the event loop run every few milliseconds. Of several long pieces of work one is finished
 * before the next goes on, so that what they were made of can be forgotten.
 * @throws the signal's reason once it is aborted.
 */
export declare function eachInSlices<T>(items: Iterable<T>, visit: (item: T, index: number) => void, signal?: AbortSignal): Promise<void>;
/** As `items.map(make)`, in slices as `eachInSlices`. */
export declare function mapInSlices<T, Made>(items: readonly T[], make: (item: T, index: number) => Made, signal?: AbortSignal): Promise<Made[]>;
