import type { Command } from 'commander';
import { allMigrations, composeServices, openConfiguredDatabase } from '../daemon/composition-root.js';
import { EXIT } from '../daemon/exit-codes.js';
import { DaemonLogger } from '../daemon/logger.js';
import { prepareDatabase } from '../daemon/run-daemon.js';
import { pendingMigrations } from '../database/migrate.js';
import { createDatabase } from '../setup/database-setup.js';
import { readSecret } from '../setup/secret-file.js';
import { Steps } from '../setup/setup-steps.js';
import { type Cli, examples } from './cli.js';
import { loadOnly, openConfig } from './open-config.js';
import { refuseAbsent } from './with-services.js';

interface CreateOptions {
  readonly adminUrlFile?: string;
  readonly clientHost?: string;
  readonly dryRun?: true;
}

export function define(command: Command, cli: Cli): void {
  defineCreate(command, cli);
  command
    .command('upgrade')
    .summary('create or upgrade the tables')
    .description(
      'Creates or upgrades the tables of the core, the storage and the rating modules. Any number of times, from any ' +
        'number of hosts at once; an interrupted upgrade is repeated by running it again.',
    )
    .addHelpText(
      'after',
      examples([
        'ratecat dbsync upgrade --config ratecat.yml',
        'before the first start, and after each new version',
      ]),
    )
    .action(() => cli.run(() => upgrade(cli)));
  command
    .command('status')
    .summary('what an upgrade would do')
    .description(
      'Lists what an upgrade would do, and changes nothing. Exit code 1 when there is something to do.',
    )
    .addHelpText('after', examples(['ratecat dbsync status', 'is the database ready for this version?']))
    .action(() => cli.run(() => status(cli)));
}

function defineCreate(command: Command, cli: Cli): void {
  command
    .command('create')
    .summary('make database and user, or repair them')
    .description(
      'Makes the database and the user that database.url names, with the password that it has and no more privileges than Ratecat ' +
        "needs, from an administrator's credentials; for SQLite, the folder. What is there and right stays as it is. The tables " +
        "come with 'ratecat dbsync upgrade' or 'ratecat up'.",
    )
    .option(
      '--admin-url-file <file>',
      "its first line is the administrator's URL, such as mysql://root:PASSWORD@db.example; default: $RATECAT_ADMIN_URL, else " +
        'root over the unix_socket of database.url',
    )
    .option(
      '--client-host <host>',
      "from where the user may log in; default: 'localhost' with a unix_socket, else '%'",
    )
    .option('--dry-run', 'print the SQL for what is to be done, and change nothing')
    .addHelpText(
      'after',
      examples(
        ['ratecat dbsync create --admin-url-file admin-url', 'before the first start, with MySQL or MariaDB'],
        ['ratecat dbsync create --dry-run', 'the SQL, for whoever administers the server'],
      ),
    )
    .action((options: CreateOptions) => cli.run(() => create(cli, options)));
}

async function create(cli: Cli, options: CreateOptions): Promise<undefined> {
  const { config } = await loadOnly(cli);
  const { url } = config.database;
  const steps = new Steps({
    isDryRun: options.dryRun === true,
    comment: url.startsWith('sqlite:') ? '#' : '--',
    print: (line) => cli.output.line(line),
  });
  const { adminUrlFile, clientHost } = options;
  const adminUrl =
    adminUrlFile === undefined
      ? cli.environment.RATECAT_ADMIN_URL || undefined
      : await readSecret(adminUrlFile);
  await createDatabase({ url, dataFolder: config.dataFolder, adminUrl, clientHost }, steps);
  return undefined;
}

/** Brings the tables up to date and gives modules their first state. */
export async function upgrade(cli: Cli): Promise<undefined> {
  const { config, plugins } = await openConfig(cli);
  const logger = DaemonLogger.create({ level: 'warn', format: config.log.format });
  const database = await openConfiguredDatabase(config);
  try {
    const before = await pendingMigrations(database, allMigrations(plugins));
    const parts = { config, plugins, logger, migrates: true };
    await prepareDatabase(parts, composeServices(parts, database));
    for (const { module, name } of before) await cli.output.line(`${module} ${name}`);
    await cli.output.line(
      before.length === 0 ? 'The tables are up to date.' : 'The tables are up to date now.',
    );
  } finally {
    await database.close();
  }
  return undefined;
}

async function status(cli: Cli): Promise<number> {
  const { config, plugins } = await openConfig(cli);
  refuseAbsent(config);
  const database = await openConfiguredDatabase(config);
  try {
    const pending = await pendingMigrations(database, allMigrations(plugins));
    for (const { module, name } of pending) await cli.output.line(`${module} ${name} is missing`);
    await cli.output.line(
      pending.length === 0
        ? 'The tables are up to date.'
        : "'ratecat dbsync upgrade' brings the tables up to date.",
    );
    return pending.length === 0 ? EXIT.ok : EXIT.no;
  } finally {
    await database.close();
  }
}
