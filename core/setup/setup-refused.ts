import { ConfigError } from '../plugin-api/index.js';

/** Something stands in the way of a set-up, and whoever asked for it has to decide. */
export function setupRefused(message: string): ConfigError {
  return new ConfigError('RATECAT_SETUP_REFUSED', message);
}
