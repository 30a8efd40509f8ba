import { freePort } from './free-port.js';
import { type Mariadb, startMariadb } from './mariadb.js';
import type { TestNetwork } from './network.js';
import { poll } from './poll.js';

const PROVIDER = '/usr/lib/galera/libgalera_smm.so';
const HOST = '127.0.0.1';
/** After this the others stop waiting for a node that is silent; 5 s by default. */
const SUSPECT = 'PT3S';

export interface GaleraOptions {
  readonly nodes?: number;
  /** Puts each node into a namespace of its own; by default all are on loopback. */
  readonly network?: TestNetwork | undefined;
}

/** Several MariaDB servers of Debian's packages on loopback as one Galera cluster; each takes writes. */
export async function startGalera({ nodes: count = 3, network }: GaleraOptions = {}): Promise<Galera> {
  const ports = await Promise.all(
    Array.from({ length: count }, async (_, index) => ({
      host: network?.places[index]?.address ?? HOST,
      group: await freePort(),
      ist: await freePort(),
      sst: await freePort(),
    })),
  );
  const address = `gcomm://${ports.map(({ host, group }) => `${host}:${group}`).join(',')}`;
  const nodes: Mariadb[] = [];
  const galera = new Galera(nodes);
  try {
    for (const [index, port] of ports.entries()) {
      nodes.push(
        await startMariadb({
          arguments: settings(index, port, address),
          firstStart: index === 0 ? ['--wsrep-new-cluster'] : [],
          joins: index > 0,
          place: network?.places[index],
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
    const hosts = order.map(({ host, port }) => `${host}:${port}`).join(',');
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
  readonly host: string;
  readonly group: number;
  readonly ist: number;
  readonly sst: number;
}

function settings(index: number, { host, group, ist, sst }: NodePorts, address: string): readonly string[] {
  const provider = [
    `gmcast.listen_addr=tcp://${host}:${group}`,
    `ist.recv_addr=${host}:${ist}`,
    `evs.suspect_timeout=${SUSPECT}`,
    // With less than the usual times the survivors of a cut network may fail to agree, and nobody is primary any more.
    'evs.inactive_timeout=PT15S',
    'evs.install_timeout=PT7.5S',
    'gcache.size=32M',
  ].join(';');
  return [
    '--wsrep-on=ON',
    `--wsrep-provider=${PROVIDER}`,
    `--wsrep-provider-options=${provider}`,
    `--wsrep-cluster-address=${address}`,
    '--wsrep-cluster-name=ratecat',
    `--wsrep-node-name=node${index + 1}`,
    `--wsrep-node-address=${host}`,
    `--wsrep-sst-receive-address=${host}:${sst}`,
    '--wsrep-sst-method=rsync',
    '--binlog-format=ROW',
    '--innodb-autoinc-lock-mode=2',
  ];
}
