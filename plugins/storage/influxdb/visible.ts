import type { ScopeSelector, VisibleScopes } from '../../../core/plugin-api/index.js';
import { anyOf, equals, type Owner, SCOPE_TAG, SOURCE_TAG, scopeTag } from './layout.js';
import { ownTag } from './wire-text.js';

/** Longer lists are not sent to InfluxDB: it would compare every series with every one of them. */
export const MAX_CONDITIONS = 50;

export type OwnerTest = (owner: Owner) => boolean;

export function ownerTest(visible: VisibleScopes): OwnerTest {
  if (visible === 'all') return () => true;
  const inAnySource = new Set<string>();
  const inOneSource = new Set<string>();
  for (const selector of visible) {
    if (selector.source === undefined) inAnySource.add(scopeTag(selector));
    else inOneSource.add(`${ownTag(selector.source)}|${scopeTag(selector)}`);
  }
  return ({ source, scope }) => {
    const tag = scopeTag(scope);
    return inAnySource.has(tag) || inOneSource.has(`${ownTag(source)}|${tag}`);
  };
}

/** Narrows a query to a short list of scopes; with a long one the rows are looked through with `ownerTest`. */
export function visibleConditions(visible: VisibleScopes): readonly string[] {
  if (visible === 'all' || visible.length === 0 || visible.length > MAX_CONDITIONS) return [];
  return [anyOf(visible.map(selectorCondition))];
}

export function selectorCondition({ source, key, id }: ScopeSelector): string {
  const scope = equals(SCOPE_TAG, scopeTag({ key, id }));
  return source === undefined ? scope : `${equals(SOURCE_TAG, ownTag(source))} AND ${scope}`;
}
