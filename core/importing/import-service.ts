import { existsSync } from 'node:fs';
import { dirname, isAbsolute, resolve } from 'node:path';
import { hasCredentials, importCredentials } from './import-keystone.js';
import { holdsFiles, type ImportSession } from './import-session.js';

const MIB = 1024 * 1024;
const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|::1)$/;
const API = ['api', 'keystone'];
/** Of CloudKitty's own server; Ratecat's is 127.0.0.1. */
const ANY_ADDRESS = '0.0.0.0';

/** What the processes do, apart from measuring: log, API, policy, limits. */
export function importService(session: ImportSession): void {
  importLog(session);
  importApi(session);
  importPolicy(session);
  importMiddleware(session);
  importOrchestrator(session);
}

function importLog(session: ImportSession): void {
  const debug = session.boolean('DEFAULT', 'debug');
  if (debug !== undefined) {
    session.set(['log', 'level'], debug ? 'debug' : 'info');
    session.mapped(session.config.find('DEFAULT', 'debug')!, ['log', 'level'], debug ? 'debug' : 'info');
  }
  const json = session.boolean('DEFAULT', 'use_json');
  if (json !== undefined) {
    session.set(['log', 'format'], json ? 'json' : 'text');
    session.mapped(session.config.find('DEFAULT', 'use_json')!, ['log', 'format'], json ? 'json' : 'text');
  }
}

function importApi(session: ImportSession): void {
  const { config } = session;
  const strategy = config.find('DEFAULT', 'auth_strategy');
  const auth = strategy?.text ?? 'keystone';
  if (strategy !== undefined && auth !== 'keystone' && auth !== 'noauth') {
    session.problem(strategy, `must be keystone or noauth, got '${auth.slice(0, 60)}'`);
    return;
  }
  session.set(['api', 'host'], ANY_ADDRESS);
  session.text('api', 'host_ip', ['api', 'host']);
  session.whole('api', 'port', ['api', 'port'], { least: 0, most: 65_535, beyond: 'refuse' });
  session.set(['api', 'auth'], auth);
  if (strategy !== undefined) session.used(strategy, ['api', 'auth']);
  if (auth === 'keystone') importTokenCheck(session);
  else protectNoauth(session);
}

/** Without authentication everybody who reaches the port is an administrator. */
function protectNoauth(session: ImportSession): void {
  const setting = session.config.find('api', 'host_ip');
  if (setting !== undefined && LOOPBACK.test(setting.text)) return;
  session.set(['api', 'host'], '127.0.0.1');
  const note = '127.0.0.1, because auth_strategy is noauth';
  if (setting !== undefined) session.mapped(setting, ['api', 'host'], note);
  session.advice.push(
    'auth_strategy is noauth: the API listens on 127.0.0.1 only. To open it to other machines set api.auth to keystone, or ' +
      'api.allow_insecure_bind to true.',
  );
}

function importTokenCheck(session: ImportSession): void {
  const section = 'keystone_authtoken';
  importCredentials(session, section, API, credentialsFor(session, section, 'the API'));
  session.text(section, 'www_authenticate_uri', [...API, 'www_authenticate_uri']);
  session.text(section, 'interface', [...API, 'interface']);
  session.text(section, 'region_name', [...API, 'region_name']);
  session.text(section, 'service_type', [...API, 'service_type']);
  session.whole(section, 'token_cache_time', [...API, 'token_cache_time'], {
    least: 0,
    most: 86_400,
    beyond: 'take nearest',
  });
  session.list(section, 'service_token_roles', [...API, 'service_token_roles']);
  session.boolean(section, 'service_token_roles_required', [...API, 'service_token_roles_required']);
  if (session.config.find(section, 'timeout') === undefined) {
    session.seconds(section, 'http_connect_timeout', [...API, 'timeout']);
  }
}

/** The section to log in with; another one's where a section has no credentials of its own. */
export function credentialsFor(session: ImportSession, section: string, whose: string): string {
  if (hasCredentials(session, section)) return section;
  const others = [
    'keystone_authtoken',
    'fetcher_keystone',
    'collector_gnocchi',
    'fetcher_gnocchi',
    'ceilometer_collector',
  ];
  const other = others.find((candidate) => hasCredentials(session, candidate));
  if (other === undefined) {
    session.advice.push(
      `[${section}] has no credentials: write into the result how ${whose} logs in to Keystone.`,
    );
    return section;
  }
  session.advice.push(`[${section}] has no credentials: ${whose} logs in as [${other}] does.`);
  return other;
}

