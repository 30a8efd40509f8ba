import type { AttributeFilter, Instant, Period, PointQuery } from '../../plugin-api/index.js';
import { visibleScopes } from '../access.js';
import type { Identity } from '../auth/identity.js';
import type { ApiServices } from '../services.js';
import { CALENDAR_NAMES, type CalendarCondition, matchingSlices } from './calendar-slices.js';
import { badRequest } from './faults.js';

/** Scope id of pushed points that name no scope. Nobody but admins sees them. */
export const UNDEFINED_SCOPE = '__UNDEF__';
/** Each filter is a condition of a statement, whose depth engines limit. */
const MOST_FILTERS = 64;
/** A filter that is no attribute: the metric type. */
const TYPE = 'type';

type Filters = ReadonlyMap<string, readonly string[]>;

/**
 * The points that a caller may see and asks for, as queries whose ranges follow each other: more than one, or none, where
 * filters name parts of the date. Undefined for somebody without project, who sees nothing. As in the reference, what others
 * than admins say about the scope is replaced by their own project.
 * @throws Fault 400 when there are too many filters, or too long a range for filters by date.
 */
export function visiblePoints(
  services: Pick<ApiServices, 'sources' | 'calendar'>,
  identity: Identity,
  range: Period,
  filters: Filters,
): readonly PointQuery[] | undefined {
  const { sources, calendar } = services;
  const { isAdmin, projectId } = identity;
  if (!isAdmin && (projectId === undefined || projectId === '' || projectId === UNDEFINED_SCOPE))
    return undefined;
  const scopeKeys = new Set(isAdmin ? [] : sources.map(({ scopeKey }) => scopeKey));
  const attributes: AttributeFilter[] = [];
  for (const [name, values] of filters) {
    if (name === TYPE || scopeKeys.has(name) || CALENDAR_NAMES.has(name)) continue;
    attributes.push({ name, values, in: 'any' });
  }
  if (attributes.length > MOST_FILTERS) throw badRequest(`At most ${MOST_FILTERS} filters are taken.`);
  const points = {
    visible: visibleScopes(identity, sources),
    ...(filters.has(TYPE) ? { metrics: filters.get(TYPE)! } : {}),
    ...(attributes.length > 0 ? { filters: attributes } : {}),
  };
  return matchingSlices(calendar, range, calendarConditions(filters)).map((slice) => ({
    ...points,
    ...slice,
  }));
}

/** The calendar answers for every point, as it does when they are grouped: pushed ones mostly lack the attributes. */
function calendarConditions(filters: Filters): readonly CalendarCondition[] {
  return [...filters].flatMap(([name, values]) => {
    const unit = CALENDAR_NAMES.get(name)?.unit;
    return unit === undefined ? [] : [{ unit, values: new Set(values) }];
  });
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
