import { isSecretName } from '../config/secret-names.js';
import { CREDENTIALS, HTTP_OPTIONS } from './option-names.js';

const BROKER = 'Ratecat needs no message broker';
const LOG_FILE = 'Ratecat logs to stderr, and the service manager keeps the log';
const LOG_FORMAT = 'the lines of the log have one form; log.format is text or json';
const POOL = 'the pool of database connections looks after itself';
const TOKEN_CACHE = 'tokens are cached in the process, no memcached is needed';
const MIDDLEWARE = 'left over from the token middleware of old releases';
const WRITER =
  'CloudKitty removed the file writer; `ratecat dataframes` and `ratecat summary` write CSV and JSON';
const HISTORY =
  'Ratecat keeps rated data in its own tables of the database; what CloudKitty stored stays where it is';
const INFLUXDB_2 = 'CloudKitty reads it with InfluxDB 2 only';
const UNUSED = 'CloudKitty does not use it either';
const SAME_PROCESSES = 'reprocessing is done by the processes of processor.workers';
const LOCKS = 'locks are leases in the database, no lock service is needed';
const ENDPOINT = 'each section with auth_section says itself which endpoint it wants';
const REPORTS = 'has no meaning in Ratecat';

/** Options that have no counterpart, and why. `*` stands for every option of a section. Source: field.md §2.2. */
const WITHOUT_COUNTERPART: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  DEFAULT: {
    verbose: 'information is logged anyway; debug = true raises it',
    log_dir: LOG_FILE,
    log_file: LOG_FILE,
    use_stderr: LOG_FILE,
    use_journal: LOG_FILE,
    use_syslog: LOG_FILE,
    use_eventlog: LOG_FILE,
    syslog_log_facility: LOG_FILE,
    watch_log_file: LOG_FILE,
    log_rotation_type: LOG_FILE,
    log_rotate_interval: LOG_FILE,
    log_rotate_interval_type: LOG_FILE,
    max_logfile_count: LOG_FILE,
    max_logfile_size_mb: LOG_FILE,
    log_config_append: 'Ratecat has log.level and log.format instead of a file for loggers',
    log_date_format: LOG_FORMAT,
    log_format: LOG_FORMAT,
    log_color: LOG_FORMAT,
    default_log_levels: 'there is one level, log.level',
    logging_context_format_string: LOG_FORMAT,
    logging_default_format_string: LOG_FORMAT,
    logging_debug_format_suffix: LOG_FORMAT,
    logging_exception_prefix: LOG_FORMAT,
    logging_user_identity_format: LOG_FORMAT,
    instance_format: LOG_FORMAT,
    instance_uuid_format: LOG_FORMAT,
    publish_errors: LOG_FORMAT,
    fatal_deprecations: LOG_FORMAT,
    rate_limit_interval: LOG_FORMAT,
    rate_limit_burst: LOG_FORMAT,
    rate_limit_except_level: LOG_FORMAT,
    log_options: '`ratecat config check --print` shows what is in effect',
    transport_url: BROKER,
    control_exchange: BROKER,
    rpc_response_timeout: BROKER,
    rpc_backend: BROKER,
    rpc_thread_pool_size: BROKER,
    executor_thread_pool_size: BROKER,
    notification_topics: BROKER,
    notification_driver: BROKER,
    rabbit_host: BROKER,
    rabbit_hosts: BROKER,
    rabbit_port: BROKER,
    rabbit_userid: BROKER,
    rabbit_password: BROKER,
    rabbit_virtual_host: BROKER,
    api_paste_config: 'there is no pipeline of filters; their options are part of api',
    host: 'each process names itself after its host',
    backdoor_port: REPORTS,
    backdoor_socket: REPORTS,
    run_external_periodic_tasks: REPORTS,
  },
  api: { pecan_debug: 'errors are logged, never shown to callers' },
  database: {
    max_retries: 'a database that is away is tried again for as long as it takes',
    retry_interval: 'a database that is away is tried again for as long as it takes',
    db_max_retries: 'a database that is away is tried again for as long as it takes',
    db_retry_interval: 'a database that is away is tried again for as long as it takes',
    db_inc_retry_interval: 'a database that is away is tried again for as long as it takes',
    db_max_retry_interval: 'a database that is away is tried again for as long as it takes',
    use_db_reconnect: 'a database that is away is tried again for as long as it takes',
    min_pool_size: POOL,
    max_pool_size: POOL,
    max_overflow: POOL,
    pool_timeout: POOL,
    connection_recycle_time: POOL,
    idle_timeout: POOL,
    connection_debug: POOL,
    connection_trace: POOL,
    connection_parameters: 'write parameters into database.url',
    mysql_enable_ndb: 'NDB is not supported',
    mysql_sql_mode: 'Ratecat sets what it needs',
    mysql_wsrep_sync_wait: 'Ratecat sets what it needs',
    sqlite_synchronous: 'Ratecat sets what it needs',
    slave_connection: 'reports read from the same database',
    backend: 'the URL says which engine it is',
    use_tpool: POOL,
  },
  keystone_authtoken: {
    identity_uri: MIDDLEWARE,
    auth_host: MIDDLEWARE,
    auth_port: MIDDLEWARE,
    auth_protocol: MIDDLEWARE,
    auth_version: MIDDLEWARE,
    auth_admin_prefix: MIDDLEWARE,
    admin_token: 'Ratecat logs in as a user',
    signing_dir: MIDDLEWARE,
    check_revocations_for_cached: MIDDLEWARE,
    revocation_cache_time: MIDDLEWARE,
    hash_algorithms: MIDDLEWARE,
    enforce_token_bind: MIDDLEWARE,
    cache: TOKEN_CACHE,
    memcached_servers: TOKEN_CACHE,
    memcache_servers: TOKEN_CACHE,
    memcache_security_strategy: TOKEN_CACHE,
    memcache_secret_key: TOKEN_CACHE,
    memcache_use_advanced_pool: TOKEN_CACHE,
    memcache_pool_dead_retry: TOKEN_CACHE,
    memcache_pool_maxsize: TOKEN_CACHE,
    memcache_pool_socket_timeout: TOKEN_CACHE,
    memcache_pool_unused_timeout: TOKEN_CACHE,
    memcache_pool_conn_get_timeout: TOKEN_CACHE,
    memcache_password: TOKEN_CACHE,
    memcache_username: TOKEN_CACHE,
    memcache_sasl_enabled: TOKEN_CACHE,
    memcache_tls_enabled: TOKEN_CACHE,
    delay_auth_decision: 'each path of the API knows whether it asks for a token',
    include_service_catalog: 'the catalogue of callers is not needed',
    http_request_max_retries: 'a request that may be repeated is repeated once',
  },
  fetcher_gnocchi: { since_days_ago: 'every resource of the types is looked at' },
  collect: { window: UNUSED },
  orchestrator: {
    coordination_url: LOCKS,
    max_workers_reprocessing: SAME_PROCESSES,
  },
  storage: { retention_period: UNUSED },
  oslo_policy: {
    policy_default_rule: 'a path without a rule is refused',
    enforce_scope: 'tokens of projects count, as in CloudKitty',
    enforce_new_defaults: "CloudKitty's defaults are the new ones",
    remote_content_type: 'rules are read from files',
    remote_ssl_verify_server_crt: 'rules are read from files',
    remote_ssl_ca_crt_file: 'rules are read from files',
    remote_ssl_client_crt_file: 'rules are read from files',
    remote_ssl_client_key_file: 'rules are read from files',
    remote_timeout: 'rules are read from files',
  },
  oslo_middleware: { secure_proxy_ssl_header: 'the header X-Forwarded-Proto is known' },
  healthcheck: {
    path: 'the path is /healthcheck',
    detailed: '/healthcheck answers in one way',
    backends: '/healthcheck looks at its own file',
    disable_by_file_paths: 'one file is known: disable_by_file_path',
    allowed_source_ranges: '/healthcheck answers everybody',
    ignore_proxied_requests: '/healthcheck answers everybody',
    enable_by_file_paths: 'one file is known: disable_by_file_path',
  },
  cors: {
    expose_headers: 'headers and methods follow from the API',
    allow_methods: 'headers and methods follow from the API',
    allow_headers: 'headers and methods follow from the API',
  },
  oslo_concurrency: { lock_path: LOCKS, disable_process_locking: LOCKS },
  oslo_messaging_rabbit: { '*': BROKER },
  oslo_messaging_notifications: { '*': BROKER },
  oslo_messaging_amqp: { '*': BROKER },
  oslo_messaging_kafka: { '*': BROKER },
  oslo_messaging_zmq: { '*': BROKER },
  matchmaker_redis: { '*': BROKER },
  matchmaker_ring: { '*': BROKER },
  oslo_versionedobjects: { '*': REPORTS },
  oslo_reports: { '*': REPORTS },
  profiler: { '*': REPORTS },
  ssl: { '*': 'set api.tls where Ratecat itself shall serve https' },
  storage_influxdb: {
    url: INFLUXDB_2,
    token: INFLUXDB_2,
    org: INFLUXDB_2,
    bucket: INFLUXDB_2,
    query_timeout: INFLUXDB_2,
    timeout: INFLUXDB_2,
  },
  storage_loki: {
    buffer_size: 'a period is pushed whole',
    content_type: 'Ratecat pushes JSON, the only type that CloudKitty takes too',
    use_structured_metadata: 'queries ask for labels and lines alone',
  },
  storage_gnocchi: { '*': HISTORY },
  storage_hybrid: { '*': HISTORY },
  output: { '*': WRITER },
  state: { '*': WRITER },
  auth: { '*': 'no auth_section names this section' },
  fake_fetcher: { '*': 'the fake fetcher was for tests' },
  fake_collector: { '*': 'the fake collector was for tests' },
  meta_collector: {
    '*': 'the meta collector was removed; one collector or several pipelines take its place',
  },
};

