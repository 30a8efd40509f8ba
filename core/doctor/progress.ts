import type { Config } from '../config/config.js';
import { humanSeconds } from '../config/human-text.js';
import type { Instant } from '../plugin-api/index.js';
import { type ScopeLag, scopeLag } from '../processing/scope-lag.js';
import { isoTime } from '../scopes/iso-time.js';
import type { ScopeState } from '../scopes/scope-states.js';
import type { Configured } from './configuration.js';
import type { Examination, Say } from './examination.js';

export interface ProgressParts {
  readonly configured: Configured | undefined;
  readonly known: readonly ScopeState[] | undefined;
  readonly now: Instant;
}

/** A processor that keeps up has rated a period before the next but one is due. */
const TOLERATED_PERIODS = 2;
/** Findings of one kind that are shown one by one. */
const SHOWN = 10;

interface LaggingScope {
  readonly state: ScopeState;
  readonly lag: ScopeLag;
}

/** How far each scope is rated, and what holds it up. */
export async function lookAtProgress(
  examination: Examination,
  { configured, known, now }: ProgressParts,
): Promise<void> {
  const needs = { config: configured, services: known };
  await examination.look({ area: 'progress', what: 'the scopes', needs }, async (got, say) => {
    const { config } = got.config;
    const rules = rulesOf(config);
    const scopes = got.services.map((state) => ({
      state,
      lag: scopeLag(state, rules.get(state.source), now),
    }));
    const mine = scopes.filter(({ state }) => rules.has(state.source));
    sayUnconfigured(scopes, rules, say);
    if (mine.length === 0) {
      say.warn('nothing-rated-yet', 'no processor has seen a scope yet', {
        fix: "Start one: 'ratecat up', or 'ratecat processor'.",
      });
      return;
    }
    const stuck = mine.filter(({ state }) => state.condition === 'stuck');
    const behind = mine.filter(
      ({ state, lag }) => state.condition !== 'stuck' && (lag.periods ?? 0) > TOLERATED_PERIODS,
    );
    eachOf(stuck, say, (scope) => sayStuck(scope, say));
    eachOf(behind, say, (scope) => sayBehind(scope, say));
    sayQuiet(mine, say);
    const well = mine.length - stuck.length - behind.length;
    if (well > 0) say.ok('scopes-rated', `${well} of ${mine.length} scopes are up to date, off or gone`);
  });
}

function rulesOf({ pipelines, compat }: Config) {
  return new Map(
    pipelines.map(({ name, collect: { periodSeconds, waitPeriods } }) => [
      name,
      { periodSeconds, waitPeriods, compat },
    ]),
  );
}

function eachOf(scopes: readonly LaggingScope[], say: Say, tell: (scope: LaggingScope) => void): void {
  for (const scope of scopes.slice(0, SHOWN)) tell(scope);
  const more = scopes.length - SHOWN;
  if (more > 0)
    say.warn('more-scopes', `and ${more} more scopes in the same state`, {
      fix: "'ratecat status' lists all of them.",
    });
}

function sayStuck({ state }: LaggingScope, say: Say): void {
  const { reason, failures, watermark } = state;
  const at = watermark === undefined ? 'before its first period' : `at the period ${isoTime(watermark)}`;
  say.fail('scope-stuck', `stuck ${at} after ${failures} failures: ${reason ?? 'no reason was noted'}`, {
    where: whereOf(state),
    fix: 'Mend what the reason names. The processor goes on trying, and catches up by itself.',
  });
}

function sayBehind({ state, lag }: LaggingScope, say: Say): void {
  const why = state.reason === undefined ? '' : `; the last failure: ${state.reason}`;
  say.warn(
    'scope-behind',
    `${lag.periods} due periods are not rated, the oldest for ${humanSeconds(lag.seconds)}${why}`,
    {
      where: whereOf(state),
      fix: 'See whether a processor runs, and what it logs. One that was stopped for long is catching up.',
    },
  );
}

function sayQuiet(mine: readonly LaggingScope[], say: Say): void {
  const off = mine.filter(({ state }) => !state.active);
  if (off.length > 0) say.ok('scopes-off', `${off.length} scopes are switched off and not rated`);
}

/** Scopes of a pipeline that was renamed or removed stop there. */
function sayUnconfigured(
  scopes: readonly LaggingScope[],
  configured: ReadonlyMap<string, unknown>,
  say: Say,
): void {
  const sources = new Map<string, number>();
  for (const { state } of scopes) {
    const { source, active, condition } = state;
    // Frames pushed through the API have a source of their own.
    if (configured.has(source) || source === 'api' || !active || condition === 'gone') continue;
    sources.set(source, (sources.get(source) ?? 0) + 1);
  }
  for (const [source, count] of sources) {
    say.warn(
      'source-not-configured',
      `${count} scopes belong to the pipeline '${source}', which the configuration does not have: they are not rated any more`,
      {
        fix: `Give the pipeline its old name back ('name: ${source}'), or leave it if it was retired.`,
      },
    );
  }
}

export function whereOf({ source, scope }: ScopeState): string {
  return `scope '${scope.id}' of ${source}`;
}
