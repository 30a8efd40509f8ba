import type { LifecycleStack } from '../daemon/lifecycle.js';
import type { Scope } from '../plugin-api/index.js';
import type { Pipeline } from '../processing/pipeline.js';
import { checkScopes } from '../processing/plugin-answers.js';
import type { ScopeState } from '../scopes/scope-states.js';
import type { Examination, Say } from './examination.js';
import { isAsked } from './own-data.js';

export interface ScopesParts {
  readonly where: string | undefined;
  readonly pipeline: Pipeline | undefined;
  /** What the database knows of this source; undefined when it cannot say. */
  readonly known: readonly ScopeState[] | undefined;
  readonly stack: LifecycleStack;
}

/** Asks the fetcher which scopes there are, and compares them with those that the database knows. */
export async function lookAtScopes(
  examination: Examination,
  { where, pipeline, known, stack }: ScopesParts,
): Promise<readonly Scope[] | undefined> {
  return examination.look(
    { area: 'scopes', what: 'the scopes', where, needs: { pipeline } },
    async (got, say, signal) => {
      const { fetcher, fetcherName, source } = got.pipeline;
      if (!isAsked('fetcher', fetcherName)) return ofDatabase(fetcherName, known, say);
      await stack.start(`fetcher plugin '${fetcherName}' of ${source}`, fetcher, signal);
      const listed = checkScopes(fetcherName, await fetcher.fetchScopes(signal));
      const scopes = listed.map((scope) =>
        scope.key === '' ? { ...scope, key: got.pipeline.scopeKey } : scope,
      );
      if (scopes.length === 0) {
        say.fail('no-scopes', `the fetcher '${fetcherName}' answers, and lists no scope: nothing is rated`, {
          fix: "Check the fetcher's options: what they choose by (role, label, filter) must be given to at least one scope.",
        });
        return undefined;
      }
      say.ok('scopes-listed', `${scopes.length} scope${scopes.length === 1 ? '' : 's'}: ${someOf(scopes)}`);
      compareKeys(scopes, got.pipeline, say);
      if (known !== undefined) compareKnown(scopes, known, got.pipeline, say);
      return scopes;
    },
  );
}

function ofDatabase(
  fetcher: string,
  known: readonly ScopeState[] | undefined,
  say: Say,
): readonly Scope[] | undefined {
  say.skip('fetcher-not-asked', `the fetcher '${fetcher}' is not asked: it would prepare its folder`);
  const scopes = (known ?? []).filter(({ condition }) => condition !== 'gone').map(({ scope }) => scope);
  if (scopes.length === 0) return undefined;
  say.ok('scopes-known', `${scopes.length} in the database: ${someOf(scopes)}`);
  return scopes;
}

function compareKeys(scopes: readonly Scope[], { scopeKey }: Pipeline, say: Say): void {
  const other = scopes.find(({ key }) => key !== scopeKey);
  if (other === undefined) return;
  say.warn(
    'scope-key-differs',
    `the fetcher calls the scope '${other.id}' by '${other.key}', not by collect.scope_key '${scopeKey}'`,
    {
      fix: 'Use one attribute in both: the collector is asked for the scope by the key of the fetcher.',
    },
  );
}

function compareKnown(
  scopes: readonly Scope[],
  known: readonly ScopeState[],
  { settings: { maxShrink } }: Pipeline,
  say: Say,
): void {
  const listed = new Set(scopes.map(({ id }) => id));
  const present = known.filter(({ active, condition, missingSince }) => {
    return active && condition !== 'gone' && missingSince === undefined;
  });
  const vanished = present.filter(({ scope }) => !listed.has(scope.id)).map(({ scope }) => scope);
  if (vanished.length === 0) return;
  const held = vanished.length > present.length * maxShrink;
  const what = `${vanished.length} of ${present.length} known scopes are no longer listed: ${someOf(vanished)}`;
  say.warn(
    'scopes-vanished',
    held
      ? `${what}; that is more than processor.scope_list_max_shrink, so the processor does not believe it`
      : what,
    {
      fix: held
        ? 'Check the source of the fetcher. If they are really gone, raise processor.scope_list_max_shrink for one turn.'
        : 'If they should be rated, check what the fetcher chooses by (role, label, filter).',
    },
  );
}

const SHOWN = 3;

export function someOf(scopes: readonly Scope[]): string {
  const names = scopes
    .slice(0, SHOWN)
    .map(({ id, name }) => (name === undefined || name === id ? id : `${id} (${name})`));
  const more = scopes.length - names.length;
  return more > 0 ? `${names.join(', ')} and ${more} more` : names.join(', ');
}
