import type { IncomingHttpHeaders } from 'node:http';
import type { Lifecycle } from '../../plugin-api/index.js';
import type { Identity } from './identity.js';

export interface Credentials {
  readonly headers: IncomingHttpHeaders;
  readonly method: string;
  /** Without query. */
  readonly path: string;
  /** Of the caller, as far as trusted proxies tell. */
  readonly clientAddress: string;
}

/** Turns the credentials of a request into an identity. */
export interface Authenticator extends Lifecycle {
  /**
   * @throws AuthenticationRefused when the caller must bring another token (401).
   * @throws TooManyRequests when too many tokens from the caller's address were refused (429).
   * @throws UnavailableError when the identity service says nothing about the token (503).
   */
  authenticate(credentials: Credentials, signal: AbortSignal): Promise<Identity>;
}

export class AuthenticationRefused extends Error {
  /** Value of `WWW-Authenticate`. */
  readonly challenge: string;

  constructor(challenge: string) {
    super('The request you have made requires authentication.');
    this.name = 'AuthenticationRefused';
    this.challenge = challenge;
  }
}
