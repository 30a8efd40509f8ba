import type { AttributeValue } from '../../../core/plugin-api/index.js';
import { propertyOf } from '../../shared/exact-json.js';
import type { Row } from './client.js';
import { type CeilometerRequest, type MeterPlan, RESOURCE_ID } from './metric-options.js';
import type { Resource } from './resources.js';

const USER_METADATA = 'user_metadata.';

/** True when an attribute of the metric cannot be told without the resource itself. */
export function needsResource({ metric, scope }: CeilometerRequest, plan: MeterPlan): boolean {
  const told = [scope.key, plan.resourceKey, RESOURCE_ID];
  return [...metric.groupby, ...metric.metadata].some((name) => !told.includes(name));
}

/** The value of an attribute; null when neither the resource nor its metadata has it. */
export function attributeOf(
  name: string,
  request: CeilometerRequest,
  plan: MeterPlan,
  resourceId: string,
  resource: Resource | undefined,
): AttributeValue {
  if (name === request.scope.key) return request.scope.id;
  if (name === plan.resourceKey || name === RESOURCE_ID) return resourceId;
  if (resource === undefined) return null;
  if (name === 'project_id') return resource.projectId;
  if (name === 'user_id') return resource.userId;
  if (name === plan.userMetadata) return userMetadata(resource.metadata);
  const fields = Object.hasOwn(plan.attributes, name) ? plan.attributes[name]! : [name];
  return firstOf(resource.metadata, fields);
}

function firstOf(metadata: Row, fields: readonly string[]): AttributeValue {
  for (const field of fields) {
    const value = propertyOf(metadata, field) as AttributeValue | undefined;
    if (value !== undefined && value !== null) return value;
  }
  return null;
}

/** What the instance's owner wrote, without the prefix. */
function userMetadata(metadata: Row): AttributeValue {
  const own = Object.entries(metadata).filter(([name]) => name.startsWith(USER_METADATA));
  return Object.fromEntries(own.map(([name, value]) => [name.slice(USER_METADATA.length), value])) as Record<
    string,
    AttributeValue
  >;
}
