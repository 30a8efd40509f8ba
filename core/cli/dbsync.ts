import type { Command } from 'commander';
import { allMigrations, composeServices, openConfiguredDatabase } from '../daemon/composition-root.js';
import { EXIT } from '../daemon/exit-codes.js';
import { DaemonLogger } from '../daemon/logger.js';
import { prepareDatabase } from '../daemon/run-daemon.js';
import { pendingMigrations } from '../database/migrate.js';
import { type Cli, examples } from './cli.js';
import { openConfig } from './open-config.js';
import { refuseAbsent } from './with-services.js';

export function define(command: Command, cli: Cli): void {
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
