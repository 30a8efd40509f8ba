import { DataError, Decimal, type Frame, type MeasuredPoint, type RatedPoint } from '../plugin-api/index.js';
import { type Bound, unbounded } from './bound.js';
import type { CompiledModule } from './rule-sets.js';

/**
 * Passes a frame through the modules in order; each adds to the price the former ones left.
 * @param bound ends the wait for a module that gives no answer; without, the caller's signal alone does.
 */
export async function rateFrame(
  frame: Frame<MeasuredPoint>,
  modules: readonly CompiledModule[],
  signal: AbortSignal,
  how: 'rate' | 'quote' = 'rate',
  bound: Bound = unbounded,
): Promise<Frame<RatedPoint>> {
  let rated: Frame<RatedPoint> = {
    ...frame,
    points: frame.points.map(({ descriptor, quantity }) => ({ descriptor, quantity, price: Decimal.ZERO })),
  };
  for (const { name, rating } of modules) {
    const step = how === 'quote' && rating.quote !== undefined ? rating.quote : rating.rate;
    const before = rated;
    const work = async (limited: AbortSignal) => step.call(rating, before, limited);
    rated = checked(name, before, await bound(`Rating module '${name}'`, signal, work));
  }
  return rated;
}

/** A module that changes whom or when a frame is for would bill the wrong customer. */
function checked(module: string, before: Frame<RatedPoint>, after: Frame<RatedPoint>): Frame<RatedPoint> {
  const sameUnit =
    after.source === before.source &&
    after.scope.key === before.scope.key &&
    after.scope.id === before.scope.id &&
    after.period.begin === before.period.begin &&
    after.period.end === before.period.end;
  if (!sameUnit) {
    throw new DataError(
      'RATECAT_RATING_CONTRACT',
      `Rating module '${module}' changed source, scope or period of a frame; nothing of it is stored.`,
    );
  }
  return after;
}
