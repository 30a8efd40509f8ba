import type { ApiConfig } from '../../config/config.js';
import { type Clock, ConfigError, type HttpFactory, type Logger } from '../../plugin-api/index.js';
import type { Authenticator } from './authenticator.js';
import { KeystoneAuthenticator } from './keystone-authenticator.js';
import { NoauthAuthenticator } from './noauth-authenticator.js';
import { AllowAll, type Policy } from './policy.js';
import { FilePolicy } from './policy-file.js';
import { RefusalLimit } from './refusal-limit.js';

export type AuthConfig = Pick<
  ApiConfig,
  'auth' | 'policyFile' | 'policyFolders' | 'keystone' | 'refusedRateLimitPerMinute'
>;

export interface AuthParts {
  readonly http: HttpFactory;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface Auth {
  /** To be stopped with the server. */
  readonly authenticator: Authenticator;
  readonly policy: Policy;
}

/**
 * Who callers are and what they may do, as configured. Reads the policy files, talks to nobody.
 * @throws ConfigError RATECAT_CONFIG_INVALID for a policy file with faults.
 */
export function createAuth(config: AuthConfig, parts: AuthParts): Auth {
  if (config.auth === 'noauth') return { authenticator: new NoauthAuthenticator(), policy: new AllowAll() };
  const { keystone } = config;
  if (keystone === undefined) {
    throw new ConfigError('RATECAT_CONFIG_INVALID', "api.auth: keystone needs the section 'api.keystone'.");
  }
  const policy = FilePolicy.open({ file: config.policyFile, folders: config.policyFolders }, parts);
  const isAdmin = policy.isAdmin.bind(policy);
  const refusals = new RefusalLimit(config.refusedRateLimitPerMinute, parts);
  return { authenticator: new KeystoneAuthenticator(keystone, { ...parts, isAdmin, refusals }), policy };
}
