import {
  compareText,
  type Instant,
  type Scope,
  type ScopeSelector,
  type VisibleScopes,
} from '../../../core/plugin-api/index.js';

/** A scope of a source. */
export interface Owner {
  readonly source: string;
  readonly scope: Scope;
}

const UNSAFE = /[\p{Cc}\p{Cs}%\\|]/gu;

/**
 * Reversible text that is never empty and has no `|` of its own: control characters, halves of characters, `%`, `|` and `\`
 * become `%` and four hexadecimal digits; the empty text is a single `%`.
 */
export function ownTag(text: string): string {
  if (text === '') return '%';
  return text.replace(UNSAFE, (unit) => `%${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

export function fromOwnTag(tag: string): string {
  if (tag === '%') return '';
  return tag.replace(/%([0-9a-f]{4})/g, (_all, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  );
}

export function scopeTag({ key, id }: Pick<Scope, 'key' | 'id'>): string {
  return `${ownTag(key)}|${ownTag(id)}`;
}

/** Equal for equal sources and scopes. */
export function ownerKey({ source, scope }: Owner): string {
  return `${ownTag(source)}|${scopeTag(scope)}`;
}

export type OwnerTest = (owner: Owner) => boolean;

/** Whether a scope of a source is among the visible ones. */
export function ownerTest(visible: VisibleScopes): OwnerTest {
  if (visible === 'all') return () => true;
  const inAnySource = new Set<string>();
  const inOneSource = new Set<string>();
  for (const selector of visible) {
    if (selector.source === undefined) inAnySource.add(scopeTag(selector));
    else inOneSource.add(selectorKey(selector, selector.source));
  }
  return ({ source, scope }) => {
    const tag = scopeTag(scope);
    return inAnySource.has(tag) || inOneSource.has(`${ownTag(source)}|${tag}`);
  };
}

function selectorKey(selector: ScopeSelector, source: string): string {
  return `${ownTag(source)}|${scopeTag(selector)}`;
}

/** Order of periods in every answer. */
export function comparePeriods(
  left: Owner & { readonly begin: Instant },
  right: Owner & { readonly begin: Instant },
): number {
  return (
    left.begin - right.begin ||
    compareText(left.source, right.source) ||
    compareText(left.scope.key, right.scope.key) ||
    compareText(left.scope.id, right.scope.id)
  );
}
