import { type Command, Option } from 'commander';
import { systemClock } from '../daemon/system-clock.js';
import { httpFactory } from '../loading/http-client.js';
import { KeystoneAdmin } from '../setup/keystone-admin.js';
import { KeystoneSetup, type PasswordSource, type SetupWishes } from '../setup/keystone-setup.js';
import { findCredentials } from '../setup/openstack-credentials.js';
import { rateProject } from '../setup/rate-project.js';
import { Steps } from '../setup/setup-steps.js';
import { type Cli, examples, UsageError } from './cli.js';

interface AdminOptions {
  readonly osCloud?: string;
  readonly openrc?: string;
  readonly dryRun?: true;
}

interface SetupOptions extends AdminOptions {
  readonly url: string;
  readonly internalUrl?: string;
  readonly adminUrl?: string;
  readonly region?: string;
  readonly user: string;
  readonly domain: string;
  readonly project: string;
  readonly role?: readonly string[];
  readonly serviceName: string;
  readonly passwordFile?: string;
  readonly secretFile: string;
  readonly newPassword?: true;
}

interface RateOptions extends AdminOptions {
  readonly domain?: string;
  readonly user: string;
  readonly userDomain: string;
  readonly remove?: true;
}

export function define(command: Command, cli: Cli): void {
  defineSetup(command, cli);
  defineRateProject(command, cli);
}

function defineSetup(command: Command, cli: Cli): void {
  const setup = command
    .command('setup')
    .summary('make user, roles, service and endpoints, or repair them')
    .description(
      "Makes what Ratecat needs in Keystone: its user with a role on the services' project, the roles of the policy and the role " +
        "'rating', the service of type 'rating' and its three endpoints. What is there and right stays as it is; what is " +
        'wrong is changed, and said. May be run again at any time, also after an interruption.',
    )
    .requiredOption(
      '--url <url>',
      'where clients reach the API: its root, such as http://rating.example:8889',
    )
    .option('--internal-url <url>', 'the same for the internal endpoint; default: --url')
    .option('--admin-url <url>', 'the same for the admin endpoint; default: --url')
    .option(
      '--region <name>',
      "region of the endpoints; default: that of the credentials, or Keystone's only one",
    )
    .option('--user <name>', "Ratecat's user", 'ratecat')
    .option('--domain <domain>', 'domain of user and project, by name or id', 'Default')
    .option('--project <name>', 'project that the user logs in to', 'service')
    .option('--role <name>', 'role of the user on it, may be repeated; default: admin', appended)
    .option('--service-name <name>', 'name of a new service', 'ratecat')
    .addOption(
      new Option('--password-file <file>', "the user's password is the first line of this file").conflicts([
        'newPassword',
      ]),
    )
    .option(
      '--secret-file <file>',
      'the same, but a file that is not there is made, with a new password',
      '/etc/ratecat/password',
    )
    .option('--new-password', 'make a new password also when the user exists and the file does not')
    .addHelpText(
      'after',
      examples(
        [
          'ratecat keystone setup --os-cloud admin --url http://rating.example:8889',
          'as an administrator of clouds.yaml',
        ],
        [
          'ratecat keystone setup --openrc admin-openrc.sh --url http://rating.example:8889 --dry-run',
          'what would be done, as openstack commands',
        ],
      ),
    )
    .action((options: SetupOptions) => cli.run(() => runSetup(cli, options)));
  addAdminOptions(setup);
}

function defineRateProject(command: Command, cli: Cli): void {
  const rate = command
    .command('rate-project')
    .summary('have a project rated')
    .description(
      "Gives Ratecat's user the role 'rating' on a project, by which the fetcher 'keystone' knows the projects to be rated.",
    )
    .argument('<project>', 'name or id of the project')
    .option('--domain <domain>', "the project's domain, by name or id, when the name alone is not unique")
    .option('--user <name>', "Ratecat's user", 'ratecat')
    .option('--user-domain <domain>', "the user's domain, by name or id", 'Default')
    .option('--remove', 'take the role away: the project is rated no more')
    .addHelpText(
      'after',
      examples(['ratecat keystone rate-project shop --os-cloud admin', 'rate the project shop']),
    )
    .action((project: string, options: RateOptions) => cli.run(() => runRateProject(cli, project, options)));
  addAdminOptions(rate);
}

