import { createHash } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { LRUCache } from 'lru-cache';
import type { KeystoneAuthConfig } from '../../config/config.js';
import {
  type Clock,
  DataError,
  type HttpClient,
  type HttpFactory,
  type HttpResponse,
  isRatecatError,
  type Logger,
  UnavailableError,
} from '../../plugin-api/index.js';
import { KeystoneSession, refusal, SharedCalls, shownUrl } from '../../upstream/index.js';
import { AuthenticationRefused, type Authenticator, type Credentials } from './authenticator.js';
import type { Identity, UnjudgedIdentity } from './identity.js';
import { mayAccess, readValidation, type ValidatedToken } from './keystone-token.js';
import type { RefusalLimit } from './refusal-limit.js';

export interface KeystoneAuthenticatorParts {
  readonly http: HttpFactory;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Rule `context_is_admin`. */
  readonly isAdmin: (identity: UnjudgedIdentity) => boolean;
  readonly refusals: RefusalLimit;
}

/** Tokens that are remembered at most. */
const MAX_CACHED = 10_000;
/** Keystone's tokens have some hundred characters; its servers refuse whole requests not much longer than this. */
const MAX_TOKEN_CHARACTERS = 4096;
const TOKEN = /^[\x21-\x7e]+$/;

interface Cached {
  readonly token: ValidatedToken;
  /** Monotonic milliseconds. Afterwards Keystone is asked again. */
  readonly until: number;
  /** As last judged: mostly the same for many requests. */
  identity: Identity | undefined;
}

interface SentToken {
  readonly token: string;
  readonly clientAddress: string;
  /** A service sends it along: it may have expired. */
  readonly allowsExpired: boolean;
}

/**
 * Asks Keystone who the owner of a token is, as keystonemiddleware's `auth_token` does (spec: authentication, keystone mode).
 * Identity headers that a caller sends mean nothing here. A revoked token is accepted for at most the cache time.
 */
export class KeystoneAuthenticator implements Authenticator {
  readonly #config: KeystoneAuthConfig;
  readonly #parts: KeystoneAuthenticatorParts;
  readonly #http: HttpClient;
  readonly #session: KeystoneSession;
  readonly #cache = new LRUCache<string, Cached>({ max: MAX_CACHED });
  readonly #validations = new SharedCalls<Cached | undefined>();

