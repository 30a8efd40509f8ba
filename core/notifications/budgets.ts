import { createHash, randomUUID } from 'node:crypto';
import type { BudgetConfig } from '../config/config.js';
import {
  type Calendar,
  type Clock,
  Decimal,
  describeError,
  divideRounded,
  type Instant,
  type Logger,
  type Period,
  type Scope,
  type SqlDatabase,
  type Storage,
} from '../plugin-api/index.js';
import { budgetReached, instantText } from './events.js';
import type { Outbox } from './outbox.js';

export interface BudgetParts {
  readonly budgets: readonly BudgetConfig[];
  readonly storage: Storage;
  readonly database: SqlDatabase;
  readonly outbox: Outbox;
  readonly calendar: Calendar;
  readonly clock: Pick<Clock, 'now'>;
  readonly logger: Logger;
}

/** A period that was just written, of whom and through which pipeline. */
export interface CommittedPeriod {
  readonly source: string;
  readonly scope: Scope;
  readonly period: Period;
}

/** A budget in one of its months or days, for one scope. */
interface Account {
  readonly budget: BudgetConfig;
  readonly source: string;
  readonly scope: Scope;
  readonly slice: Period;
  readonly ratedUpTo: Instant;
}

interface Alert {
  readonly identity: string;
  readonly kind: 'threshold' | 'forecast';
  readonly threshold: Decimal | undefined;
}

const DAY = 86_400;
/** What was said is remembered for so long after the end of a month or day; older ones are not judged any more. */
const REMEMBERED_SECONDS = 400 * DAY;
/** A forecast from less of a month or day than this says more about chance than about the rate. */
const LEAST_FORECAST_SHARE = 10n;
const HUNDRED = Decimal.of(100n, 0);
/** Places of a projected price. */
const PROJECTED_PLACES = 10;
/** Alerts known to have been given, over all scopes. */
const MOST_KNOWN = 100_000;

/**
 * Watches what scopes spend. After a period is written, the sum of its month or day is read from the storage's roll-ups and
 * compared with the budgets of the scope. That an alert was given is a row with a unique key, written together with the
 * event, so each is given once per month or day: after restarts, by several processors, and when periods are rated again.
 */
export class Budgets {
  readonly #parts: BudgetParts;
  /** Scopes that were judged since this process started. */
  readonly #seen = new Set<string>();
  /** Periods whose judgement failed; they are due with the next one of their scope. */
  readonly #owed = new Map<string, Map<string, CommittedPeriod>>();
  readonly #given = new Set<string>();
  #forgottenAt = Number.NEGATIVE_INFINITY;

  constructor(parts: BudgetParts) {
    this.#parts = parts;
  }

  /** Never throws: the period is written, whatever becomes of its budget. */
  async afterCommit(committed: CommittedPeriod, signal: AbortSignal): Promise<void> {
    const { source, scope, period } = committed;
    const budgets = this.#parts.budgets.filter((budget) => matches(budget, scope));
    if (budgets.length === 0) return;
    const key = JSON.stringify([source, scope.key, scope.id]);
    const owed = this.#owed.get(key) ?? new Map<string, CommittedPeriod>();
    // A process that ended between a period and its judgement owes it. It may have been the last one of its month.
    if (!this.#seen.has(key)) {
      const before = { begin: period.begin - 1, end: period.begin };
      this.#owe(owed, budgets, { ...committed, period: before });
    }
    this.#owe(owed, budgets, committed);
    this.#owed.set(key, owed);
    this.#seen.add(key);
    for (const [slices, due] of owed) {
      try {
        for (const budget of budgets) await this.#judge(this.#account(budget, due), signal);
        owed.delete(slices);
      } catch (error) {
        if (signal.aborted) return;
        this.#parts.logger.warn('a budget could not be judged yet', {
          source,
          scope: scope.id,
          error: describeError(error),
        });
      }
    }
    if (owed.size === 0) this.#owed.delete(key);
  }

  /** Of one month and day the newest period is enough: sums are of all of them. */
  #owe(owed: Map<string, CommittedPeriod>, budgets: readonly BudgetConfig[], due: CommittedPeriod): void {
    const slices = JSON.stringify(budgets.map((budget) => this.#account(budget, due).slice.begin));
    const known = owed.get(slices);
    if (known === undefined || known.period.end <= due.period.end) owed.set(slices, due);
  }

  #account(budget: BudgetConfig, { source, scope, period }: CommittedPeriod): Account {
    const slice = this.#parts.calendar.slice(period.begin, budget.period);
    return { budget, source, scope, slice, ratedUpTo: period.end };
  }

  async #judge(account: Account, signal: AbortSignal): Promise<void> {
    const { storage, clock } = this.#parts;
    const { budget, scope, slice } = account;
    const now = Math.floor(clock.now() / 1000);
    if (slice.end < now - REMEMBERED_SECONDS) return;
    await this.#forget(now);
    const open = alertsOf(account).filter(({ identity }) => !this.#given.has(identity));
    if (open.length === 0) return;
    const { rows } = await storage.total(
      { visible: [{ key: scope.key, id: scope.id }], begin: slice.begin, end: slice.end, groupby: [] },
      signal,
    );
    const spent = rows[0]?.price ?? Decimal.ZERO;
    for (const alert of open) {
      const projected = alert.kind === 'forecast' ? projectedPrice(account, spent) : undefined;
      const isReached =
        alert.threshold === undefined
          ? projected !== undefined && spent.compare(budget.amount) < 0 && overruns(account, spent)
          : spent.times(HUNDRED).compare(budget.amount.times(alert.threshold)) >= 0;
      if (isReached) await this.#give(account, alert, spent, projected);
    }
  }

  async #give(
    { budget, source, scope, slice, ratedUpTo }: Account,
    { identity, kind, threshold }: Alert,
    spent: Decimal,
    projected: Decimal | undefined,
  ): Promise<void> {
    const { database, outbox, logger } = this.#parts;
    const id = randomUUID();
    const isFirst = await database.transaction(async (tx) => {
      await tx.insertRows({
        table: 'ratecat_budget_alerts',
        columns: ['identity', 'event_id', 'period_end'],
        rows: [[identity, id, slice.end]],
        onConflict: { key: ['identity'] },
      });
      const rows = await tx.query('SELECT event_id FROM ratecat_budget_alerts WHERE identity = ?', [
        identity,
      ]);
      if (rows[0]?.[0] !== id) return false;
      const { name, amount, period: unit } = budget;
      const facts = { id, budget: name, kind, threshold, amount, spent, projected, unit, ratedUpTo };
      await outbox.add(tx, budgetReached(source, scope, { ...facts, ...slice }));
      return true;
    });
    if (this.#given.size >= MOST_KNOWN) this.#given.clear();
    this.#given.add(identity);
    if (!isFirst) return;
    logger.warn(kind === 'forecast' ? 'a budget will be overrun at this rate' : 'a budget is reached', {
      budget: budget.name,
      scope: scope.id,
      ...(threshold === undefined ? {} : { percent: threshold.toString() }),
      spent: spent.toString(),
      amount: budget.amount.toString(),
      ...(projected === undefined ? {} : { projected: projected.toString() }),
      begin: instantText(slice.begin),
      end: instantText(slice.end),
    });
  }

  /** Once a day: what nobody asks for any more. */
  async #forget(now: Instant): Promise<void> {
    if (now - this.#forgottenAt < DAY) return;
    this.#forgottenAt = now;
    await this.#parts.database.transaction((tx) =>
      tx.execute('DELETE FROM ratecat_budget_alerts WHERE period_end < ?', [now - REMEMBERED_SECONDS]),
    );
  }
}