function addAdminOptions(command: Command): void {
  command
    .addOption(
      new Option('--os-cloud <name>', 'administrator: a cloud of clouds.yaml; default: $OS_CLOUD').conflicts(
        'openrc',
      ),
    )
    .option(
      '--openrc <file>',
      'administrator: a file of OS_* variables, which is read and never run; default: the environment',
    )
    .option('--dry-run', 'print the openstack commands for what is to be done, and change nothing');
}

function appended(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

async function runSetup(cli: Cli, options: SetupOptions): Promise<undefined> {
  const wishes = wishesOf(options);
  return await withAdmin(cli, options, (admin, steps) => new KeystoneSetup(admin, steps, wishes).run());
}

async function runRateProject(cli: Cli, project: string, options: RateOptions): Promise<undefined> {
  const wishes = {
    project: filled(project, 'the project'),
    projectDomain: options.domain,
    user: filled(options.user, '--user'),
    userDomain: options.userDomain,
    remove: options.remove === true,
  };
  return await withAdmin(cli, options, (admin, steps) => rateProject(admin, steps, wishes));
}

async function withAdmin(
  cli: Cli,
  options: AdminOptions,
  use: (admin: KeystoneAdmin, steps: Steps) => Promise<void>,
): Promise<undefined> {
  const { environment, output } = cli;
  const credentials = await findCredentials({ cloud: options.osCloud, openrc: options.openrc, environment });
  const { signal } = new AbortController();
  const admin = new KeystoneAdmin(credentials, { http: httpFactory, clock: systemClock, signal });
  const steps = new Steps({
    isDryRun: options.dryRun === true,
    comment: '#',
    print: (line) => output.line(line),
  });
  try {
    await use(admin, steps);
  } finally {
    await admin.close();
  }
  return undefined;
}

function wishesOf(options: SetupOptions): SetupWishes {
  const url = rootUrl(options.url, '--url');
  return {
    user: filled(options.user, '--user'),
    domain: filled(options.domain, '--domain'),
    project: filled(options.project, '--project'),
    roles: (options.role ?? ['admin']).map((role) => filled(role, '--role')),
    serviceName: filled(options.serviceName, '--service-name'),
    region: options.region,
    urls: {
      public: url,
      internal: options.internalUrl === undefined ? url : rootUrl(options.internalUrl, '--internal-url'),
      admin: options.adminUrl === undefined ? url : rootUrl(options.adminUrl, '--admin-url'),
    },
    password: passwordSource(options),
  };
}

function passwordSource({ passwordFile, secretFile, newPassword }: SetupOptions): PasswordSource {
  if (passwordFile !== undefined) return { kind: 'given', file: passwordFile };
  return { kind: 'kept', file: secretFile, mayReplace: newPassword === true };
}

function filled(value: string, option: string): string {
  if (value.trim() === '') throw new UsageError(`${option} is empty`);
  return value;
}

/** Clients add `/v1` and `/v2` themselves. */
function rootUrl(text: string, option: string): string {
  const url = text.replace(/\/+$/, '');
  const parsed = /^https?:\/\//.test(url) && URL.canParse(url) ? new URL(url) : undefined;
  if (parsed === undefined || parsed.username !== '' || parsed.search !== '' || parsed.hash !== '') {
    throw new UsageError(`${option}: give an http or https URL such as http://rating.example:8889`);
  }
  if (/\/v[12]$/.test(parsed.pathname)) {
    throw new UsageError(
      `${option}: give the root of the API, without ${parsed.pathname.slice(-3)} at the end`,
    );
  }
  return url;
}
