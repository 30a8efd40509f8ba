import { DataError, type SqlValue } from '../plugin-api/index.js';

/** Conditions on scopes; what is absent does not matter, an empty list matches nothing. */
export interface ScopeSelection {
  readonly ids?: readonly string[] | undefined;
  readonly keys?: readonly string[] | undefined;
  readonly sources?: readonly string[] | undefined;
  readonly fetchers?: readonly string[] | undefined;
  readonly collectors?: readonly string[] | undefined;
  readonly active?: boolean | undefined;
}

/** Values of one condition; statements have a limited number of parameters. */
const MAX_VALUES = 1000;

export function selectionConditions({ ids, keys, sources, fetchers, collectors, active }: ScopeSelection): {
  readonly where: string;
  readonly parameters: readonly SqlValue[];
} {
  const lists = [
    ['scope_id', ids],
    ['scope_key', keys],
    ['source', sources],
    ['fetcher', fetchers],
    ['collector', collectors],
    ['active', active === undefined ? undefined : [active ? 1 : 0]],
  ] as const;
  const terms: string[] = [];
  const parameters: SqlValue[] = [];
  for (const [column, values] of lists) {
    if (values === undefined) continue;
    const distinct = [...new Set<SqlValue>(values)];
    if (distinct.length > MAX_VALUES) {
      throw new DataError(
        'RATECAT_SELECTION_TOO_LONG',
        `A selection of scopes names ${distinct.length} values of ${column}; at most ${MAX_VALUES} are taken at once.`,
      );
    }
    terms.push(`${column} IN (${distinct.length === 0 ? 'NULL' : distinct.map(() => '?').join(', ')})`);
    parameters.push(...distinct);
  }
  return { where: terms.length === 0 ? '' : `WHERE ${terms.join(' AND ')}`, parameters };
}
