import type { Command } from 'commander';
import { parseDatabaseUrl } from '../database/database-url.js';
import { backUpSqlite } from './backup-sqlite.js';
import { type Cli, examples, UsageError } from './cli.js';
import { loadOnly } from './open-config.js';
import { refuseAbsent } from './with-services.js';

interface Options {
  readonly force?: true;
  readonly json?: true;
}

export function define(command: Command, cli: Cli): void {
  command
    .description(
      'Copies the SQLite database into one file, while processors rate and the API answers. The copy shows one moment: every ' +
        'period in it is whole, and each scope is rated up to its mark. It is checked before it gets its name, so that a file ' +
        'of that name is always a complete backup. MySQL and MariaDB have programs of their own for this, such as mariadb-dump.',
    )
    .argument('<file>', 'where to')
    .option('--force', 'replace a file of that name')
    .option('--json', 'one JSON document')
    .addHelpText(
      'after',
      examples(
        ['ratecat backup /backup/ratecat.db', 'everything that Ratecat knows, in one file'],
        ['ratecat backup --force /backup/ratecat-$(date +%u).db', 'every night, the last seven kept'],
      ),
    )
    .action((file: string, options: Options) => cli.run(() => backUp(cli, file, options)));
}

async function backUp(cli: Cli, file: string, options: Options): Promise<undefined> {
  const { config } = await loadOnly(cli);
  const database = parseDatabaseUrl(config.database.url, config.dataFolder);
  if (database.engine !== 'sqlite')
    throw new UsageError(
      "database.url is MySQL or MariaDB, which 'ratecat backup' does not copy: use 'mariadb-dump --single-transaction'.",
    );
  refuseAbsent(config);
  const began = performance.now();
  const { bytes } = await backUpSqlite(database.path, file, { isReplacing: options.force === true });
  const seconds = Math.round(performance.now() - began) / 1000;
  const copy = { database: database.path, backup: file, bytes, seconds };
  await cli.output.line(
    options.json
      ? JSON.stringify(copy)
      : `${file}: ${bytes} bytes of ${database.path}, complete and checked.`,
  );
  return undefined;
}
