import { z } from 'zod';
import {
  definePlugin,
  type Fetcher,
  type HttpClient,
  isRatecatError,
  type Logger,
  type PluginContext,
  RejectedError,
  type Scope,
} from '../../core/plugin-api/index.js';
import {
  type CallPurpose,
  checkKeystone,
  inShape,
  KeystoneSession,
  keystoneSecrets,
  keystoneShape,
  malformed,
  parseJson,
  refusal,
  shownUrl,
  upstreamClient,
} from '../../core/upstream/index.js';
import { concurrently } from '../shared/concurrently.js';

const options = z
  .strictObject({
    ...keystoneShape,
    /** Only version 3 exists; the option is there because CloudKitty has it. */
    keystone_version: z
      .union([z.string(), z.number()])
      .transform(String)
      .refine((version) => /^v?3(\.\d+)*$/.test(version), 'must be 3: the identity API v2.0 no longer exists')
      .default('3'),
    /** Rate every listed project. */
    ignore_rating_role: z.boolean().default(false),
    /** Leave out projects that are disabled. */
    ignore_disabled_tenants: z.boolean().default(false),
    /** Role that Ratecat's own user must have on a project for the project to be rated. */
    role: z.string().min(1).default('rating'),
    /** Ids of domains; only projects of these are rated. */
    domains: z.array(z.string().min(1)).min(1, 'must name at least one domain id').optional(),
    interface: z.string().min(1).default('public'),
    region_name: z.string().min(1).optional(),
  })
  .superRefine(checkKeystone);

type Options = z.output<typeof options>;

const project = z.object({
  id: z.string().min(1),
  name: z.string().optional(),
  enabled: z.boolean().optional(),
  is_domain: z.boolean().optional(),
});
type Project = z.output<typeof project>;

const links = z.object({ next: z.string().nullish() }).nullish();
const projectPage = z.object({ projects: z.array(project), links });
const roleList = z.object({ roles: z.array(z.object({ id: z.string().min(1), name: z.string() })) });
const assignmentPage = z.object({
  role_assignments: z.array(
    z.object({
      role: z.object({ id: z.string() }),
      user: z.object({ id: z.string() }).optional(),
      scope: z.object({ project: z.object({ id: z.string() }).optional() }),
    }),
  ),
  links,
});

const LISTING_PROJECTS: CallPurpose = {
  to: 'list the projects',
  needs: "the role 'reader' (or 'admin') with system or domain scope",
};
const LISTING_ROLES: CallPurpose = {
  to: 'look up roles and their assignments',
  needs: "the role 'reader' (or 'admin') with system or domain scope",
};

/** Requests at a time when projects have to be asked for one by one. */
const PROJECTS_AT_A_TIME = 16;

/**
 * Projects on which Ratecat's own user has the rating role. With `compat: strict` only roles that were given directly
 * count, as in CloudKitty; otherwise also those through groups, inheritance and implication. Source: fetchers.md §2.
 */
export class KeystoneFetcher implements Fetcher {
  readonly #options: Options;
  readonly #http: HttpClient;
  readonly #session: KeystoneSession;
  readonly #logger: Logger;
  readonly #strict: boolean;
  readonly #scopeKey: string;

  constructor(settings: Options, context: PluginContext) {
    this.#options = settings;
    this.#http = upstreamClient(settings, context);
    this.#session = new KeystoneSession(settings, this.#http, context.clock);
    this.#logger = context.logger;
    this.#strict = context.compat === 'strict';
    this.#scopeKey = context.pipeline?.scopeKey ?? '';
  }

  async fetchScopes(signal: AbortSignal): Promise<readonly Scope[]> {
    const identity = await this.#session.identityUrl(
      { interface: this.#options.interface, region: this.#options.region_name },
      signal,
    );
    const projects = await this.#candidates(identity, signal);
    const rated = this.#options.ignore_rating_role ? projects : await this.#rated(identity, projects, signal);
    return rated.map(({ id, name }) => ({
      key: this.#scopeKey,
      id,
      ...(name === undefined ? {} : { name }),
    }));
  }

  async stop(): Promise<void> {
    await this.#http.close();
  }

