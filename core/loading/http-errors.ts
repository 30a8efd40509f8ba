import { DataError, UnavailableError } from '../plugin-api/index.js';
import type { Target } from './http-target.js';

export const TIMEOUT_CODES: ReadonlySet<string> = new Set([
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
  'ETIMEDOUT',
]);

export function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | undefined)?.code;
  if (typeof code === 'string') return code;
  // Several addresses were tried: the first failure is as good as any.
  const first = error instanceof AggregateError ? error.errors[0] : undefined;
  return first === undefined ? 'unknown error' : codeOf(first);
}

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there (ECONNREFUSED)',
  ENOTFOUND: 'the host name is unknown (ENOTFOUND)',
  EAI_AGAIN: 'the name server does not answer (EAI_AGAIN)',
  ECONNRESET: 'the connection was reset (ECONNRESET)',
  EPIPE: 'the connection was closed (EPIPE)',
  UND_ERR_SOCKET: 'the connection was closed before an answer',
  EHOSTUNREACH: 'there is no route to the host (EHOSTUNREACH)',
  ENETUNREACH: 'there is no route to the network (ENETUNREACH)',
  CERT_HAS_EXPIRED: 'its TLS certificate has expired (CERT_HAS_EXPIRED)',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its TLS certificate is for another host (ERR_TLS_CERT_ALTNAME_INVALID)',
  ERR_SSL_WRONG_VERSION_NUMBER: 'it does not speak TLS; is it an http URL? (ERR_SSL_WRONG_VERSION_NUMBER)',
};

export function reasonOf(error: unknown, code: string): string {
  const known = REASONS[code];
  if (known !== undefined) return known;
  if (/CERT|SELF_SIGNED|ISSUER|SIGNATURE/.test(code)) {
    return `its TLS certificate is not trusted (${code}); set cafile to the issuing authority's certificate`;
  }
  return code === 'unknown error' && error instanceof Error ? error.message.slice(0, 200) : code;
}

export function timeoutError(target: Target, timeoutMs: number, cause?: unknown): UnavailableError {
  return new UnavailableError(
    'RATECAT_UPSTREAM_TIMEOUT',
    `${target.method} ${target.shown} was not answered in full within ${timeoutMs / 1000} s. Check the load of the upstream or raise the plugin's timeout.`,
    { cause, details: { url: target.shown } },
  );
}

export function unreachable(
  target: Target,
  reason: string,
  cause?: unknown,
  details: Readonly<Record<string, unknown>> = {},
): UnavailableError {
  return new UnavailableError(
    'RATECAT_UPSTREAM_UNREACHABLE',
    `${target.method} ${target.shown} failed: ${reason}. Check that the service runs and that the URL in the plugin's options is right.`,
    { cause, details: { url: target.shown, ...details } },
  );
}

export function truncated(target: Target, cause: unknown): UnavailableError {
  return new UnavailableError(
    'RATECAT_UPSTREAM_TRUNCATED',
    `The answer to ${target.method} ${target.shown} broke off in the middle. It will be asked for again; if it persists, check proxies and the log of the upstream.`,
    { cause, details: { url: target.shown } },
  );
}

export function tooLarge(target: Target, maxBytes: number): DataError {
  return new DataError(
    'RATECAT_UPSTREAM_TOO_LARGE',
    `The answer to ${target.method} ${target.shown} has more than ${maxBytes} bytes. Narrow the query (fewer labels or resources per scope).`,
    { details: { url: target.shown } },
  );
}

export function malformed(target: Target, problem: string, cause?: unknown): DataError {
  return new DataError(
    'RATECAT_UPSTREAM_MALFORMED',
    `The answer to ${target.method} ${target.shown} ${problem}. Check that the URL leads to the service itself and not to something else.`,
    { cause, details: { url: target.shown } },
  );
}
