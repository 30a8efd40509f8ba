import type { InjectionToken } from 'tsyringe';
import type { Auth } from '../api/auth/create-auth.js';
import type { ApiServer } from '../api/server.js';
import type { ApiServices } from '../api/services.js';
import type { Config } from '../config/config.js';
import type { ClosableDatabase } from '../database/open-database.js';
import type { Budgets } from '../notifications/budgets.js';
import type { Deliverer, NamedNotifier } from '../notifications/deliverer.js';
import type { Outbox } from '../notifications/outbox.js';
import type { Calendar, Clock, Storage } from '../plugin-api/index.js';
import type { Pipeline } from '../processing/pipeline.js';
import type { ProcessingMetrics } from '../processing/processing-metrics.js';
import type { Processor } from '../processing/processor.js';
import type { TrustedTime } from '../processing/trusted-time.js';
import type { ModuleStates } from '../rating/module-states.js';
import type { LoadedModule, RuleSets } from '../rating/rule-sets.js';
import type { Explainer } from '../reporting/explainer.js';
import type { Leases } from '../scopes/leases.js';
import type { ReprocessTasks } from '../scopes/reprocess-tasks.js';
import type { ScopeReset } from '../scopes/scope-reset.js';
import type { ScopeStates } from '../scopes/scope-states.js';
import type { DaemonLogger } from './logger.js';

function token<T>(name: string): InjectionToken<T> {
  return Symbol(name);
}

/** Everything the object graph consists of. A token nobody registered fails with its name. */
export const TOKENS = {
  config: token<Config>('config'),
  logger: token<DaemonLogger>('logger'),
  clock: token<Clock>('clock'),
  calendar: token<Calendar>('calendar'),
  database: token<ClosableDatabase>('database'),
  storage: token<Storage>('storage'),
  modules: token<readonly LoadedModule[]>('rating modules'),
  pipelines: token<readonly Pipeline[]>('pipelines'),
  processingMetrics: token<ProcessingMetrics>('processing metrics'),
  time: token<TrustedTime>('trusted time'),
  states: token<ScopeStates>('scope states'),
  leases: token<Leases>('leases'),
  moduleStates: token<ModuleStates>('module states'),
  rules: token<RuleSets>('rule sets'),
  explainer: token<Explainer>('explainer'),
  reset: token<ScopeReset>('scope reset'),
  outbox: token<Outbox>('outbox'),
  budgets: token<Budgets>('budgets'),
  notifiers: token<readonly NamedNotifier[]>('notifiers'),
  deliverers: token<readonly Deliverer[]>('deliverers'),
  reprocessTasks: token<ReprocessTasks>('reprocessing tasks'),
  processor: token<Processor>('processor'),
  auth: token<Auth>('authentication'),
  apiServices: token<ApiServices>('services of the API'),
  apiServer: token<ApiServer>('API server'),
} as const;
