import { importCredentials, importTls, importUrlWithUser } from './import-keystone.js';
import { credentialsFor } from './import-service.js';
import { type ConfigNode, type ImportSession, listOf } from './import-session.js';
import type { Setting } from './oslo-config.js';

const COLLECT = ['collect'];
const FETCHER = ['fetcher', 'options'];
const COLLECTOR = ['collector', 'options'];
const FETCHERS = 'keystone, gnocchi, prometheus or source';

/** Old names of collectors that no release has any more, and what takes their place. */
const GONE: Readonly<Record<string, string>> = {
  aetos:
    'Aetos guards a Prometheus: set collector = prometheus and [collector_prometheus] prometheus_url to the Prometheus itself',
  monasca:
    'Monasca is no longer developed: set collector to gnocchi or prometheus, where the measures are today',
  meta: 'set one collector; several sources become several pipelines of the result',
  fake: 'it was for tests: set collector to gnocchi or prometheus',
};

/** What the metrics file depends on. */
export interface CollectFacts {
  readonly collector: CollectorName;
  readonly periodSeconds: number;
}

const COLLECTORS = ['gnocchi', 'prometheus', 'ceilometer'] as const;
type CollectorName = (typeof COLLECTORS)[number];

export interface CollectOverrides {
  readonly collector?: string | undefined;
  readonly period?: number | undefined;
  readonly waitPeriods?: number | undefined;
}

/** Pipeline, fetcher and collector. */
export function importSources(
  session: ImportSession,
  name: string,
  overrides: CollectOverrides,
  checkExpression: (text: string) => string | undefined,
): CollectFacts {
  session.set(['name'], name);
  const periodSeconds = importCollect(session, overrides);
  importSkipExpression(session, checkExpression);
  importFetcher(session);
  return { collector: importCollector(session, overrides), periodSeconds };
}

function importCollect(session: ImportSession, overrides: CollectOverrides): number {
  const period = { least: 1, most: 31 * 86_400, beyond: 'refuse' } as const;
  const waiting = { least: 0, most: 10_000, beyond: 'refuse' } as const;
  session.set([...COLLECT, 'period'], 3600);
  const written = session.whole('collect', 'period', [...COLLECT, 'period'], period) ?? 3600;
  session.whole('collect', 'wait_periods', [...COLLECT, 'wait_periods'], waiting);
  if (overrides.period !== undefined) session.set([...COLLECT, 'period'], overrides.period);
  if (overrides.waitPeriods !== undefined) session.set([...COLLECT, 'wait_periods'], overrides.waitPeriods);
  session.text('collect', 'scope_key', [...COLLECT, 'scope_key']);
  return overrides.period ?? written;
}

/** `False` is CloudKitty's way to say that nothing is skipped. */
function importSkipExpression(session: ImportSession, check: (text: string) => string | undefined): void {
  const setting = session.config.find('orchestrator', 'skip_datapoints_expression');
  if (setting === undefined) return;
  if (setting.text === 'False') {
    session.ignored(setting, 'nothing is skipped, as by default');
    return;
  }
  const fault = check(setting.text);
  if (fault === undefined) {
    session.text('orchestrator', 'skip_datapoints_expression', [...COLLECT, 'skip_datapoints_expression']);
    return;
  }
  session.warn(
    setting,
    `no point is skipped: ${fault}`,
    'write it with comparisons of quantity, price and attributes',
  );
  session.ignored(setting, 'Ratecat does not run Python; see the warning');
}

function importFetcher(session: ImportSession): void {
  const setting = session.config.find('fetcher', 'backend');
  const backend = setting?.text ?? 'keystone';
  const importers: Readonly<Record<string, () => void>> = {
    keystone: () => importKeystoneFetcher(session),
    gnocchi: () => importGnocchiFetcher(session),
    prometheus: () => importPrometheusFetcher(session),
    source: () => importSourceFetcher(session),
  };
  if (!Object.hasOwn(importers, backend)) {
    session.problem(setting!, `Ratecat has no fetcher '${backend.slice(0, 60)}'`, `set it to ${FETCHERS}`);
    return;
  }
  session.set(['fetcher', 'plugin'], backend);
  if (setting !== undefined) session.used(setting, ['fetcher', 'plugin']);
  importers[backend]!();
}

function importKeystoneFetcher(session: ImportSession): void {
  const section = 'fetcher_keystone';
  importCredentials(session, section, FETCHER, credentialsFor(session, section, 'the fetcher'));
  const version = session.config.find(section, 'keystone_version');
  if (version !== undefined && !/^3/.test(version.text)) {
    session.warn(version, 'the identity API v2.0 no longer exists, version 3 is used');
    session.ignored(version, 'version 3 is used');
  } else session.ignored(version, 'version 3 is the only one');
  for (const name of ['ignore_rating_role', 'ignore_disabled_tenants']) {
    session.boolean(section, name, [...FETCHER, name]);
  }
  for (const name of ['interface', 'region_name']) session.text(section, name, [...FETCHER, name]);
}

