import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Config } from '../config/config.js';
import { loadConfig } from '../config/load-config.js';
import type { Problem } from '../config/problems.js';
import { checkExpression, type PreparedPlugins, preparePlugins } from '../daemon/build-pipelines.js';
import { parseDatabaseUrl } from '../database/database-url.js';
import { describeError } from '../plugin-api/index.js';
import type { Cli } from './cli.js';

export interface OpenedConfig {
  readonly config: Config;
  readonly plugins: PreparedPlugins;
  readonly warnings: readonly Problem[];
}

interface ConfigFile {
  readonly file: string;
  /** The example of the package: its data belong into the working folder, not into the package. */
  readonly isShipped: boolean;
}

/** The configuration of this command line, with its plugins found and their options checked. */
export async function openConfig(cli: Cli): Promise<OpenedConfig> {
  const { config, warnings } = await loadOnly(cli);
  return { config, warnings, plugins: await preparePlugins(config) };
}

/** The configuration alone, its plugins unchecked. */
export async function loadOnly(cli: Cli): Promise<Omit<OpenedConfig, 'plugins'>> {
  const { file, isShipped } = findConfig(cli);
  const ownFolder = isShipped && !cli.environment.RATECAT_DATA ? './data' : undefined;
  return loadConfig(file, cli.environment, {
    dataFolder: cli.globals().dataDir ?? ownFolder,
    checkExpression,
    checkDatabaseUrl,
  });
}

export function findConfig(cli: Pick<Cli, 'globals' | 'environment' | 'packageFolder'>): ConfigFile {
  const named = cli.globals().config ?? cli.environment.RATECAT_CONFIG;
  if (named !== undefined && named !== '') return { file: named, isShipped: false };
  const usual = ['ratecat.yml', '/etc/ratecat/ratecat.yml'].find((file) => existsSync(file));
  if (usual !== undefined) return { file: usual, isShipped: false };
  return { file: join(cli.packageFolder, 'config/ratecat.yml'), isShipped: true };
}

function checkDatabaseUrl(url: string): string | undefined {
  try {
    parseDatabaseUrl(url, '.');
    return undefined;
  } catch (error) {
    return describeError(error);
  }
}
