import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Collected, Collector, Fetcher, Metric, Scope } from '../../../core/plugin-api/index.js';
import { fakeContext, RecordingLogger, VirtualClock } from '../../../core/testkit/fakes.js';
import definition, { type FileMetricOptions } from '../../../plugins/collectors/file.js';
import fetcherDefinition from '../../../plugins/fetchers/file.js';

/** 2026-01-01T00:00:00Z */
export const BEGIN = Date.UTC(2026, 0, 1) / 1000;
export const HOUR = 3600;
const signal = new AbortController().signal;

const FOLDERS: string[] = [];
process.on('exit', () => {
  for (const folder of FOLDERS) rmSync(folder, { recursive: true, force: true });
});

export interface Rejected {
  readonly line: number;
  readonly reason: string;
  readonly text: string;
}

/** A drop folder in a folder of its own, with the collector and the fetcher on it. */
export class Drop {
  readonly folder: string;
  readonly clock = new VirtualClock((BEGIN + 100 * 86_400) * 1000);
  readonly logger = new RecordingLogger();
  collector!: Collector<FileMetricOptions>;
  fetcher!: Fetcher;

  /** Without a folder: a new one, removed when the tests end. */
  constructor(folder?: string) {
    this.folder = folder ?? mkdtempSync(join(tmpdir(), 'ratecat-drop-'));
    if (folder === undefined) FOLDERS.push(this.folder);
  }

  async start(options: Record<string, unknown> = {}): Promise<void> {
    const context = fakeContext({
      clock: this.clock,
      logger: this.logger,
      configFolder: this.folder,
      pipeline: { name: 'files', scopeKey: 'project_id', periodSeconds: HOUR },
    });
    const parsed = definition.options['~standard'].validate({ folder: '.', ...options });
    if (parsed instanceof Promise || parsed.issues !== undefined) throw new Error(JSON.stringify(parsed));
    this.collector = definition.create(parsed.value, context) as Collector<FileMetricOptions>;
    this.fetcher = fetcherDefinition.create({ folder: '.', active_days: 32 }, context);
    await this.collector.start?.(signal);
    await this.fetcher.start?.(signal);
  }

  async stop(): Promise<void> {
    await this.fetcher.stop?.();
    await this.collector.stop?.();
  }

  /** Writes under another name and renames, as producers do. */
  put(name: string, content: string | Buffer): void {
    mkdirSync(this.folder, { recursive: true });
    const temporary = join(this.folder, `.${process.pid}.part`);
    writeFileSync(temporary, content);
    renameSync(temporary, join(this.folder, name));
  }

  ask(
    name = 'vm',
    hour = 0,
    scope = 'p1',
    options: FileMetricOptions = { aggregation: 'sum' },
  ): Promise<Collected> {
    const period = { begin: BEGIN + hour * HOUR, end: BEGIN + (hour + 1) * HOUR };
    const project: Scope = { key: 'project_id', id: scope };
    return this.collector.collect({ metric: metric(name, options), scope: project, period }, signal);
  }

  /** Sum over all samples of the answer; `nothing` for nothing. */
  async total(name = 'vm', hour = 0, scope = 'p1'): Promise<string> {
    const collected = await this.ask(name, hour, scope);
    if (collected.kind !== 'measured') return collected.kind;
    return collected.samples
      .map(({ value }) => value)
      .reduce((a, b) => a.plus(b))
      .toString();
  }

  names(folder: 'accepted' | 'rejected' | '.ratecat/incoming' | '.'): string[] {
    return readdirSync(join(this.folder, folder)).sort();
  }

  /** All lines of all reports. */
  rejects(): Rejected[] {
    return this.names('rejected')
      .filter((name) => /\.[0-9a-f]{12}\.(csv|ndjson)\.ndjson$/i.test(name))
      .flatMap((name) =>
        readFileSync(join(this.folder, 'rejected', name), 'utf8')
          .trim()
          .split('\n'),
      )
      .map((line) => JSON.parse(line) as Rejected);
  }
}

export function metric(
  name: string,
  options: FileMetricOptions = { aggregation: 'sum' },
): Metric<FileMetricOptions> {
  return {
    name,
    ratedName: name,
    unit: 'u',
    groupby: ['id', 'project_id'],
    metadata: ['flavor'],
    description: undefined,
    options,
  };
}

export const HEADER = 'begin,end,scope,metric,quantity,id,flavor';

export function csv(...lines: readonly string[]): string {
  return `${[HEADER, ...lines].join('\n')}\n`;
}

/** A line of hour `hour`, at its begin. */
export function row(
  hour: number,
  scope: string,
  metricName: string,
  quantity: string,
  id = 'i',
  flavor = 'm',
): string {
  const time = (h: number) => new Date((BEGIN + h * HOUR) * 1000).toISOString();
  return [time(hour), time(hour + 1), scope, metricName, quantity, id, flavor].join(',');
}