const CREDENTIAL_REST: Readonly<Record<string, string>> = {
  auth_protocol: MIDDLEWARE,
  identity_uri: MIDDLEWARE,
  auth_host: MIDDLEWARE,
  auth_port: MIDDLEWARE,
  debug: 'left over in a section of credentials',
  collect_timing: REPORTS,
  split_loggers: REPORTS,
  www_authenticate_uri: 'only that of [keystone_authtoken] counts',
  auth_uri: 'only that of [keystone_authtoken] counts',
  region_name: ENDPOINT,
  interface: ENDPOINT,
};

/** Of Elasticsearch and of OpenSearch. */
const SEARCH = ['host', 'index_name', 'insecure', 'cafile', 'scroll_duration', 'use_datastream'];

const LOKI = [
  'url',
  'tenant',
  'stream',
  'shard_days',
  'insecure',
  'ca_file',
  'cert_file',
  'key_file',
  'timeout',
];

/** Options that are read when the rest of the file asks for them. */
const READ: Readonly<Record<string, readonly string[]>> = {
  DEFAULT: ['debug', 'use_json', 'auth_strategy', 'graceful_shutdown_timeout'],
  api: ['host_ip', 'port'],
  database: ['connection'],
  keystone_authtoken: [
    'www_authenticate_uri',
    'interface',
    'region_name',
    'token_cache_time',
    'service_token_roles',
    'service_token_roles_required',
    'service_type',
    'http_connect_timeout',
  ],
  fetcher: ['backend'],
  fetcher_keystone: [
    'keystone_version',
    'ignore_rating_role',
    'ignore_disabled_tenants',
    'region_name',
    'interface',
  ],
  fetcher_gnocchi: [
    'scope_attribute',
    'resource_types',
    'gnocchi_auth_type',
    'gnocchi_user',
    'gnocchi_endpoint',
    'interface',
    'region_name',
    'http_pool_maxsize',
  ],
  fetcher_prometheus: [
    'metric',
    'scope_attribute',
    'prometheus_url',
    'prometheus_user',
    'prometheus_password',
    'cafile',
    'insecure',
    'timeout',
    'filters',
  ],
  fetcher_source: ['sources'],
  fetcher_monasca: [],
  collect: ['collector', 'period', 'wait_periods', 'metrics_conf', 'scope_key', 'services'],
  collector_gnocchi: [
    'gnocchi_auth_type',
    'gnocchi_user',
    'gnocchi_endpoint',
    'interface',
    'region_name',
    'http_pool_maxsize',
  ],
  collector_prometheus: [
    'prometheus_url',
    'prometheus_user',
    'prometheus_password',
    'cafile',
    'insecure',
    'timeout',
  ],
  collector_aetos: ['interface', 'region_name'],
  collector_monasca: ['interface', 'monasca_service_name'],
  ceilometer_collector: ['interface', 'region_name'],
  orchestrator: ['max_workers', 'max_threads', 'collector_request_timeout', 'skip_datapoints_expression'],
  storage: ['backend', 'version'],
  storage_influxdb: [
    'version',
    'host',
    'port',
    'username',
    'password',
    'database',
    'retention_policy',
    'use_ssl',
    'insecure',
    'cafile',
  ],
  storage_elasticsearch: SEARCH,
  storage_opensearch: SEARCH,
  storage_loki: LOKI,
  oslo_policy: ['policy_file', 'policy_dirs'],
  oslo_middleware: ['enable_proxy_headers_parsing', 'max_request_body_size'],
  healthcheck: ['disable_by_file_path'],
  cors: ['allowed_origin', 'allow_credentials', 'max_age'],
};