/** Whether a budget is for a scope: `*` stands for any run of characters. */
export function matches({ scope: pattern, scopeKey }: BudgetConfig, { key, id }: Scope): boolean {
  if (scopeKey !== undefined && scopeKey !== key) return false;
  return matchesPattern(pattern.split('*'), id);
}

/** Takes time in proportion to the text, whatever the pattern. */
function matchesPattern(parts: readonly string[], text: string): boolean {
  if (parts.length === 1) return text === parts[0];
  const [first, last] = [parts[0]!, parts.at(-1)!];
  if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last))
    return false;
  let from = first.length;
  const end = text.length - last.length;
  for (const part of parts.slice(1, -1)) {
    const at = text.indexOf(part, from);
    if (at < 0 || at + part.length > end) return false;
    from = at + part.length;
  }
  return true;
}

/** Thresholds in ascending order, then the forecast. A budget whose amount is changed begins anew. */
function alertsOf({ budget, scope, slice }: Account): readonly Alert[] {
  const identityOf = (what: string) =>
    createHash('sha256')
      .update(
        JSON.stringify([
          budget.name,
          budget.amount.toString(),
          budget.period,
          scope.key,
          scope.id,
          slice.begin,
          what,
        ]),
      )
      .digest('hex');
  return [
    ...budget.thresholds.map(
      (threshold): Alert => ({ identity: identityOf(threshold.toString()), kind: 'threshold', threshold }),
    ),
    ...(budget.forecast
      ? [{ identity: identityOf('forecast'), kind: 'forecast', threshold: undefined } as const]
      : []),
  ];
}

/** Rated and whole seconds of a month or day that is still under way, once enough of it is rated. */
function progressOf({
  slice,
  ratedUpTo,
}: Account): { readonly elapsed: bigint; readonly whole: bigint } | undefined {
  const whole = BigInt(slice.end - slice.begin);
  const elapsed = BigInt(ratedUpTo - slice.begin);
  return elapsed * LEAST_FORECAST_SHARE < whole || elapsed >= whole ? undefined : { elapsed, whole };
}

/** Exact: spent / elapsed × whole > amount, without the division. */
function overruns(account: Account, spent: Decimal): boolean {
  const progress = progressOf(account);
  if (progress === undefined) return false;
  const { elapsed, whole } = progress;
  return spent.times(Decimal.of(whole, 0)).compare(account.budget.amount.times(Decimal.of(elapsed, 0))) > 0;
}

/** What the whole month or day costs at the rate so far, rounded. */
function projectedPrice(account: Account, spent: Decimal): Decimal | undefined {
  const progress = progressOf(account);
  if (progress === undefined || spent.compare(Decimal.ZERO) <= 0) return undefined;
  const scaled = spent.toStored().scaled(28) * progress.whole;
  return Decimal.of(divideRounded(scaled, progress.elapsed), -28).quantize(PROJECTED_PLACES);
}
