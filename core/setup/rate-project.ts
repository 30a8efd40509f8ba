import type { Entity, KeystoneAdmin } from './keystone-admin.js';
import { ensureGrant, removeGrant } from './keystone-grants.js';
import { ensureRole, one, RATING_ROLE, roleNamed, theDomain, userIn } from './keystone-lookup.js';
import { setupRefused } from './setup-refused.js';
import type { Steps } from './setup-steps.js';

export interface RateProjectWishes {
  /** By id or name. */
  readonly project: string;
  /** Where a name is looked for; everywhere without it. */
  readonly projectDomain: string | undefined;
  readonly user: string;
  readonly userDomain: string;
  /** Takes the role away. */
  readonly remove: boolean;
}

/**
 * Gives Ratecat's user the role by which the fetcher `keystone` knows the projects to be rated, or takes it away.
 * @throws ConfigError RATECAT_SETUP_REFUSED when there is no such user or project, or several. As `KeystoneAdmin` else.
 */
export async function rateProject(
  admin: KeystoneAdmin,
  steps: Steps,
  wishes: RateProjectWishes,
): Promise<void> {
  await admin.logIn();
  const user = await theUser(admin, wishes);
  const project = await theProject(admin, wishes);
  const role = wishes.remove
    ? await roleNamed(admin, RATING_ROLE)
    : await ensureRole(admin, steps, RATING_ROLE);
  const grant = {
    user: { name: user.name, entity: user, domain: user.domain_id ?? undefined },
    project: { name: project.name, entity: project, domain: project.domain_id ?? undefined },
    role: { name: RATING_ROLE, entity: role },
  };
  if (wishes.remove) await removeGrant(admin, steps, grant);
  else await ensureGrant(admin, steps, grant);
}

async function theUser(admin: KeystoneAdmin, { user: name, userDomain }: RateProjectWishes): Promise<Entity> {
  const user = await userIn(admin, await theDomain(admin, userDomain), name);
  if (user !== undefined) return user;
  throw setupRefused(
    `Keystone has no user '${name}' in domain '${userDomain}'. 'ratecat keystone setup' makes it; or name the one that Ratecat logs in with: --user, --user-domain.`,
  );
}

async function theProject(admin: KeystoneAdmin, wishes: RateProjectWishes): Promise<Entity> {
  const { project: name, projectDomain } = wishes;
  const domain = projectDomain === undefined ? undefined : await theDomain(admin, projectDomain);
  const filter = domain === undefined ? undefined : { domain_id: domain.id };
  const found = await admin.find('project', name, filter);
  const project = one(
    'project',
    name,
    found.filter(({ domain_id }) => domain === undefined || domain_id === domain.id),
  );
  if (project !== undefined) return project;
  const where = projectDomain === undefined ? '' : ` in domain '${projectDomain}'`;
  throw setupRefused(
    `Keystone has no project '${name}'${where}, neither by name nor by id. See: openstack project list`,
  );
}
