import type { AttributeFilter, Instant, Period, PointQuery } from '../../plugin-api/index.js';
import { visibleScopes } from '../access.js';
import type { Identity } from '../auth/identity.js';
import type { ApiServices } from '../services.js';
import { badRequest } from './faults.js';

/** Scope id of pushed points that name no scope. Nobody but admins sees them. */
export const UNDEFINED_SCOPE = '__UNDEF__';
/** Each filter is a condition of a statement, whose depth engines limit. */
const MOST_FILTERS = 64;
/** A filter that is no attribute: the metric type. */
const TYPE = 'type';

/**
 * The points that a caller may see and asks for; undefined for somebody without project, who sees none. As in the
 * reference, what others than admins say about the scope is replaced by their own project.
 * @throws Fault 400 when there are too many filters.
 */
export function visiblePoints(
  services: Pick<ApiServices, 'sources'>,
  identity: Identity,
  range: Period,
  filters: ReadonlyMap<string, readonly string[]>,
): PointQuery | undefined {
  const { sources } = services;
  const { isAdmin, projectId } = identity;
  if (!isAdmin && (projectId === undefined || projectId === '' || projectId === UNDEFINED_SCOPE))
    return undefined;
  const scopeKeys = new Set(isAdmin ? [] : sources.map(({ scopeKey }) => scopeKey));
  const attributes: AttributeFilter[] = [];
  for (const [name, values] of filters) {
    if (name !== TYPE && !scopeKeys.has(name)) attributes.push({ name, values, in: 'any' });
  }
  if (attributes.length > MOST_FILTERS) throw badRequest(`At most ${MOST_FILTERS} filters are taken.`);
  return {
    visible: visibleScopes(identity, sources),
    ...range,
    ...(filters.has(TYPE) ? { metrics: filters.get(TYPE)! } : {}),
    ...(attributes.length > 0 ? { filters: attributes } : {}),
  };
}

/** The range of a report: by default the current month of the billing time zone. */
export function reportRange(
  { calendar, clock }: Pick<ApiServices, 'calendar' | 'clock'>,
  begin: Instant | undefined,
  end: Instant | undefined,
): Period {
  if (begin !== undefined && end !== undefined) return { begin, end };
  const month = calendar.slice(Math.floor(clock.now() / 1000), 'month');
  return { begin: begin ?? month.begin, end: end ?? month.end };
}