function importPolicy(session: ImportSession): void {
  const file = session.config.find('oslo_policy', 'policy_file');
  // As oslo.policy does: JSON is what files were called before they were YAML.
  const names = [file?.text ?? 'policy.yaml', ...(file === undefined ? ['policy.json'] : [])];
  const found = names.flatMap((name) => besideConfig(session, name)).find((path) => existsSync(path));
  if (found !== undefined) {
    session.set(['api', 'policy_file'], found);
    if (file !== undefined) session.used(file, ['api', 'policy_file']);
    else session.advice.push(`${found} is used as api.policy_file, as oslo.policy does without being told.`);
  } else session.ignored(file, 'the file does not exist, so the defaults apply');
  importPolicyFolders(session);
}

function importPolicyFolders(session: ImportSession): void {
  const setting = session.config.find('oslo_policy', 'policy_dirs');
  const names = session.list('oslo_policy', 'policy_dirs') ?? ['policy.d'];
  const folders = names.flatMap((name) => besideConfig(session, name).find(holdsFiles) ?? []);
  if (folders.length === 0) {
    session.ignored(setting, 'there are no such files, so the defaults apply');
    return;
  }
  session.set(['api', 'policy_dirs'], folders);
  if (setting !== undefined) session.used(setting, ['api', 'policy_dirs']);
  else
    session.advice.push(
      `${folders.join(', ')} is used as api.policy_dirs, as oslo.policy does without being told.`,
    );
}

/** Relative names are looked for beside the files that were read. */
export function besideConfig(session: ImportSession, name: string): readonly string[] {
  if (isAbsolute(name)) return [name];
  return [...new Set(session.config.files.map((file) => resolve(dirname(file), name)))];
}

function importMiddleware(session: ImportSession): void {
  const proxies = session.config.find('oslo_middleware', 'enable_proxy_headers_parsing');
  if (proxies !== undefined && session.boolean('oslo_middleware', 'enable_proxy_headers_parsing') === true) {
    session.set(['api', 'trusted_proxies'], ['loopback']);
    session.mapped(proxies, ['api', 'trusted_proxies'], 'loopback');
    const hint = 'add the addresses of your proxies to api.trusted_proxies';
    session.warn(
      proxies,
      "CloudKitty believes everybody's X-Forwarded headers, Ratecat those of known proxies",
      hint,
    );
  } else session.ignored(proxies, 'forwarded headers are not believed anyway');
  importBodyLimit(session);
  session.text('healthcheck', 'disable_by_file_path', ['api', 'healthcheck_disable_file']);
  session.list('cors', 'allowed_origin', ['api', 'cors', 'allowed_origins']);
  session.boolean('cors', 'allow_credentials', ['api', 'cors', 'allow_credentials']);
  session.whole('cors', 'max_age', ['api', 'cors', 'max_age'], {
    least: 0,
    most: 31 * 86_400,
    beyond: 'take nearest',
  });
}

function importBodyLimit(session: ImportSession): void {
  const setting = session.config.find('oslo_middleware', 'max_request_body_size');
  if (setting === undefined) return;
  if (!/^\d{1,15}$/.test(setting.text)) {
    session.problem(setting, `must be a number of bytes, got '${setting.text.slice(0, 60)}'`);
    return;
  }
  const mebibytes = Math.min(Math.max(Math.ceil(Number(setting.text) / MIB), 1), 1024);
  session.set(['api', 'max_body_mib'], mebibytes);
  session.mapped(setting, ['api', 'max_body_mib'], `${mebibytes} MiB`);
}

function importOrchestrator(session: ImportSession): void {
  const processes = { least: 1, most: 256, beyond: 'take nearest' } as const;
  session.whole('orchestrator', 'max_workers', ['processor', 'workers'], processes);
  const threads = { least: 1, most: 1000, beyond: 'take nearest' } as const;
  session.whole('orchestrator', 'max_threads', ['processor', 'concurrent_metrics'], threads);
  const limit = { least: 1, most: 86_400, beyond: 'take nearest' } as const;
  session.whole('orchestrator', 'collector_request_timeout', ['processor', 'metric_timeout'], limit);
  importGracefulStop(session);
}

function importGracefulStop(session: ImportSession): void {
  const target = ['processor', 'graceful_stop'];
  const setting = session.config.find('DEFAULT', 'graceful_shutdown_timeout');
  if (setting?.text === '0') {
    session.set(target, 3600);
    session.mapped(setting, target, '3600, the longest; 0 meant for ever');
  } else {
    session.whole('DEFAULT', 'graceful_shutdown_timeout', target, {
      least: 1,
      most: 3600,
      beyond: 'take nearest',
    });
  }
}
