import type { Entity, KeystoneAdmin } from './keystone-admin.js';
import type { Steps } from './setup-steps.js';
import { openstackCommand } from './shell-command.js';

/** A role of a user on a project. What a dry run would have made is known by name only. */
export interface Grant {
  readonly user: Named;
  readonly project: Named;
  readonly role: Named;
}

export interface Named {
  readonly name: string;
  readonly entity: Entity | undefined;
  /** Id of the domain; roles have none. */
  readonly domain?: string | undefined;
}

export async function ensureGrant(admin: KeystoneAdmin, steps: Steps, grant: Grant): Promise<void> {
  const what = describe(grant);
  const whole = entitiesOf(grant);
  if (whole !== undefined && (await isGranted(admin, whole))) return await steps.already(what);
  await steps.perform({
    what,
    outcome: 'done',
    script: [command('add', grant)],
    apply: async () => {
      if (whole !== undefined) await admin.grant(whole.user, whole.project, whole.role);
    },
  });
}

export async function removeGrant(admin: KeystoneAdmin, steps: Steps, grant: Grant): Promise<void> {
  const whole = entitiesOf(grant);
  const what = `no ${describe(grant)}`;
  if (whole === undefined || !(await isGranted(admin, whole))) return await steps.already(what);
  await steps.perform({
    what,
    outcome: 'done',
    script: [command('remove', grant)],
    apply: () => admin.revoke(whole.user, whole.project, whole.role),
  });
}

type Whole = Readonly<Record<keyof Grant, Entity>>;

function entitiesOf({ user, project, role }: Grant): Whole | undefined {
  if (user.entity === undefined || project.entity === undefined || role.entity === undefined)
    return undefined;
  return { user: user.entity, project: project.entity, role: role.entity };
}

async function isGranted(admin: KeystoneAdmin, { user, project, role }: Whole): Promise<boolean> {
  return (await admin.rolesOf(user, project)).some(({ id }) => id === role.id);
}

function describe({ user, project, role }: Grant): string {
  return `role '${role.name}' of '${user.name}' on project '${project.name}'`;
}

function command(verb: 'add' | 'remove', { user, project, role }: Grant): string {
  const options: Record<string, string> = { user: user.name };
  if (user.domain !== undefined) options['user-domain'] = user.domain;
  options.project = project.name;
  if (project.domain !== undefined) options['project-domain'] = project.domain;
  return openstackCommand({ command: `role ${verb}`, options, values: [role.name] });
}
