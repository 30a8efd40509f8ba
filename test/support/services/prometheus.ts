import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findProgram, runCommand, ServiceProcess } from './child-process.js';
import { freePort } from './free-port.js';
import { requestJson } from './json-request.js';
import { poll } from './poll.js';
import { createServiceFolder, removeServiceFolder } from './service-folder.js';

export type Labels = Readonly<Record<string, string>>;

export interface PrometheusOptions {
  /**
   * Labels such as `project_id` that Prometheus adds to all that it scrapes. Each set makes one more target of the same
   * node-exporter, so that one machine gives several scopes. Default: one target without extra labels.
   */
  readonly targets?: readonly Labels[];
  /** OpenMetrics text with timestamps (seconds) and the final `# EOF`: loaded before the start, to rate past periods. */
  readonly history?: string;
}

export interface Sample {
  readonly labels: Labels;
  /** As Prometheus writes it. */
  readonly value: string;
  /** Seconds since 1970. */
  readonly time: number;
}

/** Prometheus that scrapes a node-exporter each second, both Debian's programs on free ports of 127.0.0.1. */
export async function startPrometheus(options: PrometheusOptions = {}): Promise<Prometheus> {
  const programs = {
    prometheus: findProgram('prometheus', 'Prometheus'),
    exporter: findProgram('prometheus-node-exporter', 'node-exporter'),
  };
  const folder = createServiceFolder('prometheus');
  const address = `127.0.0.1:${await freePort()}`;
  const exporterAddress = `127.0.0.1:${await freePort()}`;
  const prometheus = new Prometheus({ programs, folder, address, exporterAddress });
  try {
    await mkdir(join(folder, 'textfile'));
    await writeFile(
      join(folder, 'prometheus.yml'),
      scrapeConfiguration(exporterAddress, options.targets ?? [{}]),
    );
    if (options.history !== undefined) await loadHistory(folder, options.history);
    await prometheus.start();
    return prometheus;
  } catch (error) {
    await prometheus.stop();
    throw error;
  }
}

interface Setup {
  readonly programs: { readonly prometheus: string; readonly exporter: string };
  readonly folder: string;
  readonly address: string;
  readonly exporterAddress: string;
}

export class Prometheus {
  /** Without a path, for example `http://127.0.0.1:19090`. */
  readonly url: string;
  /** `url` with `/api/v1`, as CloudKitty's `prometheus_url` has it. */
  readonly apiUrl: string;
  readonly exporterUrl: string;
  readonly #folder: string;
  readonly #server: ServiceProcess;
  readonly #exporter: ServiceProcess;

  constructor({ programs, folder, address, exporterAddress }: Setup) {
    this.url = `http://${address}`;
    this.apiUrl = `${this.url}/api/v1`;
    this.exporterUrl = `http://${exporterAddress}/metrics`;
    this.#folder = folder;
    this.#server = new ServiceProcess(serverCommand(programs.prometheus, folder, address), () =>
      answersOk(`${this.url}/-/ready`),
    );
    this.#exporter = new ServiceProcess(exporterCommand(programs.exporter, folder, exporterAddress), () =>
      answersOk(this.exporterUrl),
    );
  }

  /** Starts what does not run, for example after `kill`, on the same ports and data. */
  async start(): Promise<void> {
    if (!this.#exporter.isRunning) await this.#exporter.start();
    if (!this.#server.isRunning) await this.#server.start();
  }

  /** An instant query: the vector's samples at the instant, by default now. */
  async query(expression: string, at?: Date): Promise<readonly Sample[]> {
    const parameters = new URLSearchParams({ query: expression, ...(at && { time: at.toISOString() }) });
    const { body } = await requestJson<QueryAnswer>({ url: `${this.apiUrl}/query?${parameters}` });
    return body.data.result.map(({ metric, value: [time, value] }) => ({ labels: metric, value, time }));
  }

  /** Asks until the query has at least one sample. */
  waitForResult(expression: string, timeoutMs = 20_000): Promise<readonly Sample[]> {
    return poll(
      async () => {
        const samples = await this.query(expression);
        return samples.length > 0 ? samples : undefined;
      },
      { what: `a result of the query ${expression}`, timeoutMs },
    );
  }

  /** Lets the node-exporter show these lines of Prometheus text format too, in place of those given before. */
  async exposeMetrics(text: string): Promise<void> {
    const file = join(this.#folder, 'textfile', 'test.prom');
    await writeFile(`${file}.new`, text);
    await rename(`${file}.new`, file); // the exporter may read at any moment
  }

  /** Kills Prometheus, not the node-exporter; data and port stay. */
  kill(): Promise<void> {
    return this.#server.kill();
  }

  /** Ends both programs and removes their data. */
  async stop(): Promise<void> {
    await Promise.all([this.#server.stop(), this.#exporter.stop()]);
    await removeServiceFolder(this.#folder);
  }
}

interface QueryAnswer {
  readonly data: {
    readonly result: readonly { readonly metric: Labels; readonly value: readonly [number, string] }[];
  };
}

function serverCommand(program: string, folder: string, address: string) {
  return {
    name: 'prometheus',
    program,
    arguments: [
      `--config.file=${join(folder, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      '--storage.tsdb.retention.time=10y', // the history may be of any age
      `--web.listen-address=${address}`,
    ],
    folder,
  };
}

function exporterCommand(program: string, folder: string, address: string) {
  return {
    name: 'node-exporter',
    program,
    arguments: [
      `--web.listen-address=${address}`,
      `--collector.textfile.directory=${join(folder, 'textfile')}`, // not the machine's own
    ],
    folder,
  };
}

/** JSON is YAML: no quoting of label values to get wrong. */
function scrapeConfiguration(exporterAddress: string, targets: readonly Labels[]): string {
  return JSON.stringify({
    global: { scrape_interval: '1s', scrape_timeout: '1s' },
    scrape_configs: [
      {
        job_name: 'node',
        static_configs: targets.map((labels) => ({ targets: [exporterAddress], labels })),
      },
    ],
  });
}

async function loadHistory(folder: string, history: string): Promise<void> {
  const file = join(folder, 'history.txt');
  await writeFile(file, history);
  await runCommand({
    name: 'promtool',
    program: findProgram('promtool', 'Prometheus'),
    arguments: ['tsdb', 'create-blocks-from', 'openmetrics', file, join(folder, 'data')],
    folder,
  });
}

async function answersOk(url: string): Promise<boolean> {
  const response = await fetch(url);
  await response.arrayBuffer();
  return response.ok;
}
