import type { Calendar, Clock, Logger, SqlDatabase, Storage } from '../plugin-api/index.js';
import type { ModuleStates } from '../rating/module-states.js';
import type { LoadedModule, RuleSets } from '../rating/rule-sets.js';
import type { Explainer } from '../reporting/explainer.js';
import type { ReprocessRegister } from '../scopes/reprocess-tasks.js';
import type { ScopeReset } from '../scopes/scope-reset.js';
import type { ScopeStates } from '../scopes/scope-states.js';
import type { Policy } from './auth/policy.js';

/** What the API needs to know about a pipeline. */
export interface SourceFacts {
  readonly name: string;
  readonly scopeKey: string;
  readonly periodSeconds: number;
  readonly fetcher: string;
  readonly collector: string;
  readonly metricsFile: string;
}

/** What the parts of the API work with. */
export interface ApiServices {
  readonly compat: 'strict' | 'fixed';
  readonly database: SqlDatabase;
  readonly storage: Storage;
  readonly calendar: Calendar;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly states: ScopeStates;
  readonly moduleStates: ModuleStates;
  readonly modules: readonly LoadedModule[];
  readonly rules: RuleSets;
  readonly explainer: Explainer;
  readonly reset: ScopeReset;
  readonly reprocessTasks: ReprocessRegister;
  readonly policy: Policy;
  /** The pipelines of the configuration, in its order. The first one is the one that the reference's API speaks of. */
  readonly sources: readonly SourceFacts[];
}
