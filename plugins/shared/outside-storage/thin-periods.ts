import type { Instant, PointQuery, StoredFrame } from '../../../core/plugin-api/index.js';
import { descriptorTest } from './attribute-text.js';
import type { Owner } from './owner.js';
import type { OwnPeriod, PeriodReader } from './period-reader.js';

/** Removes the points that match: a period that loses some is replaced by one of those that are left. */
export async function thinPeriods<P extends OwnPeriod>(
  periods: PeriodReader<P>,
  replace: (frame: StoredFrame) => Promise<void>,
  query: PointQuery,
  signal: AbortSignal,
): Promise<void> {
  const isRemoved = descriptorTest(query.metrics, query.filters)!;
  const whole = { visible: query.visible, begin: query.begin, end: query.end };
  const affected: (Owner & { readonly begin: Instant })[] = [];
  for await (const { stored, points } of periods.load(periods.periods(whole, signal), query, signal)) {
    const { source, scope, begin } = stored;
    if (points.length > 0) affected.push({ source, scope, begin });
  }
  for (const { source, scope, begin } of affected) {
    const one = { visible: [{ source, key: scope.key, id: scope.id }], begin, end: begin + 1 };
    for await (const frame of periods.frames(one, signal)) {
      const points = frame.points.filter(({ descriptor }) => !isRemoved(descriptor));
      await replace({ ...frame, points });
    }
  }
}
