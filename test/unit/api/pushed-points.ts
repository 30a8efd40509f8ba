import { Attributes, Decimal } from '../../../core/plugin-api/index.js';
import type { PushedFrame } from '../../../core/scopes/pushed-frames.js';
import { HOUR, MONDAY } from './v2-support.js';

/** Price and quantity of a point; sums of it in binary floats would go wrong. */
export const AMOUNT = Decimal.parse('0.1000000000000000000000000003');

/** One point in each scope, all in one period. */
export function pushedPoints(scopes: readonly string[], id: string): readonly PushedFrame[] {
  return scopes.map((scope) => ({
    scope: { key: 'project_id', id: scope },
    period: { begin: MONDAY, end: MONDAY + HOUR },
    points: [
      {
        descriptor: {
          metric: 'pushed',
          unit: 'x',
          groupby: Attributes.from({ project_id: scope, id }),
          metadata: Attributes.EMPTY,
          description: undefined,
        },
        quantity: AMOUNT,
        price: AMOUNT,
      },
    ],
  }));
}
