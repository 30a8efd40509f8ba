import type { Identity } from '../auth/identity.js';
import type { PolicyTarget } from '../auth/policy.js';
import type { ApiRequest, ApiResponse } from '../exchange.js';
import type { ApiServices } from '../services.js';
import { Fault } from './faults.js';

/** Answers one method of an address. `parameter` is the last part of the path, decoded, where the pattern has one. */
export type Handler = (request: ApiRequest, parameter: string) => Promise<ApiResponse>;

export interface Endpoint {
  /** `/v2/rating/modules/:id`; a parameter can only come last. */
  readonly pattern: string;
  readonly methods: Readonly<Record<string, Handler>>;
}

/** @throws Fault 403 */
export function authorize(
  { policy }: ApiServices,
  rule: string,
  identity: Identity,
  target: PolicyTarget = {},
): void {
  if (!policy.allows(rule, identity, target)) {
    throw new Fault(403, 'You are not authorized to perform this action');
  }
}

/** The target of rules that compare the caller's project with its own. */
export function ownProject({ projectId }: Identity): PolicyTarget {
  return { project_id: projectId ?? null };
}

/** Who is recorded as author. */
export function authorOf({ userId }: Identity): string {
  return userId ?? 'unknown';
}
