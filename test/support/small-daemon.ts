import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { openDatabase } from '../../core/database/open-database.js';
import { Decimal } from '../../core/plugin-api/index.js';
import { Command, ROOT, ratecat, writeConfig } from './daemon.js';
import { type StoredPrice, storedPrices } from './stored-prices.js';

export const FIXTURES = join(ROOT, 'test/fixtures');

export interface SmallDaemon {
  readonly folder: string;
  readonly config: string;
  readonly url: string;
}

export interface SmallDaemonOptions {
  /** Where the data go; default: inside the new folder. */
  readonly dataFolder?: string;
  readonly url?: string;
  readonly period?: number;
  /** Begin of the first period. */
  readonly start?: number;
  readonly scopes?: readonly string[];
  readonly collectDelayMs?: number;
  /** Keys that replace those of the configuration. */
  readonly change?: object;
}

/** A folder with the configuration of a daemon whose every price is known beforehand: see `assertWhole`. */
export async function smallDaemon(options: SmallDaemonOptions = {}): Promise<SmallDaemon> {
  const folder = await mkdtemp(join(tmpdir(), 'ratecat-small-'));
  folders.push(folder);
  const data = options.dataFolder ?? join(folder, 'data');
  const url = options.url ?? `sqlite://${join(data, 'ratecat.db')}`;
  const config = await writeConfig(
    folder,
    {
      data_folder: data,
      database: { url },
      processor: { lease_seconds: 2 },
      retry: { first_seconds: 1, max_seconds: 2 },
      rating: [{ plugin: 'hashmap', rules: './rules.yml' }],
      collect: {
        period: options.period ?? 3600,
        wait_periods: 1,
        scope_key: 'project_id',
        metrics: './metrics.yml',
        start: new Date((options.start ?? lastDue() - 20 * 3600) * 1000).toISOString(),
      },
      fetcher: { plugin: 'static', options: { scopes: options.scopes ?? ['alpha', 'beta'] } },
      collector: {
        plugin: join(FIXTURES, 'deterministic-collector.mjs'),
        options: { delay_ms: options.collectDelayMs ?? 0 },
      },
      ...options.change,
    },
    {
      'metrics.yml': { metrics: { cpu: { unit: 'core', groupby: ['id'], metadata: ['flavor'] } } },
      'rules.yml': { services: { cpu: { mappings: [{ type: 'flat', cost: PRICE, start: '2000-01-01' }] } } },
    },
  );
  return { folder, config, url };
}

/** Price of one unit of everything. */
const PRICE = '0.3333333333333333';

/**
 * End of the newest period that is due. Hourly periods that are counted back from here leave the next one nearly an hour
 * away, whatever the time: on full hours, a test that counts periods would fail when it runs over one.
 */
export function lastDue(): number {
  return Math.floor(Date.now() / 60_000) * 60;
}

const folders: string[] = [];
const commands: Command[] = [];

/** `ratecat up`, or another command, that `clearAway` ends when a failed test left it running. */
export function startDaemon(
  { config }: SmallDaemon,
  environment: NodeJS.ProcessEnv = {},
  command = 'up',
): Command {
  const started = new Command([command, '--config', config], environment);
  commands.push(started);
  return started;
}

/** For `after`: ends what still runs and removes every folder that `smallDaemon` made. */
export async function clearAway(): Promise<void> {
  for (const { child } of commands) if (child.exitCode === null) child.kill('SIGKILL');
  await Promise.all(commands.map(({ finished }) => finished));
  await Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true, maxRetries: 3 })));
}

interface Deterministic {
  readonly RESOURCES: number;
  quantityOf(scope: string, metric: string, resource: number, begin: number): string;
}

export interface Whole {
  readonly scopes: readonly string[];
  readonly start: number;
  readonly period: number;
  /** Periods that must be there at least. */
  readonly least: number;
}

/**
 * Every scope has each period from `start` on exactly once, without a gap up to its last, with exactly the rows and prices
 * that its collector makes necessary. Gives the number of periods per scope.
 */
export async function assertWhole(
  url: string,
  { scopes, start, period, least }: Whole,
): Promise<readonly number[]> {
  const { RESOURCES, quantityOf } = (await import(
    pathToFileURL(join(FIXTURES, 'deterministic-collector.mjs')).href
  )) as Deterministic;
  const rows = await storedPrices(url);
  assert.deepEqual([...new Set(rows.map(({ scope }) => scope))].sort(), [...scopes].sort());
  return scopes.map((scope) => {
    const found = rows.filter((row) => row.scope === scope).map(rowText);
    const periods = Math.ceil(found.length / RESOURCES);
    const wanted = Array.from({ length: periods }, (_, index) => start + index * period).flatMap((begin) =>
      Array.from({ length: RESOURCES }, (_, resource) => {
        const quantity = Decimal.parse(quantityOf(scope, 'cpu', resource, begin));
        const price = quantity.times(Decimal.parse(PRICE)).toString();
        return rowText({ begin, id: `cpu-${resource}`, quantity: quantity.toString(), price });
      }),
    );
    assert.deepEqual(found, wanted, `rows of scope ${scope}`);
    assert.ok(periods >= least, `${periods} periods of ${scope}, ${least} wanted`);
    return periods;
  });
}

function rowText({
  begin,
  id,
  quantity,
  price,
}: Pick<StoredPrice, 'begin' | 'id' | 'quantity' | 'price'>): string {
  return `${begin} ${id} ${quantity} ${price}`;
}

export interface ScopeStatus {
  readonly scope: string;
  readonly state: string;
  readonly rated_up_to: string | null;
  readonly reason: string | null;
  readonly failures: number;
  readonly owner: string | null;
}

/** What `ratecat status --json` says; undefined where it cannot say anything yet. */
export async function statusOf(config: string): Promise<readonly ScopeStatus[] | undefined> {
  const { stdout } = await ratecat('status', '--json', '--config', config);
  return stdout === '' ? undefined : (JSON.parse(stdout) as readonly ScopeStatus[]);
}

/** Waits for a named state; a daemon that ended meanwhile will not bring it about. */
export async function waitUntil(
  what: string,
  holds: () => Promise<boolean> | boolean,
  { daemon, timeoutMs = 45_000 }: { readonly daemon?: Command; readonly timeoutMs?: number } = {},
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await holds())) {
    const log = daemon === undefined ? '' : `\n${daemon.stdout}${daemon.stderr}`.slice(-4000);
    if (daemon !== undefined && daemon.child.exitCode !== null)
      throw new Error(`ended before ${what}:${log}`);
    if (Date.now() > deadline) throw new Error(`waited in vain until ${what}${log}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Periods with usage; 0 while there is no database yet. Asked again and again, so it reads no points. */
export async function periodsStored(url: string): Promise<number> {
  try {
    const database = await openDatabase(url);
    try {
      const rows = await database.query(
        'SELECT COUNT(*) FROM ratecat_sql_frames WHERE points > 0 AND scope > 0',
      );
      return Number(rows[0]![0]);
    } finally {
      await database.close();
    }
  } catch {
    return 0;
  }
}
