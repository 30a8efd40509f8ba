import { freePort } from './free-port.js';
import { type Mariadb, startMariadb } from './mariadb.js';
import { poll } from './poll.js';

const PROVIDER = '/usr/lib/galera/libgalera_smm.so';
const HOST = '127.0.0.1';
/** After this the others stop waiting for a node that is silent; 5 s by default. */
const SUSPECT = 'PT3S';

export interface GaleraOptions {
  readonly nodes?: number;
}

/** Several MariaDB servers of Debian's packages on loopback as one Galera cluster; each takes writes. */
export async function startGalera({ nodes: count = 3 }: GaleraOptions = {}): Promise<Galera> {
  const ports = await Promise.all(
    Array.from({ length: count }, async () => ({
      group: await freePort(),
      ist: await freePort(),
      sst: await freePort(),
    })),
  );
  const address = `gcomm://${ports.map(({ group }) => `${HOST}:${group}`).join(',')}`;
  const nodes: Mariadb[] = [];
  const galera = new Galera(nodes);
  try {
    for (const [index, port] of ports.entries()) {
      nodes.push(
        await startMariadb({
          arguments: settings(index, port, address),
          firstStart: index === 0 ? ['--wsrep-new-cluster'] : [],
        }),
      );
    }
    await galera.waitForSize(count);
    return galera;
  } catch (error) {
    await galera.stop();
    throw error;
  }
}

export class Galera {
  readonly nodes: readonly Mariadb[];

  constructor(nodes: readonly Mariadb[]) {
    this.nodes = nodes;
  }

  /** Creates an empty database; its URL names every node, beginning with the given one. */
  async createDatabase(name: string, first = 0): Promise<string> {
    await this.nodes[first]!.createDatabase(name);
    return this.url(name, first);
  }

  /** Every node in turn, beginning with the given one. */
  url(database: string, first = 0): string {
    const [one] = this.nodes;
    const order = this.nodes.map((_node, index) => this.nodes[(first + index) % this.nodes.length]!);
    const hosts = order.map(({ port }) => `${HOST}:${port}`).join(',');
    return `mysql://${one!.user}:${one!.password}@${hosts}/${database}`;
  }

  /** Waits until a running node sees so many members and serves. */
  async waitForSize(size: number, node = this.nodes.findIndex((one) => one.isRunning)): Promise<void> {
    await poll(
      async () => {
        const status = new Map(
          (await this.nodes[node]!.query("SHOW STATUS LIKE 'wsrep_%'")).map((row) => [
            String(row.Variable_name),
            String(row.Value),
          ]),
        );
        return status.get('wsrep_ready') === 'ON' && Number(status.get('wsrep_cluster_size')) === size
          ? true
          : undefined;
      },
      { what: `a cluster of ${size}`, timeoutMs: 60_000 },
    );
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.kill()));
    await Promise.all(this.nodes.map((node) => node.stop()));
  }
}

interface NodePorts {
  readonly group: number;
  readonly ist: number;
  readonly sst: number;
}

function settings(index: number, { group, ist, sst }: NodePorts, address: string): readonly string[] {
  const provider = [
    `gmcast.listen_addr=tcp://${HOST}:${group}`,
    `ist.recv_addr=${HOST}:${ist}`,
    `evs.suspect_timeout=${SUSPECT}`,
    'evs.inactive_timeout=PT6S',
    'gcache.size=32M',
  ].join(';');
  return [
    '--wsrep-on=ON',
    `--wsrep-provider=${PROVIDER}`,
    `--wsrep-provider-options=${provider}`,
    `--wsrep-cluster-address=${address}`,
    '--wsrep-cluster-name=ratecat',
    `--wsrep-node-name=node${index + 1}`,
    `--wsrep-node-address=${HOST}`,
    `--wsrep-sst-receive-address=${HOST}:${sst}`,
    '--wsrep-sst-method=rsync',
    '--binlog-format=ROW',
    '--innodb-autoinc-lock-mode=2',
  ];
}
