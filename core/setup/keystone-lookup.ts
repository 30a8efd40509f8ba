import type { Entity, KeystoneAdmin, Kind } from './keystone-admin.js';
import { setupRefused } from './setup-refused.js';
import type { Steps } from './setup-steps.js';
import { openstackCommand } from './shell-command.js';

/** The role that marks the projects to be rated. */
export const RATING_ROLE = 'rating';

/** @throws ConfigError RATECAT_SETUP_REFUSED when there is none. */
export async function theDomain(admin: KeystoneAdmin, nameOrId: string): Promise<Entity> {
  const domain = one('domain', nameOrId, await admin.find('domain', nameOrId));
  if (domain === undefined)
    throw setupRefused(`Keystone has no domain '${nameOrId}'. Name another one with --domain.`);
  return domain;
}

export async function userIn(
  admin: KeystoneAdmin,
  domain: Entity,
  name: string,
): Promise<Entity | undefined> {
  return one('user', name, await admin.list('user', { domain_id: domain.id, name }));
}

export async function projectIn(
  admin: KeystoneAdmin,
  domain: Entity,
  name: string,
): Promise<Entity | undefined> {
  return one('project', name, await admin.list('project', { domain_id: domain.id, name }));
}

/** Creates the role if it is not there. Undefined in a dry run that would create it. */
export async function ensureRole(
  admin: KeystoneAdmin,
  steps: Steps,
  name: string,
): Promise<Entity | undefined> {
  const what = `role '${name}'`;
  const role = await roleNamed(admin, name);
  if (role !== undefined) {
    await steps.already(what);
    return role;
  }
  return await steps.perform({
    what,
    outcome: 'done',
    script: [openstackCommand({ command: 'role create', values: [name] })],
    apply: () => admin.create('role', { name }, () => roleNamed(admin, name)),
  });
}

/** @throws ConfigError RATECAT_SETUP_REFUSED when there is one that is written differently. */
export async function roleNamed(admin: KeystoneAdmin, name: string): Promise<Entity | undefined> {
  const roles = await admin.list('role', { name });
  const exact = roles.find((role) => role.name === name);
  if (exact !== undefined || roles[0] === undefined) return exact;
  // Keystone's database takes both for the same name; those who look for the role do not.
  throw setupRefused(
    `Keystone has a role '${roles[0].name}', which is not '${name}' but stands in its way. Rename it: ${openstackCommand({ command: 'role set', options: { name }, values: [roles[0].name] })}`,
  );
}

/** What was found for a name. @throws ConfigError RATECAT_SETUP_REFUSED when several were. */
export function one(kind: Kind, name: string, found: readonly Entity[]): Entity | undefined {
  const exact = found.filter((entity) => entity.name === name);
  const best = exact.length > 0 ? exact : found;
  if (best.length < 2) return best[0];
  const which = best.map(({ id, domain_id }) => (domain_id ? `${id} in domain ${domain_id}` : id)).join(', ');
  throw setupRefused(`Keystone has several ${kind}s named '${name}': ${which}. Give the id.`);
}
