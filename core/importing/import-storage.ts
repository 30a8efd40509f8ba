import { importUrlWithUser } from './import-keystone.js';
import { type ImportSession, listOf } from './import-session.js';
import type { Setting } from './oslo-config.js';

const PLUGIN = ['storage', 'plugin'];
const OPTIONS = ['storage', 'options'];
const INFLUXDB = 'storage_influxdb';
const INFLUXDB_2 =
  "Ratecat's plugin speaks with InfluxDB 1; rated data goes into the database, and what InfluxDB 2 holds stays there";
/** Both CloudKitty's and Ratecat's default. */
const SCOPE_KEY = 'project_id';
/** CloudKitty's. */
const INDEX = 'cloudkitty';
const PERIOD = '3600';
const LOKI_FILES = [
  ['ca_file', 'cafile'],
  ['cert_file', 'certfile'],
  ['key_file', 'keyfile'],
] as const;

/** Where rated data goes: on into the store that is there, if there is a plugin for it, else into the database. */
export function importStorage(session: ImportSession, pipeline: string): void {
  const { config } = session;
  session.ignored(config.find('storage', 'version'), 'there is one layout of rated data');
  const setting = config.find('storage', 'backend');
  const backend = setting?.text ?? defaultBackend(session);
  if (backend === 'influxdb' && isInfluxdb1(session)) goOnIn(session, 'InfluxDB', backend, setting);
  else if (backend === 'opensearch') goOnIn(session, 'OpenSearch', backend, setting);
  else if (backend === 'elasticsearch') goOnIn(session, 'Elasticsearch', backend, setting);
  else if (backend === 'loki') goOnIn(session, 'Loki', backend, setting);
  else {
    importSql(session, setting);
    return;
  }
  const reference = { source: pipeline, scope_key: config.find('collect', 'scope_key')?.text ?? SCOPE_KEY };
  if (backend === 'influxdb') importInfluxdb(session, reference);
  else if (backend === 'loki') importLoki(session, reference);
  else importSearch(session, `storage_${backend}`, reference);
}

/** CloudKitty's default is InfluxDB since release 10, whose first version needs the name of a database. */
function defaultBackend({ config }: ImportSession): string | undefined {
  return config.find(INFLUXDB, 'database') === undefined ? undefined : 'influxdb';
}

function isInfluxdb1(session: ImportSession): boolean {
  const version = session.config.find(INFLUXDB, 'version');
  if (version === undefined || version.text === '1') {
    session.ignored(version, 'InfluxDB 1 is the only one that is known');
    return true;
  }
  for (const setting of session.config.settings)
    if (setting.section === INFLUXDB) session.ignored(setting, INFLUXDB_2);
  return false;
}

function importSql(session: ImportSession, backend: Setting | undefined): void {
  session.set(PLUGIN, 'sql');
  if (backend === undefined) return;
  if (/^(sqlalchemy|hybrid)$/.test(backend.text)) {
    session.mapped(backend, PLUGIN, 'sql: tables of its own in the database above');
    return;
  }
  session.mapped(backend, PLUGIN, 'sql, in place of a separate store');
  session.advice.push(
    `Rated data goes into the database, not into ${shown(backend.text)}; what is stored there already stays there.`,
  );
}

function goOnIn(session: ImportSession, name: string, plugin: string, backend: Setting | undefined): void {
  session.set(PLUGIN, plugin);
  if (backend !== undefined) session.used(backend, PLUGIN);
  session.advice.push(
    `Rated data goes on into ${name}, and reports include what CloudKitty stored there (storage.options.reference). CloudKitty must not rate any more: both would store the same usage.`,
  );
}

/** Whose the points are that CloudKitty stored. */
interface Reference {
  readonly source: string;
  readonly scope_key: string;
}

