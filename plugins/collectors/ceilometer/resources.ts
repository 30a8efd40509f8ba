import type { AttributeValue } from '../../../core/plugin-api/index.js';
import { malformed } from '../../../core/upstream/index.js';
import { isObject, propertyOf } from '../../shared/exact-json.js';
import type { CeilometerClient, Condition, Row } from './client.js';

/** What Ceilometer knows about a resource at some time. */
export interface Resource {
  readonly id: string;
  readonly projectId: AttributeValue;
  readonly userId: AttributeValue;
  /** Flat; Ceilometer makes text of every value. */
  readonly metadata: Row;
}

/** The resource of a row: of a resource's own, or of a sample's, whose metadata has another name. */
export function readResource(
  call: string,
  row: Row,
  metadataName: 'metadata' | 'resource_metadata',
): Resource {
  const id = propertyOf(row, 'resource_id');
  if (typeof id !== 'string' || id === '') throw malformed(call, 'has a row without a resource_id');
  const metadata = propertyOf(row, metadataName) ?? {};
  if (!isObject(metadata)) throw malformed(call, `has a row whose ${metadataName} is no object`);
  return { id, projectId: owner(call, row, 'project_id'), userId: owner(call, row, 'user_id'), metadata };
}

function owner(call: string, row: Row, name: string): string | null {
  const value = propertyOf(row, name) ?? null;
  if (value !== null && typeof value !== 'string')
    throw malformed(call, `has a row whose ${name} is no text`);
  return value;
}

/** The newest state of a resource, whatever the period; undefined when Ceilometer knows none of that id. */
export async function newestState(
  client: CeilometerClient,
  id: string,
  signal: AbortSignal,
): Promise<Resource | undefined> {
  const answer = await client.find({ path: ['resources', id], conditions: [] }, signal);
  if (answer === undefined) return undefined;
  if (!isObject(answer.body)) throw malformed(answer.call, 'is no object');
  const resource = readResource(answer.call, answer.body, 'metadata');
  if (resource.id !== id) throw malformed(answer.call, 'is about another resource');
  return resource;
}

/**
 * Every resource with a sample in the period, as its newest sample of the period describes it. The list cannot be paged: it
 * is asked for again with a higher limit until it is shorter than the limit.
 */
export async function statesInPeriod(
  client: CeilometerClient,
  conditions: readonly Condition[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Resource>> {
  for (let limit = client.pageSize; ; limit *= 4) {
    const { call, rows } = await client.list(
      {
        path: ['resources'],
        conditions,
        parameters: [
          ['limit', String(limit)],
          ['meter_links', '0'],
        ],
      },
      signal,
    );
    if (rows.length === limit) continue;
    const resources = rows.map((row) => readResource(call, row, 'metadata'));
    return new Map(resources.map((resource) => [resource.id, resource]));
  }
}
