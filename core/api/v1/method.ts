import type { Identity } from '../auth/identity.js';
import type { PolicyTarget } from '../auth/policy.js';
import type { ApiResponse } from '../exchange.js';
import type { ApiServices } from '../services.js';
import type { CallShape, V1Call } from './call.js';
import { V1Fault } from './faults.js';
import type { Addressed } from './route-table.js';

/** One method of an address below `/v1`. */
export interface V1Method extends Addressed, CallShape {
  readonly handle: (call: V1Call) => Promise<ApiResponse>;
}

/** @throws V1Fault 403 */
export function authorize(
  { policy }: Pick<ApiServices, 'policy'>,
  rule: string,
  identity: Identity,
  target: PolicyTarget = {},
): void {
  if (!policy.allows(rule, identity, target)) throw new V1Fault(403, refusal(rule));
}

export function refusal(rule: string): string {
  return `Policy doesn't allow ${rule} to be performed.`;
}
