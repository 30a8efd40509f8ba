import { type Command, Option } from 'commander';
import { loadMetrics } from '../config/load-metrics.js';
import { checkExpression } from '../daemon/build-pipelines.js';
import { EXIT } from '../daemon/exit-codes.js';
import { systemClock } from '../daemon/system-clock.js';
import { type MigrationReport, migrateFromCloudkitty } from '../migrating/from-cloudkitty.js';
import type { RatedRange } from '../migrating/rated-rows.js';
import { openSource } from '../migrating/source-database.js';
import { author } from './author.js';
import { type Cli, examples, UsageError } from './cli.js';
import { choosePipeline, type SourceOptions, sourceUrl } from './cloudkitty-options.js';
import { migrationBar, silentProgress } from './migrate-bar.js';
import { jsonReport, needsAttention, textReport } from './migrate-report.js';
import { parseInstant } from './report-options.js';
import { withServices } from './with-services.js';

interface Options extends SourceOptions {
  readonly pipeline?: string;
  readonly rulesOnly?: true;
  readonly framesOnly?: true;
  readonly frameFiles?: readonly string[];
  readonly dryRun?: true;
  readonly since?: string;
  readonly until?: string;
  readonly full?: true;
  readonly json?: true;
}

export function define(command: Command, cli: Cli): void {
  command
    .command('from-cloudkitty')
    .summary('take over a CloudKitty database')
    .description(
      'Takes over what a CloudKitty database holds: rules, module states, how far each scope is rated, and rated frames. The ' +
        'database is only read. Every run may be repeated: one that was interrupted goes on where it stopped, a later one takes ' +
        'over what has been added since. At the end every sum is compared; exit code 1 tells that something differs.',
    )
    .option(
      '--from <url>',
      'mysql://user:password@host/database or sqlite:///path, which others see in the list of processes; absent: the database ' +
        'of the configuration',
    )
    .addOption(
      new Option('--from-file <file>', 'file that holds the URL, which is a secret').conflicts('from'),
    )
    .option('--pipeline <name>', 'pipeline that goes on rating, where the configuration has several')
    .addOption(new Option('--rules-only', 'rules and module states').conflicts('framesOnly'))
    .option('--frames-only', 'scope states, reprocessing and rated frames')
    .addOption(
      new Option(
        '--frame-files <file...>',
        'files with the rated frames, where CloudKitty kept them outside its database: line protocol of InfluxDB, or NDJSON of ' +
          'Elasticsearch or OpenSearch; may be packed by gzip',
      ).conflicts('rulesOnly'),
    )
    .option('--since <time>', 'rated frames from this instant on')
    .option('--until <time>', 'rated frames up to, not including, this instant')
    .option('--dry-run', 'say what would change, and change nothing')
    .option('--full', 'list every sum that was compared')
    .option('--json', 'one JSON document with every sum')
    .addHelpText(
      'after',
      examples(
        ['ratecat migrate from-cloudkitty --from-file /root/cloudkitty.url --dry-run', 'what is there?'],
        [
          'ratecat migrate from-cloudkitty --from-file /root/cloudkitty.url',
          'move in; before the first start',
        ],
        [
          'ratecat migrate from-cloudkitty --from-file /root/cloudkitty.url --frame-files export.lp.gz',
          'frames out of an export of InfluxDB',
        ],
      ),
    )
    .action((options: Options) => cli.run(() => fromCloudkitty(cli, options)));
}

async function fromCloudkitty(cli: Cli, options: Options): Promise<number> {
  return withServices(cli, async (session) => {
    const { services, config, signal } = session;
    const url = await sourceUrl(options, config.database.url);
    const range = rangeOf(options, config.billing.timeZone);
    const { pipeline, metricsFile } = choosePipeline(session, options.pipeline);
    const { metrics } = await loadMetrics(metricsFile, { checkExpression });
    const source = await openSource(url, options.from === undefined ? config.dataFolder : process.cwd());
    try {
      const report = await migrateFromCloudkitty(
        {
          ...services,
          pipeline,
          metrics,
          source,
          frameFiles: options.frameFiles,
          folder: config.dataFolder,
          clock: systemClock,
          author: author(),
          progress: process.stderr.isTTY === true ? migrationBar(process.stderr) : silentProgress,
        },
        {
          rules: options.framesOnly !== true,
          frames: options.rulesOnly !== true,
          dryRun: options.dryRun === true,
          range,
        },
        signal,
      );
      await print(cli, report, options);
      return options.dryRun !== true && needsAttention(report) ? EXIT.no : EXIT.ok;
    } finally {
      await source.close();
    }
  });
}

async function print(cli: Cli, report: MigrationReport, { json, full, dryRun }: Options): Promise<void> {
  const isDry = dryRun === true;
  if (json) return cli.output.line(JSON.stringify(jsonReport(report, isDry), null, 2));
  return cli.output.line(textReport(report, { isDry, isFull: full === true }));
}

function rangeOf({ since, until }: Options, timeZone: string): RatedRange {
  const range = {
    ...(since === undefined ? {} : { begin: parseInstant(since, timeZone) }),
    ...(until === undefined ? {} : { end: parseInstant(until, timeZone) }),
  };
  if (range.begin === undefined || range.end === undefined || range.begin < range.end) return range;
  throw new UsageError('--since must be before --until.');
}
