import { type ImportSession, Secret } from './import-session.js';
import { SECTION_ALIASES } from './option-names.js';
import { nearestSection, type Setting } from './oslo-config.js';
import { sectionName } from './oslo-file.js';

type Target = readonly string[];

const SCOPES = ['project_id', 'project_name', 'project_domain_id', 'project_domain_name'] as const;
const PLAIN = [
  'username',
  'user_id',
  'password',
  'user_domain_id',
  'user_domain_name',
  ...SCOPES,
  'domain_id',
  'domain_name',
  'trust_id',
] as const;
const OF_APPLICATION = [
  'application_credential_id',
  'application_credential_name',
  'application_credential_secret',
  'username',
  'user_id',
  'user_domain_id',
  'user_domain_name',
] as const;

/** Whether a section says how to log in, itself or through `auth_section`. */
export function hasCredentials(session: ImportSession, section: string): boolean {
  const { config } = session;
  if (config.find(section, 'auth_section') !== undefined) return true;
  return ['username', 'user_id', 'application_credential_id', 'application_credential_name'].some(
    (name) => config.find(section, name) !== undefined,
  );
}

/**
 * Takes over how a section logs in to Keystone. Plugin and credentials come from the section that `auth_section` names,
 * certificates and time limits always from the section itself. Source: processor.md §10.1.
 * @param like another section that lends its credentials, and its certificates where the section has none.
 */
export function importCredentials(
  session: ImportSession,
  section: string,
  target: Target,
  like: string = section,
): void {
  const source = credentialSection(session, like, target);
  if (source !== undefined) {
    importAuthUrl(session, source, target);
    if (isApplicationCredential(session, source)) importApplicationCredential(session, source, target);
    else importPassword(session, source, target);
  }
  for (const of of new Set([like, section])) {
    importTls(session, of, target);
    session.seconds(of, 'timeout', [...target, 'timeout']);
  }
}

/** Certificates of a section that talks HTTP. */
export function importTls(session: ImportSession, section: string, target: Target): void {
  for (const name of ['cafile', 'certfile', 'keyfile']) session.text(section, name, [...target, name]);
  session.boolean(section, 'insecure', [...target, 'insecure']);
}

function credentialSection(session: ImportSession, section: string, target: Target): string | undefined {
  const { config } = session;
  const pointer = config.find(section, 'auth_section');
  if (pointer === undefined) return section;
  const named = sectionName(pointer.text);
  const source = SECTION_ALIASES[named] ?? named;
  if (config.sections.has(source)) {
    session.mapped(pointer, target, `credentials of [${named}]`);
    return source;
  }
  const hint =
    nearestSection(source, config) ?? 'write the section, or the credentials in place of auth_section';
  session.problem(pointer, `there is no section [${named}]`, hint);
  return undefined;
}

function isApplicationCredential(session: ImportSession, source: string): boolean {
  const type = session.config.find(source, 'auth_type');
  if (type !== undefined) return type.text === 'v3applicationcredential';
  return session.config.find(source, 'application_credential_secret') !== undefined;
}

function importApplicationCredential(session: ImportSession, source: string, target: Target): void {
  const type = session.config.find(source, 'auth_type');
  session.set([...target, 'auth_type'], 'v3applicationcredential');
  if (type !== undefined) session.used(type, [...target, 'auth_type']);
  const byId = session.config.find(source, 'application_credential_id') !== undefined;
  for (const name of OF_APPLICATION) {
    const needed = name.startsWith('application_credential') || !byId;
    if (needed) session.text(source, name, [...target, name]);
  }
  for (const name of PLAIN) {
    session.ignored(
      session.config.find(source, name),
      'an application credential has its user and its project built in',
    );
  }
}

function importPassword(session: ImportSession, source: string, target: Target): void {
  importAuthType(session, source, target);
  for (const name of PLAIN) session.text(source, name, [...target, name]);
  importSystemScope(session, source, target);
  importDefaultDomains(session, source, target);
}

function importAuthType(session: ImportSession, source: string, target: Target): void {
  const type = session.config.find(source, 'auth_type');
  if (type === undefined) return;
  const key = [...target, 'auth_type'];
  if (type.text === 'password' || type.text === 'v3password') {
    session.set(key, type.text);
    session.used(type, key);
  } else if (type.text === 'v2password') {
    session.set(key, 'v3password');
    session.mapped(type, key, 'v3password: the identity API v2.0 no longer exists');
  } else {
    const hint = 'use password, v3password or v3applicationcredential';
    session.problem(type, `Ratecat cannot log in with '${type.text.slice(0, 60)}'`, hint);
  }
}

function importSystemScope(session: ImportSession, source: string, target: Target): void {
  const scope = session.config.find(source, 'system_scope');
  if (scope === undefined) return;
  // keystoneauth prefers the project when both are given.
  const project = SCOPES.slice(0, 2).map((name) => session.config.find(source, name));
  if (project.some((setting) => setting !== undefined)) {
    session.ignored(scope, 'a token has one scope, and the project is given');
  } else session.text(source, 'system_scope', [...target, 'system_scope']);
}

/** `default_domain_*` stands for the domains of user and project that are not given. */
function importDefaultDomains(session: ImportSession, source: string, target: Target): void {
  for (const kind of ['id', 'name']) {
    const setting = session.config.find(source, `default_domain_${kind}`);
    for (const of of ['user', 'project']) {
      const isGiven = ['id', 'name'].some((other) => session.has([...target, `${of}_domain_${other}`]));
      if (setting === undefined || isGiven) continue;
      const key = [...target, `${of}_domain_${kind}`];
      session.set(key, setting.text);
      session.mapped(setting, key, 'stands for the domains that are not given');
    }
    session.ignored(setting, 'the domains are given');
  }
}

function importAuthUrl(session: ImportSession, source: string, target: Target): void {
  const url = session.config.find(source, 'auth_url') ?? session.config.find(source, 'identity_uri');
  if (url === undefined || !session.isPlain(url)) return;
  const key = [...target, 'auth_url'];
  const today = url.text.replace(/\/v2\.0\/?$/, '/v3');
  session.set(key, today);
  if (today !== url.text) session.mapped(url, key, '/v3: the identity API v2.0 no longer exists');
  else if (url.name === 'identity_uri') session.mapped(url, key, 'there is no auth_url');
  else session.used(url, key);
}

/** `http://user:password@host/…` becomes a URL and two options: nobody hides the password of a URL. */
export function importUrlWithUser(
  session: ImportSession,
  setting: Setting,
  target: { readonly url: Target; readonly user: Target; readonly password: Target },
): void {
  // The last @ before the path ends the password, as Python's libraries read it.
  const parts = /^(\w+:\/\/)([^/?#]*)@(.*)$/s.exec(setting.text);
  if (parts === null) {
    if (!session.isPlain(setting)) return;
    session.set(target.url, setting.text);
    session.used(setting, target.url);
    return;
  }
  const [user = '', ...password] = parts[2]!.split(':');
  session.set(target.url, `${parts[1]}${parts[3]}`);
  session.mapped(setting, target.url, 'user and password were taken out of the URL');
  session.set(target.user, decoded(user));
  if (password.length === 0) return;
  const { section, name } = setting.entry;
  session.set(target.password, new Secret(`${section}.${name}.password`, decoded(password.join(':'))));
}

/** As it stands where it is not percent-encoded rightly: then it was never meant to be. */
export function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
