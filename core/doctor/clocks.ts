import type { Services } from '../daemon/composition-root.js';
import type { Clock, Instant, SqlDatabase } from '../plugin-api/index.js';
import { isoTime } from '../scopes/iso-time.js';
import { optionWords } from '../setup/shell-command.js';
import type { Configured } from './configuration.js';
import type { Examination, Say } from './examination.js';

/** Two clocks this close count as equal. */
const TOLERANCE_SECONDS = 60;
/** From here on the processor doubts its clock and waits. */
const DOUBT_SECONDS = 600;
/** No release is older. */
const IMPLAUSIBLE_BEFORE = Date.UTC(2025, 0, 1) / 1000;

const SET_CLOCK =
  "Set the clock of this machine (see 'timedatectl status'), and keep it right with a time service.";

/** The machine's clock against that of the database server and against what is rated already. */
export async function lookAtClocks(
  examination: Examination,
  clock: Clock,
  configured: Configured | undefined,
  {
    database,
    services,
  }: { readonly database: SqlDatabase | undefined; readonly services: Services | undefined },
): Promise<void> {
  await examination.look({ area: 'clock', what: 'the clock of this machine', needs: {} }, async (_, say) => {
    const now = Math.floor(clock.now() / 1000);
    if (now >= IMPLAUSIBLE_BEFORE) {
      say.ok('clock-plausible', `this machine says ${isoTime(now)}`);
      return;
    }
    say.fail('clock-implausible', `this machine says ${isoTime(now)}`, {
      fix: SET_CLOCK,
      kind: 'unavailable',
    });
  });
  await examination.look(
    { area: 'clock', what: 'the clock of the database server', needs: { database } },
    async (got, say) => {
      const server = await serverTime(got.database);
      if (server !== undefined) compareServer(Math.floor(clock.now() / 1000) - server, say);
    },
  );
  await examination.look(
    { area: 'clock', what: 'the newest rated period', needs: { config: configured, services } },
    async (got, say) => {
      const newest = await newestRated(got.services.database, got.config.config.compat);
      if (newest === undefined) return;
      const server = await serverTime(got.services.database);
      compareNewest(newest, Math.floor(clock.now() / 1000), server, say);
    },
  );
}

/** Undefined where the database has no clock of its own. */
async function serverTime(database: SqlDatabase): Promise<Instant | undefined> {
  if (database.dialect.engine !== 'mysql') return undefined;
  const rows = await database.query('SELECT UNIX_TIMESTAMP()');
  return Number(rows[0]?.[0]);
}

function compareServer(ahead: number, say: Say): void {
  const apart = Math.abs(ahead);
  if (apart <= TOLERANCE_SECONDS) {
    say.ok('clock-agrees', `the clocks of this machine and of the database server agree (${apart} s apart)`);
    return;
  }
  const what = `the clock of this machine is ${apart} s ${ahead > 0 ? 'ahead of' : 'behind'} that of the database server`;
  const fix = 'Set the clock that is wrong, and keep both right with a time service.';
  if (apart <= DOUBT_SECONDS) {
    say.warn('clock-differs', what, { fix });
    return;
  }
  say.fail('clock-differs', what, { fix, kind: 'unavailable' });
}

interface Newest {
  readonly source: string;
  readonly scope: string;
  readonly at: Instant;
}

/** By the rule of the processor: only scopes for which a period was written. */
async function newestRated(database: SqlDatabase, compat: 'strict' | 'fixed'): Promise<Newest | undefined> {
  const at = compat === 'strict' ? 'last_begin' : 'watermark';
  const [row] = await database.query(
    `SELECT source, scope_id, ${at} FROM ratecat_scopes WHERE commit_id IS NOT NULL AND ${at} IS NOT NULL
     ORDER BY ${at} DESC LIMIT 1`,
  );
  return row === undefined
    ? undefined
    : { source: String(row[0]), scope: String(row[1]), at: Number(row[2]) };
}

function compareNewest(newest: Newest, now: Instant, server: Instant | undefined, say: Say): void {
  const { at, scope, source } = newest;
  if (at <= now) {
    say.ok(
      'clock-after-rated',
      `the newest rated period ended at ${isoTime(at)}, before this machine's time`,
    );
    return;
  }
  const where = `scope '${scope}' of ${source}`;
  const isSure = server !== undefined && Math.abs(server - now) <= DOUBT_SECONDS;
  const what = `rated up to ${isoTime(at)}, which is after this machine's time ${isoTime(now)}${isSure ? " and the database server's" : ''}`;
  const reset = `ratecat scopes reset ${optionWords('scope', scope).join(' ')} --to ${isoTime(now - (now % 86_400))}`;
  say.fail('rated-beyond-clock', what, {
    where,
    fix: isSure
      ? `The scope waits until then. To rate it again from an earlier time: ${reset} --reason 'clock was ahead'`
      : `${SET_CLOCK} If it is right, the clock was ahead when the scope was rated: ${reset} --reason 'clock was ahead'`,
    kind: 'unavailable',
  });
}
