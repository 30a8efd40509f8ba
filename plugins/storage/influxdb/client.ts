import { z } from 'zod';
import {
  DataError,
  type HttpClient,
  type HttpResponse,
  type PluginContext,
  type RatecatError,
  RejectedError,
  UnavailableError,
} from '../../../core/plugin-api/index.js';
import {
  excerpt,
  inShape,
  parseJson,
  refusal,
  requestRepeatably,
  type UpstreamOptions,
  upstreamClient,
} from '../../../core/upstream/index.js';
import { identifier } from './wire-text.js';

export interface InfluxOptions extends UpstreamOptions {
  readonly host: string;
  readonly port: number;
  readonly use_ssl: boolean;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly database: string;
  readonly retention_policy: string;
}

export type Cell = string | number | boolean | null;

/** Rows of one statement: a column is missing when no row has it. */
export interface Rows {
  readonly columns: readonly string[];
  readonly values: readonly (readonly Cell[])[];
}

const NO_ROWS: Rows = { columns: [], values: [] };

/** One chunk of an answer. */
const CHUNK = z.object({
  error: z.string().optional(),
  results: z
    .array(
      z.object({
        statement_id: z.number(),
        error: z.string().optional(),
        series: z
          .array(
            z.object({
              columns: z.array(z.string()),
              // Cells are not looked at one by one here: their readers check them.
              values: z.custom<readonly (readonly Cell[])[]>(Array.isArray).optional(),
              partial: z.boolean().optional(),
            }),
          )
          .optional(),
        partial: z.boolean().optional(),
      }),
    )
    .default([]),
});

type StatementChunk = z.output<typeof CHUNK>['results'][number];

/** Rows of a chunk. An answer that is not cut in chunks ends at the server's `max-row-limit`, one that is does not. */
const CHUNK_ROWS = 5_000;

/** The HTTP interface of InfluxDB 1.x. All requests leave the same state when they are repeated. */
export class InfluxClient {
  readonly #http: HttpClient;
  readonly #options: InfluxOptions;
  readonly #base: string;
  readonly #headers: Readonly<Record<string, string>>;

  constructor(options: InfluxOptions, context: PluginContext) {
    this.#options = options;
    this.#http = upstreamClient(options, context);
    const host = options.host.includes(':') ? `[${options.host}]` : options.host;
    this.#base = `${options.use_ssl ? 'https' : 'http'}://${host}:${options.port}`;
    this.#headers = authorization(options);
  }

  /** A measurement with database and retention policy, for SELECT. */
  source(measurement: string): string {
    return [this.#options.database, this.#options.retention_policy, measurement].map(identifier).join('.');
  }

  /** One answer per statement. @throws RatecatError when any of them fails or is not whole. */
  async query(statements: readonly string[], signal: AbortSignal): Promise<readonly Rows[]> {
    const parameters = {
      db: this.#options.database,
      epoch: 's',
      chunked: 'true',
      chunk_size: String(CHUNK_ROWS),
    };
    const response = await this.#post(
      `/query?${new URLSearchParams(parameters)}`,
      'application/x-www-form-urlencoded',
      new URLSearchParams({ q: statements.join('; ') }).toString(),
      signal,
    );
    if (response.status !== 200) throw this.#refused('a query', response);
    const chunks = this.#chunks(response.body);
    return statements.map((_statement, place) =>
      joined(chunks.filter(({ statement_id }) => statement_id === place)),
    );
  }

