import { Summaries, type SummaryKey, type SummaryRow } from '../../reporting/summaries.js';
import type { ApiRequest, ApiResponse } from '../exchange.js';
import type { PythonValue } from '../python-json.js';
import type { ApiServices } from '../services.js';
import { CALENDAR_NAMES } from './calendar-slices.js';
import { customColumns, DEFAULT_COLUMNS, type ReportRow, type SummaryColumn } from './custom-fields.js';
import { authorize, type Endpoint, ownProject } from './endpoint.js';
import { readExtremes } from './extremes.js';
import { badRequest, jsonAnswer } from './faults.js';
import { offsetTime } from './iso-time.js';
import { date, multi, multiFilters, PAGINATION, single, text } from './query-values.js';
import { rowName, type SlicedSummary, summaryRows } from './summary-rows.js';
import { optional, readQuery, withDefault } from './validation.js';
import { reportRange, visiblePoints } from './visible-points.js';

const QUERY = {
  fields: {
    ...PAGINATION,
    begin: optional(single(date)),
    end: optional(single(date)),
    groupby: withDefault(multi(text), []),
    filters: withDefault(multiFilters, new Map<string, readonly string[]>()),
    custom_fields: optional(single(text)),
    response_format: withDefault(single(text), 'table'),
  },
};

/** Sums in the form of the reference; more group-by keys than this are a mistake. */
const MOST_KEYS = 32;

interface Grouping {
  /** Names of columns and what they group by. */
  readonly keys: ReadonlyMap<string, SummaryKey>;
  readonly byPeriod: boolean;
}

/** `GET /v2/summary`: sums by attribute and time. */
export class Summary {
  readonly #services: ApiServices;
  readonly #summaries: Summaries;

  constructor(services: ApiServices) {
    this.#services = services;
    this.#summaries = new Summaries(services.storage, services.calendar);
  }

  get endpoints(): readonly Endpoint[] {
    return [{ pattern: '/v2/summary', methods: { GET: (request) => this.#get(request) } }];
  }

  async #get(request: ApiRequest): Promise<ApiResponse> {
    const query = readQuery(request, QUERY);
    const { identity, signal } = request;
    authorize(this.#services, 'summary:get_summary', identity, ownProject(identity));
    const isTable = isTableFormat(query.response_format);
    const { keys, byPeriod } = this.#grouping(query.groupby);
    const columns = query.custom_fields === undefined ? DEFAULT_COLUMNS : customColumns(query.custom_fields);
    const range = reportRange(this.#services, query.begin, query.end);
    const queries = visiblePoints(this.#services, identity, range, query.filters);
    if (queries === undefined) return jsonAnswer({ total: 0, columns: [], results: [] });
    const { offset, limit } = query;
    const asked = { queries, range, keys: [...keys.values()], byPeriod, offset, limit };
    const page = await summaryRows(this.#summaries, asked, signal);
    const needsExtremes = columns.some((column) => column.needsExtremes);
    const rows = needsExtremes ? await this.#withExtremes(page.rows, asked, signal) : page.rows;
    return jsonAnswer(summaryBody({ total: page.total, rows }, columns, [...keys.keys()], isTable));
  }

  async #withExtremes(
    rows: readonly SummaryRow[],
    asked: SlicedSummary,
    signal: AbortSignal,
  ): Promise<readonly ReportRow[]> {
    if (rows.length === 0) return rows;
    const extremes = await readExtremes(this.#services, asked, signal);
    return rows.map((row) => {
      const name = rowName(row.group, asked.byPeriod ? row.begin : undefined);
      return { ...row, extremes: extremes.get(name) };
    });
  }

  /** @throws Fault 400 */
  #grouping(elements: readonly string[]): Grouping {
    const keys = new Map<string, SummaryKey>();
    for (const element of elements) {
      if (element === 'time') continue;
      const calendar = CALENDAR_NAMES.get(element);
      if (calendar !== undefined) keys.set(calendar.attribute, { kind: 'calendar', unit: calendar.unit });
      else if (element === 'type') keys.set(element, { kind: 'type' });
      else if (element.includes('time') && element.split('-').length === 2) {
        throw badRequest(`Invalid groupby time option. There is no groupby processing for [${element}].`);
      } else keys.set(element, { kind: 'attribute', name: element });
    }
    if (keys.size > MOST_KEYS) throw badRequest(`At most ${MOST_KEYS} groupby keys are taken.`);
    const byPeriod = elements.includes('time');
    const missing = this.#summaries.missingUnits({ keys: [...keys.values()], byPeriod });
    if (missing.length > 0) throw badRequest(`The storage cannot group by ${missing.join(', ')}.`);
    return { keys, byPeriod };
  }
}

/** @throws Fault 400 */
function isTableFormat(format: string): boolean {
  if (format !== 'table' && format !== 'object') {
    throw badRequest(`Invalid response format [${format.slice(0, 80)}]. Supported are ['table', 'object'].`);
  }
  return format === 'table';
}

function summaryBody(
  { total, rows }: { readonly total: number; readonly rows: readonly ReportRow[] },
  columns: readonly SummaryColumn[],
  keys: readonly string[],
  isTable: boolean,
): PythonValue {
  const results = rows.map((row) => {
    const result = new Map<string, PythonValue>([
      ['begin', offsetTime(row.begin)],
      ['end', offsetTime(row.end)],
    ]);
    for (const column of columns) result.set(column.name, column.value(row));
    // An attribute named like a column takes its place, as in the reference.
    for (const [place, key] of keys.entries()) result.set(key, row.group[place]);
    return result;
  });
  if (!isTable) return { total, results, format: 'object' };
  const names = results[0] === undefined ? [] : [...results[0].keys()];
  return { total, columns: names, results: results.map((result) => [...result.values()]), format: 'table' };
}
