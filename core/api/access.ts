import type { ScopeSelector, VisibleScopes } from '../plugin-api/index.js';
import { PUSHED_SOURCE } from '../scopes/pushed-frames.js';
import type { Identity } from './auth/identity.js';
import type { SourceFacts } from './services.js';

/** Scope id of pushed points that name none: nobody's project. */
export const NO_SCOPE = '__UNDEF__';

/**
 * The one function that decides which scopes a caller may see: admins all, others their own project under the scope key of
 * each source. A caller without project sees nothing.
 */
export function visibleScopes(identity: Identity, sources: readonly SourceFacts[]): VisibleScopes {
  if (identity.isAdmin) return 'all';
  const { projectId } = identity;
  return projectId === undefined || projectId === NO_SCOPE ? [] : scopesOfProject(projectId, sources);
}

/** A project under the scope key of each source. */
export function scopesOfProject(id: string, sources: readonly SourceFacts[]): readonly ScopeSelector[] {
  const keys = new Set(sources.map(({ scopeKey }) => scopeKey));
  return [
    ...sources.map(({ name, scopeKey }) => ({ source: name, key: scopeKey, id })),
    ...[...keys].map((key) => ({ source: PUSHED_SOURCE, key, id })),
  ];
}
