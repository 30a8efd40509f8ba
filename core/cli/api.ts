import type { Command } from 'commander';
import { type Cli, examples } from './cli.js';
import { serveApi } from './serve.js';

export function define(command: Command, cli: Cli): void {
  command
    .description(
      "Serves CloudKitty's HTTP API, versions 1 and 2, and Ratecat's own below /ratecat/v1, where the configuration says " +
        "(section 'api'; http://127.0.0.1:8889 by default). The database must be prepared: 'ratecat dbsync upgrade', or a " +
        "processor started with 'ratecat up', which serves the API itself. Any number of these run beside each other.",
    )
    .addHelpText(
      'after',
      examples(
        ['ratecat api', 'serve the data in ./data without authentication, on this machine only'],
        ['ratecat api --config /etc/ratecat/ratecat.yml', 'what a service manager runs'],
        ['curl http://127.0.0.1:8889/v1/rating/modules', 'ask it'],
      ),
    )
    .action(() => cli.run(() => serveApi(cli)));
}
