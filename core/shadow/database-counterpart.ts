import { RatedRows } from '../migrating/rated-rows.js';
import { type PipelineNames, readScopes } from '../migrating/scope-source.js';
import type { SourceDatabase } from '../migrating/source-database.js';
import { SourceSchema } from '../migrating/source-schema.js';
import { Decimal, type Instant, type Period, UnavailableError } from '../plugin-api/index.js';
import type { Counterpart, Precision, ScopeSum } from './counterpart.js';

export interface DatabasePipeline extends PipelineNames {
  readonly periodSeconds: number;
}

/**
 * Columns of `rated_data_frames`: five decimals of a quantity, a price as FLOAT, which has 24 bits on MySQL and 53 on SQLite.
 */
const QUANTITY_STEP = Decimal.parse('0.00001');
const SINGLE = Decimal.parse('1e-6');
const DOUBLE = Decimal.parse('1e-12');

/** CloudKitty with the storage `sqlalchemy`: its database, which is only read. */
export class DatabaseCounterpart implements Counterpart {
  readonly precision: Precision;
  readonly #source: SourceDatabase;
  readonly #schema: SourceSchema;
  readonly #rows: RatedRows;
  readonly #pipeline: DatabasePipeline;

  private constructor(source: SourceDatabase, schema: SourceSchema, pipeline: DatabasePipeline) {
    this.#source = source;
    this.#schema = schema;
    this.#rows = new RatedRows(source, schema);
    this.#pipeline = pipeline;
    this.precision = { quantity: QUANTITY_STEP, share: source.engine === 'mysql' ? SINGLE : DOUBLE };
  }

  /** @throws UnavailableError RATECAT_MIGRATE_SOURCE_ABSENT when the database has no rated frames. */
  static async open(source: SourceDatabase, pipeline: DatabasePipeline): Promise<DatabaseCounterpart> {
    const schema = await SourceSchema.read(source);
    if (schema.has('rated_data_frames')) return new DatabaseCounterpart(source, schema, pipeline);
    throw new UnavailableError(
      'RATECAT_MIGRATE_SOURCE_ABSENT',
      'The database has no rated frames: this CloudKitty keeps them elsewhere. Name its API with --endpoint instead.',
    );
  }

  async frontiers(): Promise<ReadonlyMap<string, Instant>> {
    const { periodSeconds } = this.#pipeline;
    const hasStates =
      this.#schema.has('cloudkitty_storage_states') || this.#schema.has('hybrid_storage_states');
    const newest = hasStates ? [] : await this.#rows.newest();
    const { scopes } = await readScopes(this.#schema, this.#pipeline, newest);
    return new Map(scopes.map(({ id, lastBegin }) => [id, lastBegin + periodSeconds]));
  }

  async sums({ begin, end }: Period): Promise<readonly ScopeSum[]> {
    const sums = new Map<string, ScopeSum>();
    for await (const { scopeId, metric, quantity, price } of this.#rows.amounts({ begin, end })) {
      const key = JSON.stringify([scopeId, metric]);
      const sum = sums.get(key);
      sums.set(key, {
        scopeId,
        metric,
        quantity: sum?.quantity.plus(quantity) ?? quantity,
        price: sum?.price.plus(price) ?? price,
      });
    }
    return [...sums.values()];
  }

  async close(): Promise<void> {
    await this.#source.close();
  }
}
