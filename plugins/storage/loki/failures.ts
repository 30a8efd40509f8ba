import { DataError, RejectedError, UnavailableError } from '../../../core/plugin-api/index.js';

/** What is stored is not what Ratecat wrote. */
export function damaged(what: string, cause?: unknown): DataError {
  return new DataError(
    'RATECAT_LOKI_DAMAGED',
    `Loki does not hold what Ratecat stored: ${what}. Entries were deleted or have expired (retention_period), Loki shortened long lines (max_line_size_truncate), or the database is from another time than Loki's data. Rate the period again.`,
    { cause },
  );
}

export function refused(what: string): DataError {
  return new DataError(
    'RATECAT_LOKI_REFUSED',
    `Loki did not take entries: ${what}. The period stays as it was. Compare limits_config of Loki with the page on this storage.`,
  );
}

export function tooManyAtOnce(limit: number, time: string): RejectedError {
  return new RejectedError(
    'RATECAT_LOKI_LIMIT',
    `Loki has ${limit} or more entries of one stream at ${time}, and gives no more than that at once. Raise max_entries_limit_per_query in limits_config of Loki, and max_entries in storage.options with it.`,
  );
}

export function overtaken(what: string): UnavailableError {
  return new UnavailableError(
    'RATECAT_LOKI_OVERTAKEN',
    `Somebody else wrote ${what} at the same time; what this worker wrote does not count. It will be tried again if this worker still has the scope.`,
  );
}
