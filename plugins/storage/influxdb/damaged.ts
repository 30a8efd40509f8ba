import { DataError } from '../../../core/plugin-api/index.js';

/** What is stored is not what Ratecat wrote. */
export function damaged(what: string, cause?: unknown): DataError {
  return new DataError(
    'RATECAT_INFLUXDB_DAMAGED',
    `InfluxDB does not hold what Ratecat stored: ${what}. Somebody else changed or removed points, or two daemons without a common database wrote the same period. Rate the period again, or restore InfluxDB from a backup.`,
    { cause },
  );
}
