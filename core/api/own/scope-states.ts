import { z } from 'zod';
import type { Instant } from '../../plugin-api/index.js';
import { isoTime } from '../../scopes/iso-time.js';
import type { ScopeState } from '../../scopes/scope-states.js';
import type { ApiServices } from '../services.js';
import { SCOPES_ANSWER } from './answer-schemas.js';
import { type OwnAnswer, type OwnCall, type OwnRoute, ownRoute } from './own-route.js';
import { OFFSET, SELECTION } from './report-query.js';
import { chosenScopes, isVisible } from './visibility.js';

/** How far a scope is behind: due periods (undefined when nobody can say), and since when the oldest of them is due. */
export type LagOf = (
  state: ScopeState,
  now: Instant,
) => { readonly periods: number | undefined; readonly seconds: number };

const QUERY = z.strictObject({
  scope: SELECTION.scope,
  source: z.string().max(255).optional().describe('Scopes of this pipeline only.'),
  condition: z.enum(['active', 'stuck', 'gone']).optional().describe('Scopes in this condition only.'),
  offset: OFFSET,
  limit: z.int().min(1).max(10_000).default(1000).describe('At most so many scopes.'),
});

/** Up to when each scope is rated, and what went wrong last. */
export class ScopeList {
  readonly #services: ApiServices;
  readonly #lagOf: LagOf;

  constructor(services: ApiServices, lagOf: LagOf) {
    this.#services = services;
    this.#lagOf = lagOf;
  }

  get routes(): readonly OwnRoute[] {
    return [
      ownRoute({
        method: 'GET',
        path: '/scopes',
        summary: 'How far each scope is rated',
        description:
          'Up to when each scope is rated, how far it is behind, and what went wrong last. Messages may name upstream ' +
          'services and hosts: only administrators get them.',
        rule: 'summary:get_summary',
        query: QUERY,
        answer: SCOPES_ANSWER,
        handle: (call) => this.#list(call),
      }),
    ];
  }

  async #list({ query, identity }: OwnCall<z.output<typeof QUERY>>): Promise<OwnAnswer> {
    const { scope, source, condition, offset, limit } = query;
    const visible = chosenScopes(identity, this.#services, scope);
    const states = (await this.#services.states.list(source)).filter(
      (state) => isVisible(visible, state) && (condition === undefined || state.condition === condition),
    );
    const now = Math.floor(this.#services.clock.now() / 1000);
    const page = states.slice(offset, offset + limit);
    return JSON.stringify({
      scopes: page.map((state) => this.#scopeJson(state, now, identity.isAdmin)),
      next_offset: offset + limit < states.length ? offset + limit : null,
    });
  }

  #scopeJson(state: ScopeState, now: Instant, isAdmin: boolean) {
    const lag = this.#lagOf(state, now);
    const instant = (value: Instant | undefined) => (value === undefined ? null : isoTime(value));
    return {
      source: state.source,
      scope_key: state.scope.key,
      scope: state.scope.id,
      name: state.scope.name ?? null,
      condition: state.condition,
      active: state.active,
      rated_up_to: instant(state.watermark),
      periods_behind: lag.periods ?? null,
      seconds_behind: lag.seconds,
      failures: state.failures,
      last_error_at: instant(state.lastErrorAt),
      retry_at: instant(state.retryAt),
      first_seen: isoTime(state.firstSeen),
      missing_since: instant(state.missingSince),
      last_error: isAdmin ? (state.reason ?? null) : null,
      owner: isAdmin ? (state.owner ?? null) : null,
    };
  }
}
