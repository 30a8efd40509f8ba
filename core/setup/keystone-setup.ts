import { RejectedError } from '../plugin-api/index.js';
import type { Entity, KeystoneAdmin } from './keystone-admin.js';
import { ensureGrant } from './keystone-grants.js';
import { ensureRole, projectIn, RATING_ROLE, theDomain, userIn } from './keystone-lookup.js';
import { fileExists, newPassword, readSecret, writeSecret } from './secret-file.js';
import { setupRefused } from './setup-refused.js';
import type { Steps } from './setup-steps.js';
import { openstackCommand, shellWord } from './shell-command.js';

const INTERFACES = ['public', 'internal', 'admin'] as const;
const SERVICE_TYPE = 'rating';
/** Those that CloudKitty's default policy asks for. */
export const POLICY_ROLES: readonly string[] = ['admin', 'member', 'reader'];

export interface SetupWishes {
  readonly user: string;
  /** Of the user and of its project, by name or id. */
  readonly domain: string;
  readonly project: string;
  /** What the user gets on its project. */
  readonly roles: readonly string[];
  readonly serviceName: string;
  readonly region: string | undefined;
  /** Roots of the API, without a slash at the end. */
  readonly urls: Readonly<Record<(typeof INTERFACES)[number], string>>;
  readonly password: PasswordSource;
}

export type PasswordSource =
  /** The first line of a file that is there. */
  | { readonly kind: 'given'; readonly file: string }
  /** As `given` when the file is there, else a new password that is written to it. */
  | { readonly kind: 'kept'; readonly file: string; readonly mayReplace: boolean };

interface Password {
  readonly file: string;
  /** Undefined in a dry run that would make one. */
  readonly value: string | undefined;
}

/** What was there before; found out completely before the first change. */
interface Found {
  readonly domain: Entity;
  readonly region: string;
  readonly service: Entity | undefined;
  readonly user: Entity | undefined;
}

/** Brings user, roles, service and endpoints of Ratecat into Keystone, or repairs what is there of them. */
export class KeystoneSetup {
  readonly #admin: KeystoneAdmin;
  readonly #steps: Steps;
  readonly #wishes: SetupWishes;

  constructor(admin: KeystoneAdmin, steps: Steps, wishes: SetupWishes) {
    this.#admin = admin;
    this.#steps = steps;
    this.#wishes = wishes;
  }