  /** An answer is one JSON object per line. */
  #chunks(body: string): readonly StatementChunk[] {
    const call = `a query of InfluxDB at ${this.#base}`;
    return body
      .split('\n')
      .filter((line) => line.trim() !== '')
      .flatMap((line) => {
        const { error, results } = inShape(call, CHUNK, parseJson(call, line));
        const failed = error ?? results.find((result) => result.error !== undefined)?.error;
        if (failed !== undefined) throw this.#statementError(failed);
        return results;
      });
  }

  /**
   * Stores lines of line protocol with times in seconds.
   * @throws DataError RATECAT_INFLUXDB_REFUSED when InfluxDB does not take (some of) them; `details.field` names a field that
   * is of another type there.
   */
  async write(lines: string, signal: AbortSignal): Promise<void> {
    const { database: db, retention_policy: rp } = this.#options;
    const path = `/write?${new URLSearchParams({ db, rp, precision: 's' })}`;
    const response = await this.#post(path, 'text/plain; charset=utf-8', lines, signal);
    if (response.status === 204) return;
    if (response.status === 400 || response.status === 413) {
      throw new DataError(
        'RATECAT_INFLUXDB_REFUSED',
        `InfluxDB did not take points (${response.status}): ${this.#excerpt(response.body)}. 'field type conflict' means that another program stored this field with another type, 'retention policy' that the period is older than the policy '${rp}' keeps. The period stays as it was.`,
        { details: { field: conflictingField(response.body) } },
      );
    }
    throw this.#refused('a write', response);
  }

  /** Looks for the database and its retention policy. @throws RejectedError RATECAT_INFLUXDB_DATABASE */
  async check(signal: AbortSignal): Promise<void> {
    const { database, retention_policy } = this.#options;
    const [policies = NO_ROWS] = await this.query(
      [`SHOW RETENTION POLICIES ON ${identifier(database)}`],
      signal,
    );
    const name = policies.columns.indexOf('name');
    if (!policies.values.some((row) => row[name] === retention_policy)) {
      throw missing(`no retention policy '${retention_policy}' on database '${database}'`);
    }
  }

  close(): Promise<void> {
    return this.#http.close();
  }

  #post(path: string, type: string, body: string, signal: AbortSignal): Promise<HttpResponse> {
    return requestRepeatably(
      this.#http,
      {
        method: 'POST',
        url: `${this.#base}${path}`,
        headers: { ...this.#headers, 'content-type': type, accept: 'application/json' },
        body,
      },
      signal,
    );
  }

  #refused(what: string, response: HttpResponse): RatecatError {
    if (response.status === 404) return missing(this.#excerpt(response.body));
    return refusal(`${what} of InfluxDB at ${this.#base}`, response, this.#options.password);
  }

  #statementError(error: string): RatecatError {
    const said = this.#excerpt(error);
    if (/^(database|retention policy) not found/.test(error)) return missing(said);
    return new UnavailableError(
      'RATECAT_UPSTREAM_UNAVAILABLE',
      `InfluxDB at ${this.#base} could not run a statement: ${said}. It will be tried again; if it persists, look into InfluxDB's log.`,
    );
  }

  #excerpt(text: string): string {
    return excerpt(text, this.#options.password);
  }
}

function authorization({ username, password }: InfluxOptions): Readonly<Record<string, string>> {
  if (username === undefined) return {};
  return { authorization: `Basic ${Buffer.from(`${username}:${password ?? ''}`).toString('base64')}` };
}

function missing(what: string): RejectedError {
  return new RejectedError(
    'RATECAT_INFLUXDB_DATABASE',
    `InfluxDB has not what the configuration names: ${what}. Create it (influx -execute 'CREATE DATABASE cloudkitty'), or correct database and retention_policy in storage.options.`,
  );
}

/** The chunks of one statement; every one but the last says that more follows. */
function joined(chunks: readonly StatementChunk[]): Rows {
  const last = chunks.at(-1);
  if (last === undefined || last.partial === true || last.series?.at(-1)?.partial === true) {
    throw new UnavailableError(
      'RATECAT_INFLUXDB_CUT',
      "InfluxDB's answer ended before its end. It will be tried again; if it persists, look into InfluxDB's log, and for a proxy that cuts long answers.",
    );
  }
  const series = chunks.flatMap((chunk) => chunk.series ?? []);
  const [first] = series;
  if (first === undefined) return NO_ROWS;
  return { columns: first.columns, values: series.flatMap(({ values = [] }) => values) };
}

function conflictingField(body: string): string | undefined {
  try {
    const { error } = JSON.parse(body) as { readonly error?: unknown };
    return /field type conflict: input field "(.*)" on measurement /s.exec(String(error))?.[1];
  } catch {
    return undefined;
  }
}
