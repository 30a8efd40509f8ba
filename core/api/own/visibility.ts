import type { Scope, ScopeSelector, VisibleScopes } from '../../plugin-api/index.js';
import { visibleScopes } from '../access.js';
import type { Identity } from '../auth/identity.js';
import type { ApiServices } from '../services.js';

/** Of what a caller may see, the scopes with these ids; all of it without ids. */
export function chosenScopes(
  identity: Identity,
  { sources }: Pick<ApiServices, 'sources'>,
  ids: readonly string[] | undefined,
): VisibleScopes {
  const visible = visibleScopes(identity, sources);
  if (ids === undefined) return visible;
  if (visible !== 'all') return visible.filter(({ id }) => ids.includes(id));
  const keys = [...new Set(sources.map(({ scopeKey }) => scopeKey))];
  return ids.flatMap((id) => keys.map((key): ScopeSelector => ({ key, id })));
}

export function isVisible(
  visible: VisibleScopes,
  { source, scope }: { readonly source: string; readonly scope: Scope },
): boolean {
  if (visible === 'all') return true;
  return visible.some(
    ({ source: from, key, id }) =>
      id === scope.id && key === scope.key && (from === undefined || from === source),
  );
}