const WITH_SECRETS =
  /^(connection|slave_connection|transport_url|coordination_url|sql_connection|admin_token)$/;

/** Whether the value of an option must never be shown. */
export function isSecretOption(name: string): boolean {
  return isSecretName(name) || WITH_SECRETS.test(name);
}

/** Why an option has no effect in Ratecat; undefined for those that are read or not known. */
export function reasonToIgnore(section: string, name: string, holdsCredentials: boolean): string | undefined {
  const own = ofOwn(WITHOUT_COUNTERPART, section);
  const reason = ofOwn(own ?? {}, name);
  if (reason !== undefined) return reason;
  const isRead = ofOwn(READ, section)?.includes(name) === true;
  const rest = holdsCredentials && !isRead ? ofOwn(CREDENTIAL_REST, name) : undefined;
  return (
    rest ?? own?.['*'] ?? (section.startsWith('cors.') ? 'one list of origins is known: [cors]' : undefined)
  );
}

/** Names that a section can have, for suggestions. */
export function optionNames(section: string, holdsCredentials: boolean): readonly string[] {
  return [
    ...Object.keys(ofOwn(WITHOUT_COUNTERPART, section) ?? {}).filter((name) => name !== '*'),
    ...(ofOwn(READ, section) ?? []),
    ...(holdsCredentials
      ? ['auth_section', ...CREDENTIALS, ...HTTP_OPTIONS, ...Object.keys(CREDENTIAL_REST)]
      : []),
  ];
}

export function sectionNames(): readonly string[] {
  return [...new Set([...Object.keys(WITHOUT_COUNTERPART), ...Object.keys(READ)])];
}

/** Names beside `[name]` from other sections: an option in the wrong section is a frequent slip. */
export function sectionsWith(name: string): readonly string[] {
  return Object.keys(READ).filter((section) => READ[section]!.includes(name));
}

function ofOwn<Value>(table: Readonly<Record<string, Value>>, key: string): Value | undefined {
  return Object.hasOwn(table, key) ? table[key] : undefined;
}
