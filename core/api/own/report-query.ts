import { DateTime } from 'luxon';
import { z } from 'zod';
import type { AttributeFilter, Calendar, Instant, Period, PointQuery } from '../../plugin-api/index.js';
import { isoTime } from '../../scopes/iso-time.js';
import type { Identity } from '../auth/identity.js';
import type { ApiServices } from '../services.js';
import { invalid } from './own-fault.js';
import { chosenScopes } from './visibility.js';

/** 9999-12-31T23:59:59Z */
const LAST_INSTANT = 253_402_300_799;

const time = z.string().max(64);
const texts = z.array(z.string().max(255)).max(100);

/** Parameters that choose what a report looks at. */
export const SELECTION = {
  begin: time
    .optional()
    .describe(
      'From this instant on: 2026-01, 2026-01-31, 2026-01-31T12:00:00, 2026-01-31T12:00:00Z. Without offset: in the ' +
        'billing time zone. A period belongs to the report when it begins in the range. Default: begin of the month.',
    ),
  end: time.optional().describe('Up to, not including, this instant. Default: the end of the month.'),
  scope: texts
    .optional()
    .describe('Scopes with these ids only; may be repeated. Default: all that you may see.'),
  metric: texts.optional().describe('These metrics only; may be repeated.'),
  filter: z
    .array(
      z
        .string()
        .max(2000)
        .regex(/^[^=]+=/, { error: 'must be NAME=VALUE, such as flavor=m1.small' }),
    )
    .max(64)
    .optional()
    .describe(
      'NAME=VALUE: points with this attribute only. Values of one name are alternatives; different names all have to match.',
    ),
};

export const OFFSET = z
  .int()
  .min(0)
  .max(Number.MAX_SAFE_INTEGER)
  .default(0)
  .describe('Leave out so many first: next_offset of the page before.');

type Selection = z.output<ReturnType<typeof selectionSchema>>;

function selectionSchema() {
  return z.strictObject(SELECTION);
}

/** The points that a caller asks for and may see. @throws OwnFault 400 */
export function pointQuery(services: ApiServices, identity: Identity, selection: Selection): PointQuery {
  const { scope, metric, filter } = selection;
  return {
    ...chosenRange(services, selection),
    visible: chosenScopes(identity, services, scope),
    ...(metric === undefined ? {} : { metrics: metric }),
    ...(filter === undefined ? {} : { filters: attributeFilters(filter) }),
  };
}

/** The range of a report; what is left open is the current month. @throws OwnFault 400 */
function chosenRange(
  { calendar, clock }: Pick<ApiServices, 'calendar' | 'clock'>,
  { begin, end }: Pick<Selection, 'begin' | 'end'>,
): Period {
  const now = Math.floor(clock.now() / 1000);
  const last = end === undefined ? undefined : readInstant('end', end, calendar);
  const month = calendar.slice(last === undefined ? now : Math.max(0, Math.min(now, last - 1)), 'month');
  const range = {
    begin: begin === undefined ? month.begin : readInstant('begin', begin, calendar),
    end: last ?? Math.max(month.end, now + 1),
  };
  if (range.begin < range.end) return range;
  throw invalid(
    `The range is empty: it begins at ${isoTime(range.begin)} and ends at ${isoTime(range.end)}.`,
  );
}

/** Instants without an offset are meant in the billing time zone. @throws OwnFault 400 */
export function readInstant(name: string, text: string, { timeZone }: Calendar): Instant {
  const parsed = DateTime.fromISO(text, { zone: timeZone });
  const seconds = parsed.isValid ? parsed.toSeconds() : Number.NaN;
  if (Number.isSafeInteger(seconds) && seconds >= 0 && seconds <= LAST_INSTANT) return seconds;
  throw invalid(
    `Parameter '${name}': '${text}' is not a time in whole seconds. Write 2026-01-31, 2026-01-31T12:00:00 (${timeZone}) ` +
      'or 2026-01-31T12:00:00Z.',
  );
}

function attributeFilters(texts: readonly string[]): readonly AttributeFilter[] {
  const values = new Map<string, string[]>();
  for (const text of texts) {
    const place = text.indexOf('=');
    const [name, value] = [text.slice(0, place), text.slice(place + 1)];
    const known = values.get(name);
    if (known === undefined) values.set(name, [value]);
    else known.push(value);
  }
  return [...values].map(([name, of]) => ({ name, values: of, in: 'any' }));
}
