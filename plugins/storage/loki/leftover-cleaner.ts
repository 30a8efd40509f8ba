import type { Clock, Logger, SqlDatabase } from '../../../core/plugin-api/index.js';
import { forget, postpone, takeUseless } from './leftover-table.js';
import type { PointLog } from './point-log.js';

/** Loki that takes no requests to delete is asked again after this. */
const POSTPONED_SECONDS = 86_400;

export interface LeftoverCleanerParts {
  readonly database: SqlDatabase;
  readonly points: PointLog;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Lets Loki delete points that do not count. Nobody reads them, so this saves room, no more. */
export class LeftoverCleaner {
  readonly #parts: LeftoverCleanerParts;
  #isWarned = false;

  constructor(parts: LeftoverCleanerParts) {
    this.#parts = parts;
  }

  /** Asks for some; gives the number of writes whose points will go. */
  async step(signal: AbortSignal): Promise<number> {
    const { database, points, clock } = this.#parts;
    const now = Math.floor(clock.now() / 1000);
    const leftovers = await takeUseless(database, now, signal);
    if (leftovers === undefined) return 0;
    const reason = await points.remove(leftovers, signal);
    if (reason === undefined) {
      await forget(database, leftovers.writes);
      return leftovers.writes.length;
    }
    await postpone(database, now, now + POSTPONED_SECONDS);
    this.#warn(reason);
    return 0;
  }

  #warn(reason: string): void {
    if (this.#isWarned) return;
    this.#isWarned = true;
    this.#parts.logger.warn(
      'Loki takes no requests to delete: removed and replaced points are in no report, and stay in Loki until they expire there. Set compactor.retention_enabled, compactor.delete_request_store and limits_config.deletion_mode in its configuration',
      { reason },
    );
  }
}
