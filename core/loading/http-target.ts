import { ConfigError, type HttpRequest } from '../plugin-api/index.js';

/** A request, checked. */
export interface Target {
  readonly url: URL;
  /** For messages: without credentials and query. */
  readonly shown: string;
  readonly method: NonNullable<HttpRequest['method']>;
  readonly headers: Record<string, string>;
  readonly body: string | undefined;
}

/** @throws ConfigError RATECAT_UPSTREAM_URL_INVALID */
export function parseTarget(request: HttpRequest): Target {
  const url = URL.canParse(request.url) ? new URL(request.url) : undefined;
  if (url === undefined || !(url.protocol === 'http:' || url.protocol === 'https:')) {
    throw new ConfigError(
      'RATECAT_UPSTREAM_URL_INVALID',
      `'${withoutSecrets(request.url)}' is not an http or https URL. Check the URL in the plugin's options.`,
    );
  }
  const headers: Record<string, string> = {
    accept: 'application/json',
    'accept-encoding': 'gzip, deflate, br',
    'user-agent': 'ratecat',
  };
  if (url.username !== '' || url.password !== '') headers.authorization = basicFromUrl(url);
  for (const [name, value] of Object.entries(request.headers ?? {})) headers[name.toLowerCase()] = value;
  return {
    url,
    shown: `${url.origin}${url.pathname}`,
    method: request.method ?? 'GET',
    headers,
    body: request.body,
  };
}

function basicFromUrl(url: URL): string {
  const credentials = `${decoded(url.username)}:${decoded(url.password)}`;
  return `Basic ${Buffer.from(credentials, 'utf8').toString('base64')}`;
}

/** A percent sign that encodes nothing is one. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function withoutSecrets(url: string): string {
  return url
    .replace(/[?#].*$/s, '')
    .replace(/\/\/[^/]*@/, '//')
    .slice(0, 200);
}
