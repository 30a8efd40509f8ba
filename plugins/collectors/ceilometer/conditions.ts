import { type Instant, type Period, RejectedError, type Scope } from '../../../core/plugin-api/index.js';
import type { Condition } from './client.js';

/** How Ceilometer calls what scopes can be identified by, in queries and in groups. */
const OWNERS: ReadonlyMap<string, OwnerField> = new Map<string, OwnerField>([
  ['project_id', { field: 'project', group: 'project_id' }],
  ['tenant_id', { field: 'project', group: 'project_id' }],
  ['user_id', { field: 'user', group: 'user_id' }],
]);

interface OwnerField {
  readonly field: string;
  readonly group: 'project_id' | 'user_id';
}

export const SCOPE_KEYS: readonly string[] = [...OWNERS.keys()];

/** The scope as a condition, and the name of its column in groups. */
export interface Owner {
  readonly condition: Condition;
  readonly group: 'project_id' | 'user_id';
}

/** @throws RejectedError RATECAT_SCOPE_NOT_MEASURABLE when a query for the scope would ask for everybody's data. */
export function ownerOf(scope: Scope): Owner {
  const owner = OWNERS.get(scope.key);
  // Ceilometer ignores a condition without a value, and then the answer holds every project.
  if (owner === undefined || scope.id === '') {
    throw new RejectedError(
      'RATECAT_SCOPE_NOT_MEASURABLE',
      `Ceilometer cannot be asked for ${scope.key} '${scope.id}'. Scopes need an id, and the pipeline's scope_key must be one of ${SCOPE_KEYS.join(', ')}.`,
    );
  }
  return { condition: { field: owner.field, op: 'eq', value: scope.id }, group: owner.group };
}

/** Begin inclusive, end exclusive: a sample on the hour belongs to the hour that begins. */
export function within({ begin, end }: Period, owner: Owner): readonly Condition[] {
  return [since(begin), owner.condition, { field: 'timestamp', op: 'lt', value: utc(end) }];
}

/** Both ends inclusive, as the reference asks: a sample on the hour counts in two hours. */
export function withinAndAtEnd({ begin, end }: Period, owner: Owner): readonly Condition[] {
  return [since(begin), owner.condition, { field: 'timestamp', op: 'le', value: utc(end) }];
}

function since(begin: Instant): Condition {
  return { field: 'timestamp', op: 'ge', value: utc(begin) };
}

/** `2017-03-01T00:00:00Z`. Ceilometer drops an offset instead of applying it, so all times are sent as UTC. */
export function utc(instant: Instant): string {
  return `${new Date(instant * 1000).toISOString().slice(0, 19)}Z`;
}