  async #candidates(identity: string, signal: AbortSignal): Promise<readonly Project[]> {
    const filters = this.#options.domains?.map((id) => `?domain_id=${encodeURIComponent(id)}`) ?? [''];
    const distinct = new Map<string, Project>();
    for (const filter of filters) {
      for await (const page of this.#pages(
        `${identity}/projects${filter}`,
        projectPage,
        LISTING_PROJECTS,
        signal,
      )) {
        for (const found of page.projects) distinct.set(found.id, found);
      }
    }
    return [...distinct.values()].filter((candidate) => this.#isCandidate(candidate));
  }

  #isCandidate(candidate: Project): boolean {
    if (candidate.is_domain === true) return false;
    return !(this.#options.ignore_disabled_tenants && candidate.enabled === false);
  }

  async #rated(
    identity: string,
    projects: readonly Project[],
    signal: AbortSignal,
  ): Promise<readonly Project[]> {
    const assigned = this.#strict ? undefined : await this.#assignedProjects(identity, signal);
    if (assigned !== undefined) return projects.filter(({ id }) => assigned.has(id));
    const granted = await this.#directlyGranted(identity, projects, signal);
    if (granted.length === 0 && projects.length > 0) await this.#refuseUnknownRole(identity, signal);
    return granted;
  }

  /** One call for all projects; undefined when the user may not ask. */
  async #assignedProjects(identity: string, signal: AbortSignal): Promise<ReadonlySet<string> | undefined> {
    try {
      const roleId = await this.#roleId(identity, signal);
      if (roleId === undefined) throw await this.#unknownRole(signal);
      return await this.#projectsOfRole(identity, roleId, signal);
    } catch (error) {
      if (!isForbidden(error)) throw error;
      this.#logger.debug('keystone hides role assignments; asking project by project', {
        reason: (error as Error).message,
      });
      return undefined;
    }
  }

  async #projectsOfRole(identity: string, roleId: string, signal: AbortSignal): Promise<ReadonlySet<string>> {
    const { userId } = await this.#session.token(signal);
    const filter = `user.id=${encodeURIComponent(userId)}&role.id=${encodeURIComponent(roleId)}&effective`;
    const projects = new Set<string>();
    const first = `${identity}/role_assignments?${filter}`;
    for await (const page of this.#pages(first, assignmentPage, LISTING_ROLES, signal)) {
      for (const { role, user, scope } of page.role_assignments) {
        // A server that ignores the filter must not make everything rated.
        if (role.id === roleId && user?.id === userId && scope.project !== undefined) {
          projects.add(scope.project.id);
        }
      }
    }
    return projects;
  }

  async #directlyGranted(
    identity: string,
    projects: readonly Project[],
    signal: AbortSignal,
  ): Promise<readonly Project[]> {
    const { userId } = await this.#session.token(signal);
    const granted = await concurrently(
      projects,
      PROJECTS_AT_A_TIME,
      (candidate, shared) => this.#hasDirectGrant(identity, candidate.id, userId, shared),
      signal,
    );
    return projects.filter((_, index) => granted[index]);
  }

  async #hasDirectGrant(
    identity: string,
    projectId: string,
    userId: string,
    signal: AbortSignal,
  ): Promise<boolean> {
    const url = `${identity}/projects/${encodeURIComponent(projectId)}/users/${encodeURIComponent(userId)}/roles`;
    const response = await this.#session.request({ url }, LISTING_ROLES, signal);
    // The project was deleted since it was listed.
    if (response.status === 404) return false;
    const call = `GET ${shownUrl(url)}`;
    if (response.status !== 200) throw refusal(call, response);
    const { roles } = inShape(call, roleList, parseJson(call, response.body));
    return roles.some((role) => role.name === this.#options.role);
  }

  async #roleId(identity: string, signal: AbortSignal): Promise<string | undefined> {
    const url = `${identity}/roles?name=${encodeURIComponent(this.#options.role)}`;
    const response = await this.#session.request({ url }, LISTING_ROLES, signal);
    const call = `GET ${shownUrl(url)}`;
    if (response.status !== 200) throw refusal(call, response);
    const { roles } = inShape(call, roleList, parseJson(call, response.body));
    return roles.find((role) => role.name === this.#options.role)?.id;
  }

  /** "No project has the role" is an answer; "there is no such role" is a mistake somebody must mend. */
  async #refuseUnknownRole(identity: string, signal: AbortSignal): Promise<void> {
    try {
      if ((await this.#roleId(identity, signal)) === undefined) throw await this.#unknownRole(signal);
    } catch (error) {
      if (!isForbidden(error)) throw error;
    }
  }

  async #unknownRole(signal: AbortSignal): Promise<RejectedError> {
    const { userName } = await this.#session.token(signal);
    const { role } = this.#options;
    return new RejectedError(
      'RATECAT_ROLE_UNKNOWN',
      `Keystone has no role '${role}', so no project can be marked for rating. Create it with: openstack role create ${role} – then for each project: openstack role add --user ${userName} --project <project> ${role}. To rate every project instead, set options.ignore_rating_role: true.`,
    );
  }

  /** Every page of a list. Only the query of `links.next` is believed: the token must not travel to another server. */
  async *#pages<S extends z.ZodType<{ links?: z.output<typeof links> }>>(
    first: string,
    shape: S,
    purpose: CallPurpose,
    signal: AbortSignal,
  ): AsyncIterable<z.output<S>> {
    const base = first.replace(/\?.*$/s, '');
    const call = `GET ${shownUrl(base)}`;
    const visited = new Set<string>();
    let url: string | undefined = first;
    while (url !== undefined) {
      if (visited.has(url)) throw malformed(call, 'links to a page that was already read');
      visited.add(url);
      const response = await this.#session.request({ url }, purpose, signal);
      if (response.status !== 200) throw refusal(call, response);
      const page: z.output<S> = inShape(call, shape, parseJson(call, response.body));
      yield page;
      const next = page.links?.next ?? undefined;
      url = next === undefined || next === '' ? undefined : base + queryOf(next, first);
    }
  }
}

function queryOf(link: string, base: string): string {
  return URL.canParse(link, base) ? new URL(link, base).search : '';
}

function isForbidden(error: unknown): boolean {
  return isRatecatError(error) && error.code === 'RATECAT_ROLE_MISSING';
}

export default definePlugin({
  kind: 'fetcher',
  name: 'keystone',
  options,
  secretOptions: keystoneSecrets,
  create: (settings, context) => new KeystoneFetcher(settings, context),
});
