import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { openDatabase } from '../../../core/database/open-database.js';
import type { SqlTransaction, SqlValue } from '../../../core/plugin-api/index.js';
import { writeConfig } from '../../support/daemon.js';
import { FakePrometheus } from './fake-prometheus.js';

export const HOUR = 3600;

export interface FoundFinding {
  readonly area: string;
  readonly level: 'ok' | 'skipped' | 'warn' | 'fail';
  readonly id: string;
  readonly what: string;
  readonly where: string | null;
  readonly fix: string | null;
  readonly code: string | null;
}

export interface Examined {
  readonly worst: string;
  readonly exit_code: number;
  readonly findings: readonly FoundFinding[];
}

/** Runs a command line in whatever way; `code` is its exit code. */
export type Run = (
  args: readonly string[],
) => Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }>;

/**
 * A small installation in which everything is right: two projects in a Prometheus, one metric, one price. Each test breaks
 * one thing of it.
 */
export class Patient {
  readonly folder: string;
  readonly prometheus: FakePrometheus;
  readonly #run: Run;
  config: Record<string, unknown>;
  metrics: object = {
    metrics: {
      vm_cores: { unit: 'core', alt_name: 'cpu', groupby: ['id'], metadata: ['flavor'] },
    },
  };
  rules: object = { services: { cpu: { mappings: [{ type: 'flat', cost: '0.5', start: '2000-01-01' }] } } };

  private constructor(folder: string, prometheus: FakePrometheus, run: Run) {
    this.folder = folder;
    this.prometheus = prometheus;
    this.#run = run;
    const upstream = { url: prometheus.url };
    this.config = {
      data_folder: './data',
      database: { url: 'sqlite:ratecat.db' },
      rating: [{ plugin: 'hashmap', rules: './rules.yml' }, { plugin: 'noop' }],
      name: 'cloud',
      collect: { period: HOUR, wait_periods: 1, scope_key: 'project_id', metrics: './metrics.yml' },
      fetcher: { plugin: 'prometheus', options: { ...upstream, metric: 'vm_cores' } },
      collector: { plugin: 'prometheus', options: upstream },
    };
    prometheus.series = ['alpha', 'beta'].map((project_id) => ({
      name: 'vm_cores',
      labels: { project_id, id: `vm-${project_id}`, flavor: 'small' },
    }));
  }

  static async admit(run: Run): Promise<Patient> {
    const folder = await mkdtemp(join(tmpdir(), 'ratecat-doctor-'));
    return new Patient(folder, await FakePrometheus.start(), run);
  }

  async discharge(): Promise<void> {
    await this.prometheus.stop();
    await rm(this.folder, { recursive: true, force: true, maxRetries: 3 });
  }

  get databaseFile(): string {
    return join(this.folder, 'data/ratecat.db');
  }

  /** Writes the files; gives the path of the configuration. */
  async write(): Promise<string> {
    await writeFile(join(this.folder, 'rules.yml'), stringify(this.rules));
    return writeConfig(this.folder, this.config, { 'metrics.yml': this.metrics });
  }

  /** Makes the database, imports the rules, and has both scopes rated up to the last full hour. */
  async prepare(): Promise<void> {
    const config = await this.write();
    const { code, stderr } = await this.#run(['dbsync', 'upgrade', '--config', config]);
    if (code !== 0) throw new Error(stderr);
    const imported = await this.#run(['rules', 'import', join(this.folder, 'rules.yml'), '--config', config]);
    if (imported.code !== 0) throw new Error(imported.stderr);
    for (const scope of ['alpha', 'beta']) await this.rated(scope, lastHour());
  }

  /** A scope that is rated up to the instant. */
  async rated(scope: string, watermark: number, source = 'cloud'): Promise<void> {
    await this.execute(
      `INSERT INTO ratecat_scopes (source, scope_key, scope_id, fetcher, collector, watermark, last_begin, toggled_at,
       first_seen, commit_id) VALUES (?, 'project_id', ?, 'prometheus', 'prometheus', ?, ?, 0, 0, 'a commit')`,
      [source, scope, watermark, watermark - HOUR],
    );
  }

  async execute(sql: string, parameters: readonly SqlValue[] = []): Promise<void> {
    await this.transaction((tx) => tx.execute(sql, parameters));
  }

  async transaction(work: (tx: SqlTransaction) => Promise<unknown>): Promise<void> {
    const database = await openDatabase(`sqlite://${this.databaseFile}`);
    try {
      await database.transaction(work);
    } finally {
      await database.close();
    }
  }

  /** What `ratecat doctor` finds, with its exit code. */
  async examine(): Promise<Examined & { readonly code: number | null }> {
    const config = await this.write();
    const { code, stdout, stderr } = await this.#run(['doctor', '--json', '--config', config]);
    if (stdout === '') throw new Error(stderr);
    return { ...(JSON.parse(stdout) as Examined), code };
  }
}

/** End of the newest full hour. */
export function lastHour(): number {
  return Math.floor(Date.now() / 1000 / HOUR) * HOUR;
}

/** The findings that ask for something to be done. */
export function problemsOf({ findings }: Examined): readonly FoundFinding[] {
  return findings.filter(({ level }) => level === 'warn' || level === 'fail');
}

/** One finding a line, for messages of failed tests. */
export function listed(findings: readonly FoundFinding[]): string {
  return findings
    .map(({ area, level, id, what, where }) => `${area} ${level} ${id}: ${what} @ ${where}`)
    .join('\n');
}
