import { isRatecatError, type RatecatError } from '../plugin-api/index.js';

const CODES: ReadonlySet<string> = new Set(['RATECAT_POINTS_DROPPED', 'RATECAT_PERIOD_THINNED']);

/** True when the storage no longer keeps what the range of a request needs: the caller has to ask for another one. */
export function isRangeRefusal(error: unknown): error is RatecatError {
  return isRatecatError(error) && CODES.has(error.code);
}
