import type { FastifyInstance } from 'fastify';
import { AuthenticationRefused, type Authenticator } from '../../core/api/auth/authenticator.js';
import { ANONYMOUS } from '../../core/api/auth/identity.js';
import type { Policy } from '../../core/api/auth/policy.js';
import { FilePolicy } from '../../core/api/auth/policy-file.js';
import { DaemonLogger } from '../../core/daemon/logger.js';
import { systemClock } from '../../core/daemon/system-clock.js';
import { type ApiOptions, type OpenedApi, openApi } from './api.js';

/** Whom a token stands for. */
export interface TokenHolder {
  readonly projectId?: string;
  readonly roles: readonly string[];
}

export interface ServerOptions extends ApiOptions {
  /** Tokens that are valid; the rule `context_is_admin` decides who is an administrator. */
  readonly tokens?: Readonly<Record<string, TokenHolder>>;
  /** What everybody else is told in `WWW-Authenticate`. */
  readonly challenge?: string;
}

export interface OpenedServer extends OpenedApi {
  readonly app: FastifyInstance;
}

/** The whole server without a socket: routes, tokens and the reference's default policy. */
export async function openApiServer(options: ServerOptions = {}): Promise<OpenedServer> {
  const logger = DaemonLogger.create({ level: 'error', format: 'text' });
  const policy = FilePolicy.open({ file: undefined, folders: [] }, { clock: systemClock, logger });
  const opened = await openApi({
    policy,
    authenticator: new KnownTokens(options, policy),
    ...options,
    change: {
      rating: [
        { plugin: 'hashmap', enabled: false },
        { plugin: 'noop' },
        { plugin: 'pyscripts', enabled: false },
      ],
      ...options.change,
    },
  });
  const app = await opened.server.app();
  return {
    ...opened,
    app,
    async close() {
      await opened.server.stop();
      await opened.close();
    },
  };
}

class KnownTokens implements Authenticator {
  readonly #tokens: Readonly<Record<string, TokenHolder>>;
  readonly #challenge: string;
  readonly #policy: Policy;

  constructor(
    { tokens = {}, challenge = 'Keystone uri="http://127.0.0.1:5000"' }: ServerOptions,
    policy: Policy,
  ) {
    this.#tokens = tokens;
    this.#challenge = challenge;
    this.#policy = policy;
  }

  async authenticate({ headers }: Parameters<Authenticator['authenticate']>[0]) {
    const token = headers['x-auth-token'];
    const holder =
      typeof token === 'string' && Object.hasOwn(this.#tokens, token) ? this.#tokens[token] : undefined;
    if (holder === undefined) throw new AuthenticationRefused(this.#challenge);
    const identity = {
      ...ANONYMOUS,
      userId: `user-${String(token)}`,
      projectId: holder.projectId,
      roles: holder.roles,
      isAdminProject: true,
      isAnonymous: false,
    };
    return { ...identity, isAdmin: this.#policy.allows('context_is_admin', identity) };
  }
}
