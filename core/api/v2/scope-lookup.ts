import { isRatecatError } from '../../plugin-api/index.js';
import type { ScopeSelection } from '../../scopes/scope-selection.js';
import type { ScopeState, ScopeStates } from '../../scopes/scope-states.js';
import { badRequest } from './faults.js';

/** As callers say it: `active` is a list of numbers, of which only 0 and 1 match anything. */
export interface AskedScopes extends Omit<ScopeSelection, 'active'> {
  readonly active?: readonly number[] | undefined;
}

/** Scopes in order of their creation. @throws Fault 400 when the selection is too long. */
export async function findScopes(
  states: ScopeStates,
  { active, ...selection }: AskedScopes,
  page: { readonly offset?: number; readonly limit?: number } = {},
): Promise<readonly ScopeState[]> {
  const wanted =
    active === undefined ? undefined : [...new Set(active.filter((value) => value === 0 || value === 1))];
  if (wanted?.length === 0) return [];
  try {
    return await states.find(
      wanted?.length === 1 ? { ...selection, active: wanted[0] === 1 } : selection,
      page,
    );
  } catch (error) {
    if (isRatecatError(error) && error.code === 'RATECAT_SELECTION_TOO_LONG') throw badRequest(error.message);
    throw error;
  }
}
