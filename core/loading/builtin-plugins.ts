import type { PluginKind } from '../plugin-api/index.js';

type Importer = () => Promise<{ readonly default: unknown }>;

/**
 * The only place in the core that mentions `plugins/`: a name in the config and the module behind it. Loaded when asked
 * for. Built-ins have no privilege beyond being found by their bare name.
 */
export const BUILTIN_PLUGINS: Readonly<Record<PluginKind, Readonly<Record<string, Importer>>>> = {
  fetcher: {
    file: () => import('../../plugins/fetchers/file.js'),
    gnocchi: () => import('../../plugins/fetchers/gnocchi.js'),
    host: () => import('../../plugins/fetchers/host.js'),
    keystone: () => import('../../plugins/fetchers/keystone.js'),
    prometheus: () => import('../../plugins/fetchers/prometheus.js'),
    source: () => import('../../plugins/fetchers/source.js'),
    static: () => import('../../plugins/fetchers/source.js'),
  },
  collector: {
    ceilometer: () => import('../../plugins/collectors/ceilometer.js'),
    file: () => import('../../plugins/collectors/file.js'),
    gnocchi: () => import('../../plugins/collectors/gnocchi.js'),
    host: () => import('../../plugins/collectors/host.js'),
    prometheus: () => import('../../plugins/collectors/prometheus.js'),
  },
  rating: {
    hashmap: () => import('../../plugins/rating/hashmap/index.js'),
    noop: () => import('../../plugins/rating/noop.js'),
    pyscripts: () => import('../../plugins/rating/pyscripts/index.js'),
  },
  storage: {
    sql: () => import('../../plugins/storage/sql/index.js'),
    sqlite: () => import('../../plugins/storage/sql/index.js'),
    mysql: () => import('../../plugins/storage/sql/index.js'),
    sqlalchemy: () => import('../../plugins/storage/sql/index.js'),
    influxdb: () => import('../../plugins/storage/influxdb/index.js'),
    elasticsearch: () => import('../../plugins/storage/elasticsearch.js'),
    opensearch: () => import('../../plugins/storage/opensearch/index.js'),
    loki: () => import('../../plugins/storage/loki/index.js'),
  },
  notifier: {
    rabbitmq: () => import('../../plugins/notifiers/rabbitmq/index.js'),
    webhook: () => import('../../plugins/notifiers/webhook.js'),
  },
};
