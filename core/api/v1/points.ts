import type { PointQuery } from '../../plugin-api/index.js';
import { scopesOfProject, visibleScopes } from '../access.js';
import type { Identity } from '../auth/identity.js';
import type { ApiServices } from '../services.js';
import type { V1Call } from './call.js';

/** As asked for: with fractions of seconds. */
export interface AskedRange {
  readonly begin: number;
  readonly end: number;
}

export interface AskedPoints {
  /** Undefined: whatever the caller may see. */
  readonly tenant: string | undefined;
  readonly range: AskedRange;
  readonly metrics: readonly string[] | undefined;
}

/** The arguments `begin` and `end`: by default the current month of the billing time zone. */
export function rangeOf(call: V1Call, { calendar, clock }: ApiServices): AskedRange {
  const [begin, end] = [call.date('begin'), call.date('end')];
  if (begin !== undefined && end !== undefined) return { begin, end };
  const month = calendar.slice(Math.floor(clock.now() / 1000), 'month');
  return { begin: begin ?? month.begin, end: end ?? month.end };
}

/** Points of a tenant, of those that the caller may see: whatever the policy says, nobody but admins sees others. */
export function tenantPoints(
  { sources }: Pick<ApiServices, 'sources'>,
  identity: Identity,
  { tenant, range, metrics }: AskedPoints,
): PointQuery {
  const isOther = tenant !== undefined && tenant !== identity.projectId;
  const visible =
    tenant === undefined
      ? visibleScopes(identity, sources)
      : isOther && !identity.isAdmin
        ? []
        : scopesOfProject(tenant, sources);
  return {
    visible,
    // Usage begins at whole seconds.
    begin: Math.ceil(range.begin),
    end: Math.ceil(range.end),
    ...(metrics === undefined ? {} : { metrics }),
  };
}
