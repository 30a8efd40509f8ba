import { type Command, InvalidArgumentError, Option } from 'commander';
import { EXIT } from '../daemon/exit-codes.js';
import { systemClock } from '../daemon/system-clock.js';
import { httpFactory } from '../loading/http-client.js';
import { openSource } from '../migrating/source-database.js';
import { type Instant, isRatecatError } from '../plugin-api/index.js';
import { findCredentials } from '../setup/openstack-credentials.js';
import { ApiCounterpart } from '../shadow/api-counterpart.js';
import { ShadowComparison } from '../shadow/comparison.js';
import type { Counterpart } from '../shadow/counterpart.js';
import { DatabaseCounterpart } from '../shadow/database-counterpart.js';
import { type Cli, examples } from './cli.js';
import { choosePipeline, type SourceOptions, sourceUrl } from './cloudkitty-options.js';
import { parseInstant, wholeNumber } from './report-options.js';
import { ShadowReport } from './shadow-report.js';
import { type Session, withServices } from './with-services.js';

interface Options extends SourceOptions {
  readonly api?: true;
  readonly endpoint?: string;
  readonly osCloud?: string;
  readonly openrc?: string;
  readonly pipeline?: string;
  readonly since?: string;
  readonly interval: number;
  readonly once?: true;
  readonly json?: true;
}

const DAY = 86_400;

export function define(command: Command, cli: Cli): void {
  command
    .description(
      'Compares what Ratecat rates with what a CloudKitty beside it rates: quantity and price of each period, scope and ' +
        'metric, as soon as both have them, until Ctrl-C. Only reads, here and there. Exit code 1 tells that something ' +
        "differed. With 'compat: strict' both compute alike.",
    )
    .option(
      '--from <url>',
      "CloudKitty's database, where its storage is sqlalchemy; absent: the database of the configuration",
    )
    .addOption(
      new Option('--from-file <file>', 'file that holds the URL, which is a secret').conflicts('from'),
    )
    .addOption(
      new Option(
        '--api',
        "ask CloudKitty's API, where its storage is another; the catalogue knows it",
      ).conflicts(['from', 'fromFile']),
    )
    .addOption(
      new Option('--endpoint <url>', 'ask the API at this root, such as http://rating.example:8889')
        .argParser(httpUrl)
        .implies({ api: true })
        .conflicts(['from', 'fromFile']),
    )
    .addOption(
      new Option(
        '--os-cloud <name>',
        'log-in for the API: a cloud of clouds.yaml; default: $OS_CLOUD',
      ).conflicts('openrc'),
    )
    .option('--openrc <file>', 'log-in for the API: a file of OS_* variables')
    .option('--pipeline <name>', 'pipeline to compare, where the configuration has several')
    .option('--since <time>', 'begin with this instant; default: a day ago')
    .addOption(
      new Option('--interval <seconds>', 'how often to look for new periods')
        .argParser(wholeNumber(1))
        .default(60),
    )
    .option('--once', 'compare what both have now, and end')
    .option('--json', 'one JSON object a line: every period with every sum, then the result')
    .addHelpText(
      'after',
      examples(
        [
          'ratecat shadow --from-file /root/cloudkitty.url',
          'follow a CloudKitty that rates into its database',
        ],
        [
          'ratecat shadow --api --os-cloud admin --since 2026-01 --once',
          'one that rates into InfluxDB: all since January, through its API',
        ],
      ),
    )
    .action((options: Options) => cli.run(() => shadow(cli, options)));
}

async function shadow(cli: Cli, options: Options): Promise<number> {
  return withServices(cli, async (session) => {
    const place = choosePipeline(session, options.pipeline).pipeline;
    const since = sinceOf(options.since, session.config.billing.timeZone);
    const counterpart = await counterpartOf(cli, session, options, place);
    const { storage, states } = session.services;
    const comparison = new ShadowComparison({ ...place, counterpart, storage, states }, since);
    const report = new ShadowReport(cli.output, options.json === true);
    const stop = new AbortController();
    const onSignal = () => stop.abort();
    process.once('SIGINT', onSignal).once('SIGTERM', onSignal);
    try {
      await follow(comparison, report, options, stop.signal);
    } finally {
      process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
      await counterpart.close();
    }
    await report.end(comparison.strangers);
    return report.isClean ? EXIT.ok : EXIT.no;
  });
}

/** Until everything is compared, or the signal says so. While it follows, an outage of the other side is only told. */
async function follow(
  comparison: ShadowComparison,
  report: ShadowReport,
  { once, interval }: Options,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      for await (const compared of comparison.round(signal)) await report.period(compared);
      if (once) return;
      await systemClock.sleep(interval * 1000, signal);
    } catch (error) {
      if (signal.aborted) return;
      if (once || !isRatecatError(error) || !error.retryable) throw error;
      process.stderr.write(`${error.message}\nNext try in ${interval} s.\n`);
      await systemClock.sleep(interval * 1000, signal).catch(() => undefined);
    }
  }
}

async function counterpartOf(
  cli: Cli,
  { config }: Session,
  options: Options,
  place: ReturnType<typeof choosePipeline>['pipeline'],
): Promise<Counterpart> {
  if (options.api) {
    const { osCloud: cloud, openrc, endpoint } = options;
    const credentials = await findCredentials({ cloud, openrc, environment: cli.environment });
    const { region } = credentials;
    return new ApiCounterpart(
      credentials.options,
      { ...place, endpoint, region },
      { http: httpFactory, clock: systemClock },
    );
  }
  const folder = options.from === undefined ? config.dataFolder : process.cwd();
  const source = await openSource(await sourceUrl(options, config.database.url), folder);
  try {
    return await DatabaseCounterpart.open(source, place);
  } catch (error) {
    await source.close();
    throw error;
  }
}

function sinceOf(text: string | undefined, timeZone: string): Instant {
  return text === undefined ? Math.floor(Date.now() / 1000) - DAY : parseInstant(text, timeZone);
}

function httpUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url !== undefined && /^https?:$/.test(url.protocol) && url.search === '' && url.hash === '')
    return text;
  throw new InvalidArgumentError('It must be an http or https URL, such as http://rating.example:8889.');
}
