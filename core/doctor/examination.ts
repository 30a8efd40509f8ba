import type { Clock } from '../plugin-api/index.js';
import { withTimeLimit } from '../processing/time-limit.js';
import { findingsOfError } from './error-findings.js';
import type { Area, Details, Finding } from './finding.js';

/** Longest time for a check that says nothing else. */
const DEFAULT_LIMIT_MS = 30_000;

export interface ExaminationParts {
  readonly clock: Clock;
  /** Ends the examination early. */
  readonly signal: AbortSignal;
  /** Hears each finding at once. */
  readonly onFinding?: ((finding: Finding) => void) | undefined;
}

/** What earlier checks found out; undefined where they could not. */
export type Needs = Readonly<Record<string, unknown>>;
type Present<N extends Needs> = { readonly [name in keyof N]: Exclude<N[name], undefined> };

export interface CheckOptions<N extends Needs> {
  readonly area: Area;
  /** What is looked at, for people: `the privileges`. */
  readonly what: string;
  /** Which pipeline or scope, when there may be several. */
  readonly where?: string | undefined;
  /** What the check builds upon: without any of it the check is not made, and says so. */
  readonly needs: N;
  readonly limitMs?: number | undefined;
}

/** How a check reports. */
export class Say {
  readonly #area: Area;
  readonly #where: string | undefined;
  readonly #add: (finding: Finding) => void;

  constructor(area: Area, where: string | undefined, add: (finding: Finding) => void) {
    this.#area = area;
    this.#where = where;
    this.#add = add;
  }

  ok(id: string, what: string, details: Details = {}): void {
    this.#say('ok', id, what, details);
  }

  warn(id: string, what: string, details: Details & { readonly fix: string }): void {
    this.#say('warn', id, what, details);
  }

  fail(id: string, what: string, details: Details & { readonly fix: string }): void {
    this.#say('fail', id, what, { kind: 'data', ...details });
  }

  skip(id: string, what: string, details: Details = {}): void {
    this.#say('skipped', id, what, details);
  }

  /** A failure that an error explains. */
  error(error: unknown, details: Details = {}): void {
    for (const finding of findingsOfError(this.#area, error, { where: this.#where, ...details }))
      this.#add(finding);
  }

  finding(finding: Finding): void {
    this.#add(finding);
  }

  #say(level: Finding['level'], id: string, what: string, details: Details): void {
    this.#add({ area: this.#area, level, id, what, where: this.#where, ...details });
  }
}

/** What a missing need means, for the reader of "not looked at, because …". */
const MISSING: Readonly<Record<string, string>> = {
  config: 'the configuration cannot be used',
  pipeline: 'its pipeline cannot be built',
  database: 'the database cannot be used',
  schema: 'the tables are not prepared',
  services: 'the database cannot be used',
  login: 'nobody could log in to Keystone',
  scopes: 'no scope is known',
  collector: 'the collector cannot be asked',
  points: 'there are no points to look at',
  rating: 'the rating modules cannot be used',
};

/** Makes the checks one after the other, each within its time, and keeps what they found. */
export class Examination {
  readonly #parts: ExaminationParts;
  readonly findings: Finding[] = [];

  constructor(parts: ExaminationParts) {
    this.#parts = parts;
  }

  /**
   * Makes one check. Gives what it found out for those that build upon it; undefined when it could not be made, threw, ran
   * out of time, or gave nothing.
   */
  async look<N extends Needs, T>(
    { area, what, where, needs, limitMs = DEFAULT_LIMIT_MS }: CheckOptions<N>,
    check: (got: Present<N>, say: Say, signal: AbortSignal) => Promise<T | undefined>,
  ): Promise<T | undefined> {
    let isOver = false;
    const say = new Say(area, where, (finding) => {
      // What a check that ran out of time still says afterwards would stand among the findings of another.
      if (!isOver) this.#add(finding);
    });
    const missing = Object.keys(needs).find((name) => needs[name] === undefined);
    if (missing !== undefined) {
      say.skip(
        'not-looked-at',
        `${what}: not looked at, because ${MISSING[missing] ?? `${missing} is missing`}`,
      );
      return undefined;
    }
    const { clock, signal } = this.#parts;
    try {
      return await withTimeLimit(`The check of ${what}`, limitMs, clock, signal, (limited) =>
        check(needs as Present<N>, say, limited),
      );
    } catch (error) {
      signal.throwIfAborted();
      say.error(error);
      return undefined;
    } finally {
      isOver = true;
    }
  }

  #add(finding: Finding): void {
    this.findings.push(finding);
    this.#parts.onFinding?.(finding);
  }
}