function importGnocchiFetcher(session: ImportSession): void {
  const section = 'fetcher_gnocchi';
  importGnocchi(session, section, FETCHER);
  session.text(section, 'scope_attribute', [...FETCHER, 'scope_attribute']);
  session.list(section, 'resource_types', [...FETCHER, 'resource_types']);
}

function importSourceFetcher(session: ImportSession): void {
  const sources = session.list('fetcher_source', 'sources', [...FETCHER, 'sources']);
  if (sources === undefined)
    session.advice.push('[fetcher_source] names no sources: write the scopes into the result.');
}

function importPrometheusFetcher(session: ImportSession): void {
  const section = 'fetcher_prometheus';
  importPrometheus(session, section, FETCHER);
  session.text(section, 'metric', [...FETCHER, 'metric']);
  session.text(section, 'scope_attribute', [...FETCHER, 'scope_attribute']);
  const setting = session.config.find(section, 'filters');
  if (setting === undefined) return;
  const filters = dictionaryOf(setting);
  if (filters === undefined) session.problem(setting, 'must be a list of label:value, separated by commas');
  else {
    session.set([...FETCHER, 'filters'], filters);
    session.used(setting, [...FETCHER, 'filters']);
  }
}

/** `k:v,k:v`; a value may hold colons. */
function dictionaryOf(setting: Setting): ConfigNode | undefined {
  const pairs = listOf(setting.text.replace(/^\{([\s\S]*)\}$/, '$1')).map((item) =>
    /^([^:]+):(.*)$/s.exec(item),
  );
  if (pairs.includes(null)) return undefined;
  return Object.fromEntries(
    pairs.map((pair) => [pair![1]!.trim(), pair![2]!.trim().replace(/^(["'])(.*)\1$/, '$2')]),
  );
}

function importCollector(session: ImportSession, overrides: CollectOverrides): CollectorName {
  const setting = session.config.find('collect', 'collector');
  const backend = overrides.collector ?? setting?.text ?? 'gnocchi';
  const collector = COLLECTORS.find((name) => name === backend);
  if (overrides.collector !== undefined) session.ignored(setting, 'the metrics file names the collector');
  else if (setting !== undefined && collector !== undefined) session.used(setting, ['collector', 'plugin']);
  if (collector === undefined) {
    // What the metrics file names is refused where that file is converted.
    if (overrides.collector === undefined) refuseCollector(session, setting!, backend);
    return 'gnocchi';
  }
  session.set(['collector', 'plugin'], collector);
  if (collector === 'prometheus') importPrometheus(session, 'collector_prometheus', COLLECTOR);
  else if (collector === 'gnocchi') importGnocchi(session, 'collector_gnocchi', COLLECTOR);
  else importCeilometer(session, setting);
  return collector;
}

function refuseCollector(session: ImportSession, setting: Setting, backend: string): void {
  const hint = Object.hasOwn(GONE, backend) ? GONE[backend] : `set it to ${COLLECTORS.join(', ')}`;
  session.problem(setting, `Ratecat has no collector '${backend.slice(0, 60)}'`, hint);
}

function importCeilometer(session: ImportSession, setting: Setting | undefined): void {
  const section = 'ceilometer_collector';
  const login = credentialsFor(session, section, 'the collector');
  importCredentials(session, section, COLLECTOR, login);
  for (const name of ['interface', 'region_name']) session.text(section, name, [...COLLECTOR, name]);
  const message = 'the API of Ceilometer that this asks was removed from OpenStack at the end of 2017';
  const hint = 'for a newer cloud write collector = gnocchi and import again';
  if (setting === undefined) session.advice.push(`collector: ${message}; ${hint}.`);
  else session.warn(setting, message, hint);
}

function importGnocchi(session: ImportSession, section: string, target: readonly string[]): void {
  const basic = session.config.find(section, 'gnocchi_auth_type')?.text === 'basic';
  if (basic) {
    importTls(session, section, target);
    session.seconds(section, 'timeout', [...target, 'timeout']);
  } else
    importCredentials(
      session,
      section,
      target,
      credentialsFor(session, section, section === 'fetcher_gnocchi' ? 'the fetcher' : 'the collector'),
    );
  for (const name of ['gnocchi_auth_type', 'gnocchi_user', 'gnocchi_endpoint', 'region_name', 'interface']) {
    session.text(section, name, [...target, name]);
  }
  session.whole(section, 'http_pool_maxsize', [...target, 'http_pool_maxsize'], {
    least: 1,
    most: 10_000,
    beyond: 'take nearest',
  });
}

function importPrometheus(session: ImportSession, section: string, target: readonly string[]): void {
  const url = session.config.find(section, 'prometheus_url');
  const [user, password] = [
    [...target, 'prometheus_user'],
    [...target, 'prometheus_password'],
  ];
  if (url === undefined) session.advice.push(`[${section}] has no prometheus_url: write it into the result.`);
  else importUrlWithUser(session, url, { url: [...target, 'prometheus_url'], user, password });
  session.text(section, 'prometheus_user', user);
  session.text(section, 'prometheus_password', password);
  importTls(session, section, target);
  session.seconds(section, 'timeout', [...target, 'timeout']);
}
