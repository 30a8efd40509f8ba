import { keystoneShape, upstreamShape } from '../upstream/index.js';

/** Sections under the names that older releases gave them. Source: processor.md §10.2. */
export const SECTION_ALIASES: Readonly<Record<string, string>> = {
  tenant_fetcher: 'fetcher',
  keystone_fetcher: 'fetcher_keystone',
  gnocchi_fetcher: 'fetcher_gnocchi',
  prometheus_fetcher: 'fetcher_prometheus',
  source_fetcher: 'fetcher_source',
  monasca_fetcher: 'fetcher_monasca',
  gnocchi_collector: 'collector_gnocchi',
  prometheus_collector: 'collector_prometheus',
  monasca_collector: 'collector_monasca',
  collector_ceilometer: 'ceilometer_collector',
  hybrid_storage: 'storage_hybrid',
};

/** Options under older names, in the section that they belong to today. */
const OPTION_ALIASES: Readonly<
  Record<string, Readonly<Record<string, readonly [section: string, name: string]>>>
> = {
  DEFAULT: {
    sql_connection: ['database', 'connection'],
    logdir: ['DEFAULT', 'log_dir'],
    logfile: ['DEFAULT', 'log_file'],
    log_config: ['DEFAULT', 'log_config_append'],
    policy_file: ['oslo_policy', 'policy_file'],
    policy_dirs: ['oslo_policy', 'policy_dirs'],
  },
  database: { sql_connection: ['database', 'connection'] },
  orchestrator: { max_greenthreads: ['orchestrator', 'max_threads'] },
  storage_influxdb: { user: ['storage_influxdb', 'username'] },
  keystone_authtoken: { auth_uri: ['keystone_authtoken', 'www_authenticate_uri'] },
};

/** Older names of credentials, in every section that holds some. */
const CREDENTIAL_ALIASES: Readonly<Record<string, string>> = {
  auth_plugin: 'auth_type',
  user: 'username',
  user_name: 'username',
  admin_user: 'username',
  admin_password: 'password',
  admin_tenant_name: 'project_name',
  tenant: 'project_name',
  tenant_name: 'project_name',
  tenant_id: 'project_id',
  region: 'region_name',
  os_region_name: 'region_name',
  url: 'auth_url',
};

/** What identity plugins ask for: what Ratecat logs in with, and defaults for its domains. Source: processor.md §10.1. */
export const CREDENTIALS: readonly string[] = [
  ...Object.keys(keystoneShape).filter(
    (name) => !Object.hasOwn(upstreamShape, name) && !Object.hasOwn(CREDENTIAL_ALIASES, name),
  ),
  'default_domain_id',
  'default_domain_name',
];

/** How a section's requests are made. Never taken from the section that `auth_section` names. */
export const HTTP_OPTIONS = ['cafile', 'certfile', 'keyfile', 'insecure', 'timeout'] as const;

/** Sections that log in to Keystone. */
export const KEYSTONE_SECTIONS = [
  'keystone_authtoken',
  'fetcher_keystone',
  'fetcher_gnocchi',
  'collector_gnocchi',
  'collector_aetos',
  'collector_monasca',
  'fetcher_monasca',
  'ceilometer_collector',
  'storage_gnocchi',
] as const;

/** The name that an option has today. `holdsCredentials`: the section is one of those that log in. */
export function canonicalOption(
  section: string,
  name: string,
  holdsCredentials: (section: string) => boolean,
): readonly [section: string, name: string] {
  const today = SECTION_ALIASES[section] ?? section;
  const moved = Object.hasOwn(OPTION_ALIASES, today) ? OPTION_ALIASES[today] : undefined;
  if (moved !== undefined && Object.hasOwn(moved, name)) return moved[name]!;
  if (holdsCredentials(today) && Object.hasOwn(CREDENTIAL_ALIASES, name))
    return [today, CREDENTIAL_ALIASES[name]!];
  return [today, name];
}
