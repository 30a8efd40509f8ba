import type { IncomingHttpHeaders } from 'node:http';
import type { Identity } from './auth/identity.js';

/** A request as the parts of the API see it: transport, proxies and authentication are dealt with. */
export interface ApiRequest {
  readonly id: string;
  readonly method: string;
  /** As sent, undecoded, without query; begins with a slash. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  /** Empty when there is none. */
  readonly body: Buffer;
  /** Scheme and host that the caller used: `https://rating.example:8889`. */
  readonly origin: string;
  /** What a trusted proxy cut off the path; empty, or without a slash at the end. */
  readonly prefix: string;
  readonly identity: Identity;
  /** Aborted when the caller went away, the time is over or the process stops. */
  readonly signal: AbortSignal;
}

export interface ApiResponse {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** A large body is given in parts. */
  readonly body?: string | AsyncIterable<string> | undefined;
  /** The pattern of the path, for metrics: bounded in number whatever callers send. */
  readonly route?: string | undefined;
}

/** Everything below one part of the path, `/v1` or `/v2`. Never throws for what a caller sent. */
export interface ApiArea {
  handle(request: ApiRequest): Promise<ApiResponse>;
}

export const JSON_TYPE = 'application/json';
