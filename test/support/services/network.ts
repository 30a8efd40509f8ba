import { spawnSync } from 'node:child_process';

const IP = '/usr/sbin/ip';
const NOBODY = '02:00:00:00:00:01';

/** Where a service runs, other than on this machine's own loopback. */
export interface Place {
  /** Name of a network namespace. */
  readonly namespace: string;
  readonly address: string;
  /** The address under which the service sees us. */
  readonly client: string;
}

/** Making namespaces is for root, and not for every container's. */
export function canMakeNetworks(): boolean {
  const name = `rc${(process.pid % 46_656).toString(36)}try`;
  const works = (...args: readonly string[]) => spawnSync(IP, args).status === 0;
  const made = [works('netns', 'add', name), works('link', 'add', name, 'type', 'bridge')];
  spawnSync(IP, ['netns', 'del', name]);
  spawnSync(IP, ['link', 'del', name]);
  return made.every(Boolean);
}

/** Several network namespaces on a bridge, each with an address of its own, which can be cut off from each other. */
export class TestNetwork {
  readonly places: readonly Place[];
  readonly #bridge: string;
  readonly #links: readonly string[];

  constructor(count: number) {
    const id = `rc${(process.pid % 46_656).toString(36)}`;
    const subnet = freeSubnet();
    const client = `${subnet}.1`;
    this.#bridge = `${id}b`;
    this.places = Array.from({ length: count }, (_, index) => ({
      namespace: `${id}n${index}`,
      address: `${subnet}.${index + 2}`,
      client,
    }));
    this.#links = this.places.map((_place, index) => `${id}v${index}`);
    process.once('exit', () => this.remove());
    ip('link', 'add', this.#bridge, 'type', 'bridge');
    ip('address', 'add', `${client}/24`, 'dev', this.#bridge);
    ip('link', 'set', this.#bridge, 'up');
    for (const [index, { namespace, address }] of this.places.entries()) {
      const link = this.#links[index]!;
      ip('netns', 'add', namespace);
      ip('link', 'add', link, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace);
      ip('link', 'set', link, 'master', this.#bridge, 'up');
      ip('-n', namespace, 'address', 'add', `${address}/24`, 'dev', 'eth0');
      ip('-n', namespace, 'link', 'set', 'eth0', 'up');
      ip('-n', namespace, 'link', 'set', 'lo', 'up');
    }
  }

  /** From now on nothing passes between this place and the others; we still reach all of them. */
  separate(index: number): void {
    this.#forOthers(index, ['replace'], ['lladdr', NOBODY, 'nud', 'permanent']);
  }

  rejoin(index: number): void {
    this.#forOthers(index, ['del'], []);
  }

  remove(): void {
    for (const { namespace } of this.places) spawnSync(IP, ['netns', 'del', namespace]);
    spawnSync(IP, ['link', 'del', this.#bridge]);
  }

  /** What goes to a card that nobody has is lost without a word, as with a broken cable; a black hole route is an error. */
  #forOthers(index: number, action: readonly string[], card: readonly string[]): void {
    const one = this.places[index]!;
    for (const other of this.places) {
      if (other === one) continue;
      ip('-n', one.namespace, 'neigh', ...action, other.address, 'dev', 'eth0', ...card);
      ip('-n', other.namespace, 'neigh', ...action, one.address, 'dev', 'eth0', ...card);
    }
  }
}

function freeSubnet(): string {
  const taken = spawnSync(IP, ['-o', '-4', 'address'], { encoding: 'utf8' }).stdout;
  for (let third = process.pid % 250; ; third = (third + 1) % 250) {
    const subnet = `10.213.${third}`;
    if (!taken.includes(`${subnet}.`)) return subnet;
  }
}

function ip(...args: readonly string[]): void {
  const { status, stderr } = spawnSync(IP, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`ip ${args.join(' ')}: ${stderr}`);
}
