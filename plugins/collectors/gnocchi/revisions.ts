import { Decimal } from '../../../core/plugin-api/index.js';
import { propertyOf } from '../../shared/exact-json.js';
import { type Group, keyOf } from './aggregates-answer.js';
import type { Measure } from './measures.js';

function byRevision(left: Group, right: Group): number {
  return order(left, right, 'id') || order(left, right, 'revision_start');
}

function order(left: Group, right: Group, name: string): number {
  const a = keyOf(propertyOf(left.attributes, name));
  const b = keyOf(propertyOf(right.attributes, name));
  return a < b ? -1 : a > b ? 1 : 0;
}

function revisionsById(groups: readonly Group[]): ReadonlyMap<string, readonly Group[]> {
  const byId = new Map<string, Group[]>();
  for (const group of [...groups].sort(byRevision)) {
    const id = keyOf(propertyOf(group.attributes, 'id'));
    const revisions = byId.get(id);
    if (revisions === undefined) byId.set(id, [group]);
    else revisions.push(group);
  }
  return byId;
}

/** The newest attributes with the measures of all revisions; what two revisions have at the same time is added up. */
export function newestRevisions(groups: readonly Group[]): Group[] {
  return [...revisionsById(groups).values()].map((revisions) => {
    const measures = new Map<string, Measure>();
    for (const measure of revisions.flatMap((revision) => revision.measures)) {
      const key = `${measure.begin}/${measure.seconds}`;
      const other = measures.get(key);
      const value = other === undefined ? measure.value : other.value.plus(measure.value);
      measures.set(key, { ...measure, value });
    }
    return { attributes: revisions.at(-1)!.attributes, measures: [...measures.values()] };
  });
}

/** As the reference adds: binary floats, and only revisions with exactly one measure. */
export function newestRevisionsAsTheReference(groups: readonly Group[]): Group[] {
  return [...revisionsById(groups).values()].map((revisions) => {
    const { attributes, measures } = revisions.at(-1)!;
    const [first] = measures;
    // The reference fails here; an older revision's measures would be lost for ever.
    if (first === undefined)
      return revisions.findLast((revision) => revision.measures.length > 0) ?? revisions[0]!;
    const sum = groups
      .filter((group) => revisions.includes(group) && group.measures.length === 1)
      .reduce((total, group) => total + Number(group.measures[0]!.value.toString()), 0);
    return { attributes, measures: [{ ...first, value: Decimal.parse(String(sum)) }] };
  });
}