  constructor(config: KeystoneAuthConfig, parts: KeystoneAuthenticatorParts) {
    const { timeout, max_response_mib, cafile, certfile, keyfile, insecure } = config.session;
    this.#config = config;
    this.#parts = parts;
    this.#http = parts.http.client({
      timeoutMs: timeout * 1000,
      maxResponseBytes: Math.ceil(max_response_mib * 1024 * 1024),
      caFile: cafile,
      certFile: certfile,
      keyFile: keyfile,
      insecure,
    });
    this.#session = new KeystoneSession(config.session, this.#http, parts.clock);
  }

  async stop(): Promise<void> {
    await this.#http.close();
  }

  async authenticate(credentials: Credentials, signal: AbortSignal): Promise<Identity> {
    const { headers, method, path, clientAddress } = credentials;
    const serviceToken = headerText(headers, 'x-service-token');
    const allowsExpired =
      serviceToken !== undefined && (await this.#isService({ token: serviceToken, clientAddress }, signal));
    const userToken = headerText(headers, 'x-auth-token') ?? headerText(headers, 'x-storage-token');
    if (userToken === undefined) throw this.#refused();
    const valid = await this.#validate({ token: userToken, clientAddress, allowsExpired }, signal);
    const request = {
      service: this.#config.serviceType,
      method,
      path,
      isForwarded: serviceToken !== undefined,
    };
    if (!mayAccess(valid.token, request)) throw this.#refused();
    return this.#identityOf(valid);
  }

  /**
   * Whether a service sends the request, for whose sake an expired token of the user is good enough.
   * @throws AuthenticationRefused for a token that is not valid or, where the roles are required, lacks them.
   */
  async #isService(sent: Pick<SentToken, 'token' | 'clientAddress'>, signal: AbortSignal): Promise<boolean> {
    const { serviceTokenRoles, serviceTokenRolesRequired } = this.#config;
    const { identity } = (await this.#validate({ ...sent, allowsExpired: false }, signal)).token;
    const isService = identity.roles.some((role) => serviceTokenRoles.includes(role));
    if (!isService && serviceTokenRolesRequired) throw this.#refused();
    return isService;
  }

  /** `context_is_admin` may have changed since the token was validated, the rest has not. */
  #identityOf(valid: Cached): Identity {
    const isAdmin = this.#parts.isAdmin(valid.token.identity);
    if (valid.identity?.isAdmin !== isAdmin) valid.identity = { ...valid.token.identity, isAdmin };
    return valid.identity;
  }

  async #validate(sent: SentToken, signal: AbortSignal): Promise<Cached> {
    const { token, allowsExpired } = sent;
    if (token.length > MAX_TOKEN_CHARACTERS || !TOKEN.test(token)) throw this.#refused();
    const key = createHash('sha256').update(token).digest('base64');
    const valid = this.#remembered(key) ?? (await this.#check(key, sent, signal));
    if (valid === undefined || (this.#isExpired(valid) && !allowsExpired)) throw this.#refused();
    return valid;
  }

  #remembered(key: string): Cached | undefined {
    const cached = this.#cache.get(key);
    return cached !== undefined && this.#parts.clock.monotonic() < cached.until ? cached : undefined;
  }

  #isExpired({ token }: Cached): boolean {
    return token.expiresAt <= this.#parts.clock.now();
  }

  /** Undefined: the token is not valid. Whoever made up others at the same address does not stand in the way of one that was. */
  async #check(key: string, sent: SentToken, signal: AbortSignal): Promise<Cached | undefined> {
    const known = this.#cache.get(key);
    if (known !== undefined && (sent.allowsExpired || !this.#isExpired(known)))
      return this.#ask(key, sent, signal);
    // While it waits for its turn, another request may bring the answer.
    const question = async () => this.#remembered(key) ?? (await this.#ask(key, sent, signal));
    return this.#parts.refusals.guard(sent.clientAddress, question, signal);
  }

  /** Undefined: the token is not valid, which is not remembered. Requests with the same token share one question. */
  async #ask(
    key: string,
    { token, allowsExpired }: SentToken,
    signal: AbortSignal,
  ): Promise<Cached | undefined> {
    const call = async (shared: AbortSignal) =>
      this.#remember(key, await this.#question(token, allowsExpired, shared));
    try {
      return await this.#validations.run(`${key} ${allowsExpired}`, call, signal);
    } catch (error) {
      throw this.#unavailable(error);
    }
  }

  /** Also past its time, for who is known to have been valid is not taken for somebody who tries tokens out. */
  #remember(key: string, token: ValidatedToken | undefined): Cached | undefined {
    if (token === undefined) {
      this.#cache.delete(key);
      return undefined;
    }
    const lifeMs = this.#config.tokenCacheSeconds * 1000;
    const cached = { token, until: this.#parts.clock.monotonic() + lifeMs, identity: undefined };
    this.#cache.set(key, cached);
    return cached;
  }

  async #question(
    token: string,
    allowsExpired: boolean,
    signal: AbortSignal,
  ): Promise<ValidatedToken | undefined> {
    const { interface: wanted, region } = this.#config;
    const base = await this.#session.identityUrl({ interface: wanted, region }, signal);
    const url = `${base}/auth/tokens${allowsExpired ? '?allow_expired=1' : ''}`;
    const headers = { 'x-subject-token': token, 'openstack-identity-access-rules': '1.0' };
    const purpose = {
      to: 'validate tokens',
      needs: "role 'admin' (or, where Keystone's policy knows it, 'service') on the project it logs in to",
    };
    const response = await this.#session.request({ url, headers }, purpose, signal);
    if (response.status === 404 && isKeystone(response)) return undefined;
    return this.#read(`GET ${shownUrl(url)}`, response);
  }

  /** What the answer says stays out of every message: it may hold the token that was sent. */
  #read(call: string, response: HttpResponse): ValidatedToken {
    if (response.status !== 200) throw refusal(call, { ...response, headers: {}, body: '' });
    const token = readValidation(response.body);
    if (token !== undefined) return token;
    throw new DataError(
      'RATECAT_UPSTREAM_MALFORMED',
      `The answer to ${call} does not describe a token. Check that api.keystone.auth_url and the catalog lead to Keystone itself.`,
    );
  }

  #refused(): AuthenticationRefused {
    // As a header's value it must not end the quotation or the line.
    const uri = this.#config.wwwAuthenticateUri.replace(/[^\x21-\x7e]|["\\]/g, '');
    return new AuthenticationRefused(`Keystone uri="${uri}"`);
  }

  /** The caller is told the reference's words; why stands in the cause, for the log. */
  #unavailable(error: unknown): UnavailableError {
    return new UnavailableError(
      'RATECAT_IDENTITY_UNAVAILABLE',
      'The Keystone service is temporarily unavailable.',
      { cause: error, details: isRatecatError(error) ? { code: error.code } : {} },
    );
  }
}

/** Keystone answers in JSON; a proxy that knows no such address says nothing about the token. */
function isKeystone({ headers }: HttpResponse): boolean {
  return /json/i.test(headers['content-type'] ?? '');
}

/** Undefined when absent or blank. */
function headerText(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name];
  const text = (Array.isArray(value) ? value.join(', ') : (value ?? '')).trim();
  return text === '' ? undefined : text;
}
