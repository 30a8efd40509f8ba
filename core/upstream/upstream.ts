import { resolve } from 'node:path';
import { z } from 'zod';
import {
  DataError,
  type HttpClient,
  type HttpRequest,
  type HttpResponse,
  isRatecatError,
  type PluginContext,
  type RatecatError,
  RejectedError,
  UnavailableError,
} from '../plugin-api/index.js';

/** Options that every plugin with an HTTP upstream has; names as in CloudKitty's sections. */
export const upstreamShape = {
  cafile: z.string().min(1).optional(),
  certfile: z.string().min(1).optional(),
  keyfile: z.string().min(1).optional(),
  insecure: z.boolean().default(false),
  /** Seconds for one request, its whole answer included. */
  timeout: z.number().positive('must be more than 0 seconds').default(60),
  /** Longest answer that is read, in MiB after decompression. */
  max_response_mib: z.number().positive('must be more than 0 MiB').default(64),
};

export type UpstreamOptions = z.output<z.ZodObject<typeof upstreamShape>>;

/** The one client of a plugin's upstream. Relative file names start at the folder of the config file. */
export function upstreamClient(
  options: UpstreamOptions,
  context: PluginContext,
  connections?: number,
): HttpClient {
  const file = (path: string | undefined) =>
    path === undefined ? undefined : resolve(context.configFolder, path);
  return context.http.client({
    timeoutMs: options.timeout * 1000,
    maxResponseBytes: Math.ceil(options.max_response_mib * 1024 * 1024),
    connections,
    caFile: file(options.cafile),
    certFile: file(options.certfile),
    keyFile: file(options.keyfile),
    insecure: options.insecure,
  });
}

/** For requests that change nothing upstream: asked again when the upstream had just closed an idle connection. */
export async function requestRepeatably(
  http: HttpClient,
  request: HttpRequest,
  signal: AbortSignal,
): Promise<HttpResponse> {
  try {
    return await http.request(request, signal);
  } catch (error) {
    if (!isRatecatError(error) || error.details.reusedConnection !== true) throw error;
    return await http.request(request, signal);
  }
}

/** What an answer that is not a success means. `call` names the request without secrets. */
export function refusal(call: string, response: HttpResponse, secret = ''): RatecatError {
  const { status } = response;
  const said = excerpt(response.body, secret);
  const because = said === '' ? '' : `: ${said}`;
  if (status >= 500 || status === 429 || status === 408) {
    return new UnavailableError(
      'RATECAT_UPSTREAM_UNAVAILABLE',
      `${call} was answered with ${status}${because}. It will be tried again; if it persists, check the log of that service.`,
      { details: { status, retryAfterSeconds: retryAfter(response) } },
    );
  }
  if (status >= 300 && status < 400) {
    const location = excerpt((response.headers.location ?? '').replace(/[?#].*$/s, ''), secret);
    return new RejectedError(
      'RATECAT_UPSTREAM_REJECTED',
      `${call} was redirected to '${location}' (${status}), and redirects are not followed. Put the final URL into the plugin's options.`,
      { details: { status } },
    );
  }
  return new RejectedError(
    'RATECAT_UPSTREAM_REJECTED',
    `${call} was refused with ${status}${because}. Check the URL and the other options of the plugin.`,
    { details: { status } },
  );
}

/** One short printable line of a foreign text: safe for logs. */
export function excerpt(text: string, secret = ''): string {
  const clean = secret === '' ? text : text.replaceAll(secret, '***');
  return clean
    .slice(0, 2000)
    .replace(/[\p{Cc}\p{Cf}\p{Cs}\s]+/gu, ' ')
    .trim()
    .slice(0, 300);
}

function retryAfter(response: HttpResponse): number | undefined {
  const seconds = Number(response.headers['retry-after']);
  return Number.isFinite(seconds) && seconds >= 0 ? seconds : undefined;
}

/** Parsed JSON. @throws DataError RATECAT_UPSTREAM_MALFORMED */
export function parseJson(call: string, body: string): unknown {
  try {
    return JSON.parse(body);
  } catch (error) {
    throw malformed(call, `is not valid JSON (it begins with '${excerpt(body).slice(0, 60)}')`, error);
  }
}

/** The value in the shape that the rest of the code relies on. @throws DataError RATECAT_UPSTREAM_MALFORMED */
export function inShape<S extends z.ZodType>(call: string, shape: S, value: unknown): z.output<S> {
  const result = shape.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  const path = issue.path.map(String).join('.');
  throw malformed(call, `does not have the expected form (${path === '' ? 'body' : path}: ${issue.message})`);
}

export function malformed(call: string, problem: string, cause?: unknown): DataError {
  return new DataError(
    'RATECAT_UPSTREAM_MALFORMED',
    `The answer to ${call} ${problem}. Check that the URL in the plugin's options leads to the service itself and not to a proxy's page.`,
    { cause },
  );
}

/** A URL for messages and logs: no credentials, no query. */
export function shownUrl(url: string): string {
  if (!URL.canParse(url)) return excerpt(url.replace(/[?#].*$/s, '').replace(/\/\/[^/]*@/, '//'));
  const { origin, pathname } = new URL(url);
  return `${origin}${pathname}`;
}
