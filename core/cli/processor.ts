import type { Command } from 'commander';
import { type Cli, examples } from './cli.js';
import { serve } from './serve.js';

export function define(command: Command, cli: Cli): void {
  command
    .description(
      "As 'up', for a database that 'ratecat dbsync upgrade' has prepared: tables are never changed, a database that " +
        'needs it is refused (exit code 78). Any number of processors on any number of hosts share one database.',
    )
    .addHelpText(
      'after',
      examples(
        ['ratecat dbsync upgrade && ratecat processor', 'prepare the database once, then rate'],
        ['ratecat processor --config /etc/ratecat/ratecat.yml', 'what a service manager runs'],
      ),
    )
    .action(() => cli.run(() => serve(cli, { migrates: false, servesApi: false })));
}
