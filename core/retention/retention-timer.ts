import {
  type Clock,
  describeError,
  isRatecatError,
  type Logger,
  type SqlDatabase,
} from '../plugin-api/index.js';
import type { Retention } from './retention.js';

const HOUR_MS = 3_600_000;
/** The start of a daemon has other things to do. */
const FIRST_PAUSE_MS = 600_000;
const DAY_SECONDS = 86_400;
const NAME = 'retention-day';

/** Applies the policies once a day, in one of all the processes on a database. */
export class RetentionTimer {
  readonly #retention: Retention;
  readonly #database: SqlDatabase;
  readonly #clock: Clock;
  readonly #logger: Logger;

  constructor(retention: Retention, database: SqlDatabase, clock: Clock, logger: Logger) {
    this.#retention = retention;
    this.#database = database;
    this.#clock = clock;
    this.#logger = logger;
  }

  /** Works until `stop` is aborted; what failed is tried again an hour later. */
  async run(stop: AbortSignal): Promise<void> {
    let pause = FIRST_PAUSE_MS;
    while (!stop.aborted) {
      try {
        await this.#clock.sleep(pause, stop);
        pause = HOUR_MS;
        if (await this.#claimDay()) await this.#apply(stop);
      } catch (error) {
        if (stop.aborted) return;
        this.#logger.warn('retention could not be applied, will be tried again', {
          error: describeError(error),
          ...(isRatecatError(error) ? { code: error.code } : {}),
        });
      }
    }
  }

  async #apply(stop: AbortSignal): Promise<void> {
    try {
      const { plan, rows } = await this.#retention.apply('retention', stop);
      const points = plan.metrics.reduce((sum, metric) => sum + metric.points, 0);
      const scopes = plan.orders.length;
      if (rows > 0) this.#logger.info('retention applied', { scopes, points, rows });
    } catch (error) {
      await this.#releaseDay();
      throw error;
    }
  }

  /** True for the first process that asks on this day. */
  async #claimDay(): Promise<boolean> {
    const today = Math.floor(this.#clock.now() / 1000 / DAY_SECONDS);
    return this.#database.transaction(async (tx) => {
      await tx.insertRows({
        table: 'ratecat_revisions',
        columns: ['name', 'value'],
        rows: [[NAME, 0]],
        onConflict: { key: ['name'] },
      });
      const sql = 'UPDATE ratecat_revisions SET value = ? WHERE name = ? AND value <> ?';
      return (await tx.execute(sql, [today, NAME, today])).affected === 1;
    });
  }

  async #releaseDay(): Promise<void> {
    await this.#database.transaction((tx) =>
      tx.execute('UPDATE ratecat_revisions SET value = 0 WHERE name = ?', [NAME]),
    );
  }
}
