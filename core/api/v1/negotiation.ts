import { type ApiRequest, type ApiResponse, JSON_TYPE } from '../exchange.js';
import { plainFault, preferredType } from '../faults.js';

/** False for callers that want anything but JSON; nobody is served XML here. */
export function isAcceptable(accept: string | undefined): boolean {
  return accept === undefined || preferredType(accept, [JSON_TYPE]) !== undefined;
}

export function notAcceptable({ headers, method }: ApiRequest): ApiResponse {
  return plainFault(406, '', headers.accept, method);
}

/** An address that no method takes; 405 has the empty header of the reference's router. */
export function unmatched({ headers, method }: ApiRequest, status: 404 | 405): ApiResponse {
  const fault = plainFault(status, '', headers.accept, method);
  const route = '/v1/(unmatched)';
  return status === 404 ? { ...fault, route } : { ...fault, headers: { ...fault.headers, allow: '' }, route };
}
