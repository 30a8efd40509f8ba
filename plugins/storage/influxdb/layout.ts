import { fromOwnTag, type Owner, ownTag, scopeTag } from '../../shared/outside-storage/owner.js';
import type { Cell } from './client.js';
import { damaged } from './damaged.js';
import { identifier, literal } from './wire-text.js';

/** CloudKitty's measurement; Ratecat's points are in it too. */
export const POINTS = 'dataframes';
/** One point per (source, scope, period): what is valid there. */
export const MARKERS = 'ratecat_periods';

/** Tags of Ratecat on the points of both measurements. */
export const SOURCE_TAG = 'ratecat_source';
export const SCOPE_TAG = 'ratecat_scope';
/** Keeps a new version of a period apart from the valid one. Absent for the first take. */
export const TAKE_TAG = 'ratecat_take';
/** Keeps points apart that would be one series for CloudKitty: absent for the first, then 1, 2, … */
export const TWIN_TAG = 'ratecat_twin';
/** Fields of Ratecat. */
export const POINT_FIELD = 'ratecat_point';
export const STATE_FIELD = 'state';

/** Fields of CloudKitty that no attribute may be called after. */
export const REFERENCE_FIELDS: ReadonlySet<string> = new Set([
  'qty',
  'price',
  'unit',
  'description',
  'groupby',
  'metadata',
  '__ck_collect_period',
]);

export function ownerOf(source: Cell, scope: Cell): Owner {
  const parts = typeof scope === 'string' ? scope.split('|') : [];
  if (typeof source !== 'string' || parts.length !== 2)
    throw damaged(`a point has the tags ${JSON.stringify([source, scope])}`);
  return { source: fromOwnTag(source), scope: { key: fromOwnTag(parts[0]!), id: fromOwnTag(parts[1]!) } };
}

/** `"name"='text'` */
export function equals(name: string, text: string): string {
  return `${identifier(name)}=${literal(text)}`;
}

export function ownerCondition({ source, scope }: Owner): string {
  return `${equals(SOURCE_TAG, ownTag(source))} AND ${equals(SCOPE_TAG, scopeTag(scope))}`;
}

/** Conditions joined with OR, in brackets. */
export function anyOf(conditions: readonly string[]): string {
  return `(${conditions.map((condition) => `(${condition})`).join(' OR ')})`;
}
