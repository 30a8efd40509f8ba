import { DataError, Decimal } from '../../../core/plugin-api/index.js';
import { excerpt, malformed } from '../../../core/upstream/index.js';
import { isObject, propertyOf } from '../../shared/exact-json.js';
import type { CeilometerClient, Condition, Row } from './client.js';
import type { CeilometerRequest, Quantity } from './metric-options.js';

/** A resource and its quantity. */
export interface Measured {
  readonly resourceId: string;
  readonly value: Decimal;
}

/** What Ceilometer itself makes of the samples of each resource. */
export async function readStatistics(
  client: CeilometerClient,
  request: CeilometerRequest,
  asked: {
    readonly conditions: readonly Condition[];
    readonly groupby: readonly string[];
    readonly quantity: Exclude<Quantity, 'increase'>;
  },
  signal: AbortSignal,
): Promise<readonly Measured[]> {
  const { metric } = request;
  const { call, rows } = await client.list(
    {
      path: ['meters', metric.name, 'statistics'],
      conditions: asked.conditions,
      parameters: asked.groupby.map((name) => ['groupby', name]),
    },
    signal,
  );
  const seen = new Set<string>();
  return rows.map((row) => {
    const group = propertyOf(row, 'groupby');
    const resourceId = isObject(group) ? propertyOf(group, 'resource_id') : undefined;
    if (typeof resourceId !== 'string' || resourceId === '')
      throw malformed(call, 'has a row without groupby.resource_id');
    for (const name of asked.groupby.filter((column) => column !== 'resource_id'))
      refuseOtherScope(request, (group as Row)[name]);
    if (seen.has(resourceId)) throw duplicated(metric.name, resourceId);
    seen.add(resourceId);
    const value =
      asked.quantity === 'presence'
        ? Decimal.ONE
        : readNumber(propertyOf(row, asked.quantity), metric.name, resourceId);
    return { resourceId, value };
  });
}

/** @throws DataError RATECAT_SAMPLE_OF_OTHER_SCOPE */
export function refuseOtherScope({ metric, scope }: CeilometerRequest, answered: unknown): void {
  if (answered === scope.id) return;
  throw new DataError(
    'RATECAT_SAMPLE_OF_OTHER_SCOPE',
    `Metric ${metric.name} was asked for ${scope.key} '${excerpt(scope.id)}', but the answer has data of '${excerpt(String(answered))}'. Check what sits between Ratecat and Ceilometer.`,
    { details: { metric: metric.name } },
  );
}

/** @throws DataError RATECAT_SAMPLE_NOT_A_NUMBER */
export function readNumber(value: unknown, metric: string, resourceId: string): Decimal {
  if (value instanceof Decimal && Number.isFinite(Number(value.toString()))) return value;
  throw new DataError(
    'RATECAT_SAMPLE_NOT_A_NUMBER',
    `Metric ${metric} has the value ${excerpt(String(value))} for resource '${excerpt(resourceId)}', which cannot be priced. Repair what sends the samples.`,
    { details: { metric } },
  );
}

/** Ceilometer groups by unit as well: such a meter has samples in two units. */
function duplicated(metric: string, resourceId: string): DataError {
  return new DataError(
    'RATECAT_SERIES_DUPLICATED',
    `Metric ${metric} has two answers for resource '${excerpt(resourceId)}': its samples come in different units. Repair what sends them, and delete those in the wrong unit.`,
    { details: { metric } },
  );
}
