import type { ScopeSelector, VisibleScopes } from '../../../core/plugin-api/index.js';
import { ownTag, scopeTag } from '../../shared/outside-storage/owner.js';
import { anyOf, equals, SCOPE_TAG, SOURCE_TAG } from './layout.js';

/** Longer lists are not sent to InfluxDB: it would compare every series with every one of them. */
export const MAX_CONDITIONS = 50;

/** Narrows a query to a short list of scopes; with a long one the rows are looked through with `ownerTest`. */
export function visibleConditions(visible: VisibleScopes): readonly string[] {
  if (visible === 'all' || visible.length === 0 || visible.length > MAX_CONDITIONS) return [];
  return [anyOf(visible.map(selectorCondition))];
}

export function selectorCondition({ source, key, id }: ScopeSelector): string {
  const scope = equals(SCOPE_TAG, scopeTag({ key, id }));
  return source === undefined ? scope : `${equals(SOURCE_TAG, ownTag(source))} AND ${scope}`;
}