  /**
   * @throws ConfigError RATECAT_SETUP_REFUSED when something stands in the way, before anything is changed;
   * RATECAT_SECRET_FILE. As `KeystoneAdmin` else.
   */
  async run(): Promise<void> {
    await this.#admin.logIn();
    const found = await this.#lookAround();
    const password = await this.#password(found.user);
    const project = await this.#project(found.domain);
    const roles = await this.#roles();
    const user = await this.#user(found, password);
    const domain = found.domain.id;
    for (const name of this.#wishes.roles) {
      await ensureGrant(this.#admin, this.#steps, {
        user: { name: this.#wishes.user, entity: user, domain },
        project: { name: this.#wishes.project, entity: project, domain },
        role: { name, entity: roles.get(name) },
      });
    }
    await this.#catalogue(found);
    if (user !== undefined && project !== undefined) await this.#prove(user, password, project);
  }

  async #lookAround(): Promise<Found> {
    const { domain: domainName, user } = this.#wishes;
    const domain = await theDomain(this.#admin, domainName);
    return {
      domain,
      region: await this.#region(),
      service: await this.#service(),
      user: await userIn(this.#admin, domain, user),
    };
  }

  /** Keystone would make a region of every slip of the pen. */
  async #region(): Promise<string> {
    const known = (await this.#admin.list('region')).map(({ id }) => id);
    const list = known.length === 0 ? 'none' : known.join(', ');
    const wanted = this.#wishes.region ?? this.#admin.region;
    if (wanted === undefined && known.length === 1) return known[0]!;
    if (wanted === undefined) throw setupRefused(`Name the region with --region. Keystone has: ${list}.`);
    if (known.includes(wanted)) return wanted;
    throw setupRefused(
      `Keystone has no region '${wanted}' (it has: ${list}). Name another one with --region.`,
    );
  }

  async #service(): Promise<Entity | undefined> {
    const services = await this.#admin.list('service', { type: SERVICE_TYPE });
    if (services.length < 2) return services[0];
    const named = services.filter(({ name }) => name === this.#wishes.serviceName);
    if (named.length === 1) return named[0];
    const which = services.map(({ id, name }) => `'${name}' (${id})`).join(', ');
    throw setupRefused(
      `Keystone has several services of type '${SERVICE_TYPE}': ${which}. Delete those that are too many, or name the right one with --service-name.`,
    );
  }

  async #password(user: Entity | undefined): Promise<Password> {
    const source = this.#wishes.password;
    const { file } = source;
    const what = `password in ${file}`;
    if (source.kind === 'given' || (await fileExists(file))) {
      const value = await readSecret(file);
      await this.#steps.already(what);
      return { file, value };
    }
    if (user !== undefined && !source.mayReplace) {
      throw setupRefused(
        `The user '${user.name}' exists, and there is no file ${file} with its password. Give the file that holds it with --password-file; or give the user a new password with --new-password, which whoever logs in with the old one must then be told.`,
      );
    }
    const value = await this.#steps.perform({
      what: `${what}: a new one, for its owner's eyes only`,
      outcome: 'done',
      script: [`(umask 077 && openssl rand -base64 24 > ${shellWord(file)})`],
      apply: async () => {
        const made = newPassword();
        await writeSecret(file, made);
        return made;
      },
    });
    return { file, value };
  }

  async #project(domain: Entity): Promise<Entity | undefined> {
    const { project: name } = this.#wishes;
    const what = `project '${name}'`;
    const project = await projectIn(this.#admin, domain, name);
    if (project !== undefined) {
      await this.#steps.already(what);
      return project;
    }
    return await this.#steps.perform({
      what,
      outcome: 'done',
      script: [
        openstackCommand({ command: 'project create', options: { domain: domain.id }, values: [name] }),
      ],
      apply: () =>
        this.#admin.create('project', { name, domain_id: domain.id }, () =>
          projectIn(this.#admin, domain, name),
        ),
    });
  }

  async #roles(): Promise<ReadonlyMap<string, Entity | undefined>> {
    const roles = new Map<string, Entity | undefined>();
    for (const name of new Set([...POLICY_ROLES, RATING_ROLE, ...this.#wishes.roles]))
      roles.set(name, await ensureRole(this.#admin, this.#steps, name));
    return roles;
  }

  async #user({ domain, user }: Found, password: Password): Promise<Entity | undefined> {
    if (user === undefined) return await this.#newUser(domain, password);
    const what = `user '${user.name}'`;
    if (user.enabled) await this.#steps.already(what);
    else {
      await this.#steps.perform({
        what: `${what}: enabled, was disabled`,
        outcome: 'changed',
        script: [this.#userSet(domain, { enable: true })],
        apply: () => this.#admin.change('user', user.id, { enabled: true }),
      });
    }
    await this.#samePassword({ domain, user, password });
    return user;
  }

  async #newUser(domain: Entity, { file, value }: Password): Promise<Entity | undefined> {
    const { user: name } = this.#wishes;
    const options = { domain: domain.id, 'password-prompt': true } as const;
    return await this.#steps.perform({
      what: `user '${name}'`,
      outcome: 'done',
      script: [prompted(file), openstackCommand({ command: 'user create', options, values: [name] })],
      apply: () =>
        this.#admin.create('user', { name, domain_id: domain.id, password: value }, async () => {
          const user = await userIn(this.#admin, domain, name);
          if (user !== undefined) await this.#samePassword({ domain, user, password: { file, value } });
          return user;
        }),
    });
  }

  async #samePassword({ domain, user, password }: UserPassword): Promise<void> {
    const { file, value } = password;
    const what = `password of '${user.name}'`;
    if (value !== undefined && (await this.#admin.accepts(user, value)))
      return await this.#steps.already(what);
    await this.#steps.perform({
      what: `${what}: the one of ${file}, was another one`,
      outcome: 'changed',
      script: [prompted(file), this.#userSet(domain, { 'password-prompt': true })],
      apply: () => this.#admin.change('user', user.id, { password: value }),
    });
  }

  #userSet(domain: Entity, options: Readonly<Record<string, true>>): string {
    return openstackCommand({
      command: 'user set',
      options: { domain: domain.id, ...options },
      values: [this.#wishes.user],
    });
  }

  async #catalogue(found: Found): Promise<void> {
    const service = await this.#ensureService(found.service);
    const endpoints =
      service === undefined ? [] : await this.#admin.list('endpoint', { service_id: service.id });
    for (const kind of INTERFACES) {
      const present = endpoints.filter(
        (endpoint) => endpoint.interface === kind && endpoint.region_id === found.region,
      );
      await this.#endpoint({ service, region: found.region, kind, present });
    }
  }

  async #ensureService(service: Entity | undefined): Promise<Entity | undefined> {
    const { serviceName: name } = this.#wishes;
    if (service === undefined) {
      return await this.#steps.perform({
        what: `service '${name}' of type '${SERVICE_TYPE}'`,
        outcome: 'done',
        script: [openstackCommand({ command: 'service create', options: { name }, values: [SERVICE_TYPE] })],
        apply: () => this.#admin.create('service', { name, type: SERVICE_TYPE }),
      });
    }
    const what = `service '${service.name}' of type '${SERVICE_TYPE}'`;
    if (service.enabled) await this.#steps.already(what);
    else {
      await this.#steps.perform({
        what: `${what}: enabled, was disabled`,
        outcome: 'changed',
        script: [
          openstackCommand({ command: 'service set', options: { enable: true }, values: [service.id] }),
        ],
        apply: () => this.#admin.change('service', service.id, { enabled: true }),
      });
    }
    return service;
  }

  /** Where several are for the same, all get the URL: a client may take any of them. */
  async #endpoint({ service, region, kind, present }: EndpointPlace): Promise<void> {
    const url = this.#wishes.urls[kind];
    const what = `${kind} endpoint in ${region}`;
    if (present.length === 0) {
      await this.#steps.perform({
        what: `${what}: ${url}`,
        outcome: 'done',
        script: [
          openstackCommand({
            command: 'endpoint create',
            options: { region },
            values: [service?.id ?? SERVICE_TYPE, kind, url],
          }),
        ],
        apply: () =>
          this.#admin.create('endpoint', {
            service_id: service?.id,
            region_id: region,
            interface: kind,
            url,
          }),
      });
    }
    for (const endpoint of present) {
      if (endpoint.url === url && endpoint.enabled) {
        await this.#steps.already(`${what}: ${url}`);
        continue;
      }
      const was = endpoint.url === url ? 'disabled' : (endpoint.url ?? 'nothing');
      await this.#steps.perform({
        what: `${what}: ${url}, was ${was}`,
        outcome: 'changed',
        script: [
          openstackCommand({
            command: 'endpoint set',
            options: { url, enable: true },
            values: [endpoint.id],
          }),
        ],
        apply: () => this.#admin.change('endpoint', endpoint.id, { url, enabled: true }),
      });
    }
  }

  async #prove(user: Entity, { file, value }: Password, project: Entity): Promise<void> {
    await this.#steps.perform({
      what: `log-in of '${user.name}' to project '${project.name}' tried`,
      outcome: 'done',
      script: [],
      apply: async () => {
        if (value !== undefined && (await this.#admin.accepts(user, value, project))) return;
        throw new RejectedError(
          'RATECAT_AUTH_REJECTED',
          `Everything is set up, but Keystone refuses the user '${user.name}' with the password of ${file} on project '${project.name}'. Look for a disabled project or domain, or an expired or locked account: openstack user show ${shellWord(user.id)}`,
        );
      },
    });
  }
}

/** What to type where the client asks: a password on a command line could be read by others. */
function prompted(file: string): string {
  return `# at the prompt: the first line of ${shellWord(file)}`;
}

interface UserPassword {
  readonly domain: Entity;
  readonly user: Entity;
  readonly password: Password;
}

interface EndpointPlace {
  readonly service: Entity | undefined;
  readonly region: string;
  readonly kind: (typeof INTERFACES)[number];
  readonly present: readonly Entity[];
}
