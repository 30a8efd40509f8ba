import { type ApiRequest, type ApiResponse, JSON_TYPE } from './exchange.js';
import { methodNotAllowed } from './faults.js';
import { pythonJson } from './python-json.js';

/** Version discovery at `/` (spec: root, version discovery). v2 calls itself experimental, as the reference's does. */
export function versionDocument({ method, origin }: ApiRequest): ApiResponse {
  if (!['GET', 'HEAD', 'OPTIONS'].includes(method)) return methodNotAllowed(['GET', 'HEAD', 'OPTIONS']);
  if (method === 'OPTIONS') {
    return {
      status: 200,
      headers: { 'content-type': 'text/html; charset=utf-8', allow: 'GET, HEAD, OPTIONS' },
    };
  }
  const version = (id: string, status: string) => ({
    id,
    links: [{ href: `${origin}/${id}`, rel: 'self' }],
    status,
  });
  const document = { versions: [version('v1', 'CURRENT'), version('v2', 'EXPERIMENTAL')] };
  return {
    status: 200,
    headers: { 'content-type': JSON_TYPE },
    body: `${pythonJson(document)}\n`,
    route: '/',
  };
}
