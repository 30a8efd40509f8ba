import {
  type Clock,
  describeError,
  type Instant,
  type Logger,
  type SqlDatabase,
} from '../plugin-api/index.js';
import { isoTime } from '../scopes/iso-time.js';
import { CONFIRM_MS, type TrustedTime } from './trusted-time.js';

/** Two clocks that differ by less count as equal: hosts of one installation are rarely apart by more. */
const MAX_DIFFERENCE_MS = 600_000;
/** A clock that lags this little needs no word where another clock agrees with it. */
const TOLERANCE_SECONDS = 60;
/** How often to look again while the clock is waited for: an operator may set it, or send scopes back. */
const LOOK_AGAIN_MS = 10_000;

export interface StartClockParts {
  readonly database: SqlDatabase;
  readonly clock: Clock;
  readonly time: TrustedTime;
  readonly logger: Logger;
  readonly compat: 'strict' | 'fixed';
}

const BEHIND =
  'the clock is behind the last rated period; nothing is rated until it has reached its end. Set the clock; if it is right, ' +
  "send the scope back with 'ratecat scopes reset'";
const BEYOND_THE_PRESENT =
  'a scope is rated beyond the present, by this clock and by that of the database server; it waits until then. To go on now, ' +
  "send it back with 'ratecat scopes reset'";

/** The latest instant at which a scope was rated for certain. */
interface Newest {
  readonly source: string;
  readonly scope: string;
  readonly at: Instant;
}

/**
 * Compares the clock, at the start, with what the database knows. While the daemon runs `TrustedTime` notices when the clock
 * is set; a clock that was set before shows itself only here: it lies before a period that is rated already, or ahead of the
 * clock of the database server. A clock that is ahead on the one machine of a SQLite file looks like a long stop.
 */
export class StartClock {
  readonly #parts: StartClockParts;
  #isDoubted = false;

  constructor(parts: StartClockParts) {
    this.#parts = parts;
  }

  /** Returns when periods may be rated by the trusted time, or at once when `stop` is aborted. */
  async settled(stop: AbortSignal): Promise<void> {
    let said = '';
    while (!stop.aborted) {
      const problem = await this.#problem();
      if (problem === undefined) return;
      if (problem.message !== said) this.#parts.logger.warn(problem.message, problem.fields);
      said = problem.message;
      try {
        await this.#parts.clock.sleep(LOOK_AGAIN_MS, stop);
      } catch {
        return;
      }
    }
  }

  async #problem() {
    try {
      const server = await this.#server();
      const newest = await this.#newest();
      return newest === undefined ? undefined : this.#compare(newest, server);
    } catch (error) {
      return {
        message: 'the clock could not be compared with the database yet; nothing is rated before',
        fields: { error: describeError(error) },
      };
    }
  }

  /** What is rated lies in the past: a clock that shows less is wrong, or was wrong when it was rated. */
  #compare({ source, scope, at }: Newest, server: number | undefined) {
    const { time, logger } = this.#parts;
    const now = time.now();
    if (at <= now) return undefined;
    const fields = { clock: isoTime(now), ratedUpTo: isoTime(at), source, scope };
    if (server !== undefined && server - now * 1000 <= MAX_DIFFERENCE_MS) {
      if (at > now + TOLERANCE_SECONDS) logger.warn(BEYOND_THE_PRESENT, fields);
      return undefined;
    }
    return { message: BEHIND, fields };
  }

  /** The time of the database server, in milliseconds; undefined where it is this machine's. */
  async #server(): Promise<number | undefined> {
    const { database, clock, time, logger } = this.#parts;
    if (database.dialect.engine !== 'mysql') return undefined;
    // Without a time zone in between, whatever that of the server or the session is.
    const rows = await database.query('SELECT UNIX_TIMESTAMP()');
    const server = Number(rows[0]?.[0]) * 1000;
    const ahead = clock.now() - server;
    if (ahead > MAX_DIFFERENCE_MS && !this.#isDoubted) {
      this.#isDoubted = true;
      time.doubtFrom(server);
      logger.warn('the clock is ahead of the database server; it must hold before periods are rated by it', {
        seconds: Math.round(ahead / 1000),
        confirmSeconds: CONFIRM_MS / 1000,
      });
    }
    return server;
  }

  /**
   * Only of scopes for which a period was written: an operator may name any time to begin with. `strict` may rate a period
   * that has just begun; `fixed` only what is over.
   */
  async #newest(): Promise<Newest | undefined> {
    const at = this.#parts.compat === 'strict' ? 'last_begin' : 'watermark';
    const rows = await this.#parts.database.query(
      `SELECT source, scope_id, ${at} FROM ratecat_scopes WHERE commit_id IS NOT NULL AND ${at} IS NOT NULL
       ORDER BY ${at} DESC LIMIT 1`,
    );
    const [row] = rows;
    if (row === undefined) return undefined;
    return { source: String(row[0]), scope: String(row[1]), at: Number(row[2]) };
  }
}
