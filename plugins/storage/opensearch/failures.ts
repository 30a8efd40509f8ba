import { DataError, RejectedError, UnavailableError } from '../../../core/plugin-api/index.js';

/** What is stored is not what Ratecat wrote. */
export function damaged(what: string, cause?: unknown): DataError {
  return new DataError(
    'RATECAT_SEARCH_DAMAGED',
    `The index does not hold what Ratecat stored: ${what}. Somebody else changed or removed documents, or two daemons without a common database wrote the same period. Rate the period again, or restore the index from a snapshot.`,
    { cause },
  );
}

/** An index that is not there, or cannot be what the options want it to be. */
export function unfitIndex(index: string, what: string): RejectedError {
  return new RejectedError(
    'RATECAT_SEARCH_INDEX',
    `The index '${index}' cannot be used: ${what} Correct index_name or period_index_name in storage.options, or the index.`,
  );
}

/** A search that does not tell everything is no answer: a sum of it would be too small. */
export function partialAnswer(call: string, what: string): UnavailableError {
  return new UnavailableError(
    'RATECAT_SEARCH_PARTIAL',
    `${call} was answered in part only: ${what}. It will be tried again; if it persists, look at the health of the cluster (GET /_cluster/health).`,
  );
}

export function refused(what: string): DataError {
  return new DataError(
    'RATECAT_SEARCH_REFUSED',
    `The index did not take documents: ${what}. The period stays as it was.`,
  );
}

export function overtaken(what: string): UnavailableError {
  return new UnavailableError(
    'RATECAT_SEARCH_OVERTAKEN',
    `Somebody else wrote ${what} at the same time; what this worker wrote is not used. It will be tried again if this worker still has the scope.`,
  );
}
