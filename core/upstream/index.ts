/**
 * Helpers for plugins that talk to a service over HTTP or log in to Keystone, published as `ratecat/upstream`. No part of the
 * contract: a plugin may do without them.
 */
export {
  type CallPurpose,
  checkKeystone,
  type KeystoneOptions,
  KeystoneSession,
  type KeystoneToken,
  keystoneSecrets,
  keystoneShape,
} from './keystone-session.js';
export { SharedCalls } from './shared-calls.js';
export {
  excerpt,
  inShape,
  malformed,
  parseJson,
  refusal,
  requestRepeatably,
  shownUrl,
  type UpstreamOptions,
  upstreamClient,
  upstreamShape,
} from './upstream.js';
