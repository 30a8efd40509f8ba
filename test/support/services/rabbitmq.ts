import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from 'amqplib';
import { type Command, findProgram, ServiceProcess } from './child-process.js';
import { freePort } from './free-port.js';
import { createServiceFolder, removeServiceFolder } from './service-folder.js';

const HOST = '127.0.0.1';
const USER = 'rate:cat';
const PASSWORD = 'p@ss:w%rd';
const VIRTUAL_HOST = 'bill ing';
const LIBRARIES = '/usr/lib/rabbitmq/lib';

export interface RabbitmqMessage {
  readonly body: string;
  readonly messageId: string;
  readonly contentType: string;
  readonly isPersistent: boolean;
  readonly exchange: string;
  readonly routingKey: string;
}

/** A RabbitMQ node of its own: Debian's program, its own epmd, cookie, data folder and free ports on 127.0.0.1. */
export async function startRabbitmq(): Promise<Rabbitmq> {
  const folder = createServiceFolder('rabbitmq');
  const [port, tlsPort, distributionPort, epmdPort] = [
    await freePort(),
    await freePort(),
    await freePort(),
    await freePort(),
  ];
  for (const name of ['data', 'log']) mkdirSync(join(folder, name));
  writeFileSync(
    join(folder, 'rabbitmq.conf'),
    [
      `listeners.tcp.local = ${HOST}:${port}`,
      `listeners.ssl.local = ${HOST}:${tlsPort}`,
      ...certificate(folder),
      `default_user = ${USER}`,
      `default_pass = ${PASSWORD}`,
      `default_vhost = ${VIRTUAL_HOST}`,
      // A full disk of the machine is no concern of the tests.
      'disk_free_limit.absolute = 1MB',
      '',
    ].join('\n'),
  );
  writeFileSync(join(folder, 'enabled_plugins'), '[].\n');
  const environment = {
    ERL_EPMD_PORT: String(epmdPort),
    ERL_EPMD_ADDRESS: HOST,
    RABBITMQ_NODENAME: `ratecat${port}@localhost`,
    RABBITMQ_DIST_PORT: String(distributionPort),
    RABBITMQ_CONFIG_FILE: join(folder, 'rabbitmq.conf'),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'enabled_plugins'),
    RABBITMQ_MNESIA_BASE: join(folder, 'data'),
    RABBITMQ_LOG_BASE: join(folder, 'log'),
    RABBITMQ_PID_FILE: join(folder, 'rabbitmq.pid'),
    RABBITMQ_CONF_ENV_FILE: '/nonexistent',
  };
  const epmd = {
    name: 'epmd',
    program: findProgram('epmd', 'Erlang'),
    arguments: ['-port', String(epmdPort), '-address', HOST],
    folder,
  };
  // Not Debian's wrapper, which changes to the user rabbitmq.
  const version = readdirSync(LIBRARIES).find((name) => name.startsWith('rabbitmq_server-'));
  const program = join(LIBRARIES, version ?? 'rabbitmq_server', 'sbin/rabbitmq-server');
  const rabbitmq = new Rabbitmq(
    epmd,
    { name: 'rabbitmq', program, arguments: [], folder, environment },
    port,
    tlsPort,
  );
  try {
    await rabbitmq.start();
    return rabbitmq;
  } catch (error) {
    await rabbitmq.stop();
    throw error;
  }
}

/** Makes a certificate for the address; gives the lines of the configuration that name it. */
function certificate(folder: string): readonly string[] {
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  const made = spawnSync('openssl', [
    ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost'],
    ...['-addext', `subjectAltName=IP:${HOST}`, '-keyout', key, '-out', cert],
  ]);
  if (made.status !== 0) throw new Error(`openssl made no certificate: ${made.stderr}`);
  return [
    `ssl_options.certfile = ${cert}`,
    `ssl_options.keyfile = ${key}`,
    'ssl_options.verify = verify_none',
  ];
}

export class Rabbitmq {
  readonly host = HOST;
  readonly port: number;
  readonly tlsPort: number;
  /** The certificate of `tlsPort`, which vouches for itself. */
  readonly caFile: string;
  readonly #folder: string;
  readonly #epmd: ServiceProcess;
  readonly #command: Command;
  #process: ServiceProcess;

  constructor(epmd: Command, command: Command, port: number, tlsPort: number) {
    this.port = port;
    this.tlsPort = tlsPort;
    this.caFile = join(command.folder, 'cert.pem');
    this.#folder = command.folder;
    this.#epmd = new ServiceProcess(epmd, async () => true);
    this.#command = command;
    this.#process = this.#newProcess();
  }

  /** As an OpenStack service has it; user, password and virtual host need their percent-encoding. */
  get transportUrl(): string {
    return `rabbit://${encodeURIComponent(USER)}:${encodeURIComponent(PASSWORD)}@${HOST}:${this.port}/${encodeURIComponent(VIRTUAL_HOST)}`;
  }

  /** Takes every message out of a queue, in order. */
  async drain(queue: string): Promise<readonly RabbitmqMessage[]> {
    const connection = await this.#connect();
    try {
      const channel = await connection.createChannel();
      const messages: RabbitmqMessage[] = [];
      for (;;) {
        const message = await channel.get(queue, { noAck: true });
        if (message === false) return messages;
        messages.push({
          body: message.content.toString(),
          messageId: String(message.properties.messageId),
          contentType: String(message.properties.contentType),
          isPersistent: message.properties.deliveryMode === 2,
          exchange: message.fields.exchange,
          routingKey: message.fields.routingKey,
        });
      }
    } finally {
      await connection.close();
    }
  }

  /** Messages in a queue; undefined while there is no such queue. */
  async count(queue: string): Promise<number | undefined> {
    const connection = await this.#connect();
    try {
      const channel = await connection.createChannel();
      channel.on('error', () => undefined);
      return (await channel.checkQueue(queue)).messageCount;
    } catch {
      return undefined;
    } finally {
      await connection.close();
    }
  }

  /** Starts the broker after `kill`, on the same port and data. */
  async start(): Promise<void> {
    if (!this.#epmd.isRunning) await this.#epmd.start();
    await this.#process.start();
  }

  /** Resolves when the broker is gone; data and port stay. */
  async kill(): Promise<void> {
    await this.#process.kill();
    this.#process = this.#newProcess();
  }

  /** Ends the broker and removes its data. */
  async stop(): Promise<void> {
    await this.#process.stop();
    await this.#epmd.stop();
    await removeServiceFolder(this.#folder);
  }

  #newProcess(): ServiceProcess {
    return new ServiceProcess(this.#command, async () => {
      const connection = await this.#connect().catch(() => undefined);
      await connection?.close();
      return connection !== undefined;
    });
  }

  async #connect() {
    const connection = await connect({
      hostname: HOST,
      port: this.port,
      username: USER,
      password: PASSWORD,
      vhost: encodeURIComponent(VIRTUAL_HOST),
    });
    connection.on('error', () => undefined);
    return connection;
  }
}
