import type { Command } from 'commander';
import { type Cli, examples } from './cli.js';
import { upgrade } from './dbsync.js';

export function define(command: Command, cli: Cli): void {
  command
    .description(
      "Creates the tables of the storage. Does the same as 'ratecat dbsync upgrade': both may run in any order, any " +
        'number of times.',
    )
    .addHelpText('after', examples(['ratecat storage-init', 'prepare the database of the configuration']))
    .action(() => cli.run(() => upgrade(cli)));
}