function importInfluxdb(session: ImportSession, reference: Reference): void {
  for (const name of ['host', 'username', 'password', 'database', 'retention_policy', 'cafile'])
    session.text(INFLUXDB, name, [...OPTIONS, name]);
  session.whole(INFLUXDB, 'port', [...OPTIONS, 'port'], { least: 1, most: 65_535, beyond: 'refuse' });
  for (const name of ['use_ssl', 'insecure']) session.boolean(INFLUXDB, name, [...OPTIONS, name]);
  session.set([...OPTIONS, 'reference'], { ...reference });
}

function importSearch(session: ImportSession, section: string, reference: Reference): void {
  const host = session.config.find(section, 'host');
  const [user, password] = [
    [...OPTIONS, 'username'],
    [...OPTIONS, 'password'],
  ];
  if (host !== undefined) importUrlWithUser(session, host, { url: [...OPTIONS, 'host'], user, password });
  session.boolean(section, 'insecure', [...OPTIONS, 'insecure']);
  session.text(section, 'cafile', [...OPTIONS, 'cafile']);
  session.whole(section, 'scroll_duration', [...OPTIONS, 'scroll_duration'], {
    least: 1,
    most: 300,
    beyond: 'take nearest',
  });
  session.set([...OPTIONS, 'reference'], { ...reference });
  importIndex(session, section);
}

/** Documents of a data stream cannot be replaced, so that Ratecat has an index beside it. */
function importIndex(session: ImportSession, section: string): void {
  const [own, theirs] = [
    [...OPTIONS, 'index_name'],
    [...OPTIONS, 'reference', 'index_name'],
  ];
  const isStream = session.boolean(section, 'use_datastream') === true;
  const index = session.config.find(section, 'index_name');
  const stream = session.config.find(section, 'use_datastream');
  if (!isStream) {
    session.text(section, 'index_name', own);
    session.ignored(stream, 'Ratecat writes into an index');
    return;
  }
  const name = index?.text ?? INDEX;
  session.set(own, `${name}-ratecat`);
  session.set(theirs, name);
  const note = 'a data stream is only read; Ratecat has an index of its own';
  for (const setting of [index, stream]) if (setting !== undefined) session.mapped(setting, theirs, note);
}

function importLoki(session: ImportSession, reference: Reference): void {
  const section = 'storage_loki';
  for (const name of ['url', 'tenant']) session.text(section, name, [...OPTIONS, name]);
  for (const [theirs, own] of LOKI_FILES) session.text(section, theirs, [...OPTIONS, own]);
  session.boolean(section, 'insecure', [...OPTIONS, 'insecure']);
  session.seconds(section, 'timeout', [...OPTIONS, 'timeout']);
  const days = { least: 1, most: 30, beyond: 'refuse' } as const;
  session.whole(section, 'shard_days', [...OPTIONS, 'shard_days'], days);
  session.set([...OPTIONS, 'reference'], { ...reference });
  importPeriod(session);
  importStream(session, session.config.find(section, 'stream'));
}

/** The longest period of CloudKitty's lines, where it is not the default. */
function importPeriod(session: ImportSession): void {
  const period = session.config.find('collect', 'period')?.text;
  if (period === undefined || period === PERIOD || !/^[1-9]\d{0,6}$/.test(period)) return;
  session.set([...OPTIONS, 'reference', 'period'], Number(period));
}

/** Labels of CloudKitty's lines; Ratecat's have labels of their own. */
function importStream(session: ImportSession, stream: Setting | undefined): void {
  if (stream === undefined) return;
  const labels = listOf(stream.text).map((item) => /^([A-Za-z_][A-Za-z0-9_]*):(.+)$/.exec(item));
  if (labels.length === 0 || labels.includes(null)) {
    session.problem(stream, `must be name:value, name:value, got '${stream.text.slice(0, 60)}'`);
    return;
  }
  const target = [...OPTIONS, 'reference', 'stream'];
  session.set(target, Object.fromEntries(labels.map((label) => [label![1], label![2]!.trim()])));
  session.mapped(
    stream,
    target,
    "CloudKitty's lines are read there; Ratecat's have the label service=ratecat",
  );
}

function shown(backend: string): string {
  return /^[\w.-]{1,40}$/.test(backend) ? backend : 'the old storage';
}
