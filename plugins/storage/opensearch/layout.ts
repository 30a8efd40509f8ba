import { createHash } from 'node:crypto';
import type { Instant, Scope, ScopeSelector, VisibleScopes } from '../../../core/plugin-api/index.js';
import { CALENDAR_TAGS } from '../../shared/outside-storage/calendar-tags.js';
import { type Owner, ownerKey, scopeTag } from '../../shared/outside-storage/owner.js';
import type { Query } from './client.js';

/** Ratecat's own fields are in one object of each document. */
export const OWN_FIELD = 'ratecat';
export const VERSION_FIELD = 'ratecat.version';
export const ORDINAL_FIELD = 'ratecat.ordinal';
export const METRIC_FIELD = 'ratecat.metric';
export const RECORD_FIELD = 'ratecat.record';

/** Characters that surely fit into an indexed keyword, whose limit is 32,766 bytes. */
export const MAX_KEYWORD_CHARACTERS = 8_191;

/** Longer lists are not sent: the documents are looked through here instead. The server's limit is 65,536. */
export const MAX_TERMS = 10_000;

/** Two ways in which CloudKitty's drivers name text in their queries. */
export type Flavour = 'elasticsearch' | 'opensearch';

/** Added to every index of points, also to one that CloudKitty made. */
export const OWN_PROPERTIES = {
  [OWN_FIELD]: {
    type: 'object',
    dynamic: false,
    properties: {
      version: { type: 'keyword' },
      ordinal: { type: 'integer' },
      metric: { type: 'keyword', ignore_above: MAX_KEYWORD_CHARACTERS },
    },
  },
} as const;

/** Mapping of a new index of points: what CloudKitty's driver of that name works with. */
export function pointMappings(flavour: Flavour): unknown {
  const isKeyword = flavour === 'elasticsearch';
  const text = isKeyword
    ? { type: 'keyword' }
    : { type: 'text', fields: { keyword: { type: 'keyword', ignore_above: 256 } } };
  return {
    ...(isKeyword ? { dynamic: false } : {}),
    // A text that looks like a date must not decide what other texts may look like.
    date_detection: false,
    dynamic_templates: [{ strings: { match_mapping_type: 'string', mapping: text } }],
    properties: {
      start: { type: 'date' },
      end: { type: 'date' },
      type: text,
      unit: text,
      qty: { type: 'double' },
      price: { type: 'double' },
      groupby: {
        type: 'object',
        dynamic: true,
        properties: Object.fromEntries(CALENDAR_TAGS.map((name) => [name, text])),
      },
      metadata: { type: 'object', dynamic: true },
      ...OWN_PROPERTIES,
    },
  };
}

/** Mapping of the index of periods. */
export const PERIOD_MAPPINGS = {
  dynamic: false,
  properties: {
    begin: { type: 'long' },
    owner: { type: 'keyword' },
    scope: { type: 'keyword' },
  },
} as const;

/** Of one length for any text, and different for different ones. */
export function hash(text: string): string {
  return createHash('sha256').update(text).digest('base64url');
}

export function ownerHash(owner: Owner): string {
  return hash(ownerKey(owner));
}

export function scopeHash(scope: Pick<Scope, 'key' | 'id'>): string {
  return hash(scopeTag(scope));
}

/** The id of a period's document: one per source, scope and begin. */
export function periodId(owner: Owner, begin: Instant): string {
  return hash(`${ownerKey(owner)}|${begin}`);
}

/** The id of a point's document: a request that is repeated writes the same documents. */
export function pointId(version: string, ordinal: number): string {
  return `${version}-${ordinal}`;
}

export function terms(field: string, values: readonly string[]): Query {
  return { terms: { [field]: values } };
}

export function allOf(filter: readonly Query[]): Query {
  return { bool: { filter } };
}

/** Narrows a search of periods to visible scopes; a long list does not narrow it. */
export function visibleFilters(visible: VisibleScopes): readonly Query[] {
  if (visible === 'all' || visible.length > MAX_TERMS) return [];
  const owners: string[] = [];
  const scopes: string[] = [];
  for (const selector of visible) {
    if (selector.source === undefined) scopes.push(scopeHash(selector));
    else owners.push(ownerHash(ownerOf(selector, selector.source)));
  }
  const should = [
    ...(owners.length > 0 ? [terms('owner', owners)] : []),
    ...(scopes.length > 0 ? [terms('scope', scopes)] : []),
  ];
  return [{ bool: { should, minimum_should_match: 1 } }];
}

function ownerOf({ key, id }: ScopeSelector, source: string): Owner {
  return { source, scope: { key, id } };
}

/** Halves of characters cannot be stored as text. */
export function wellFormed(text: string): string {
  return text.replace(/\p{Cs}/gu, '\ufffd');
}
