import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findProgram, runCommand, ServiceProcess } from './child-process.js';
import type { Keystone } from './keystone.js';
import type { Rabbitmq } from './rabbitmq.js';
import { createServiceFolder, removeServiceFolder } from './service-folder.js';

const USER = 'ceilometer';
const PASSWORD = 'ceilometer';
const NOTIFIER = fileURLToPath(new URL('../openstack-notifier.py', import.meta.url));

/** What nova or cinder tells the others, or a polling agent of Ceilometer its notification agent. */
export interface OpenstackNotification {
  readonly exchange: 'nova' | 'cinder' | 'ceilometer';
  /** Service and host, for example `compute.host-1`. */
  readonly publisher: string;
  /** Polling agents send with `sample`. Default: `info`. */
  readonly priority?: 'info' | 'sample';
  /** For example `compute.instance.exists`. */
  readonly event: string;
  readonly at: Date;
  readonly payload: Readonly<Record<string, unknown>>;
}

/**
 * Ceilometer's notification agent between RabbitMQ and Gnocchi, which must be in Keystone's catalogue. Resource types and
 * archive policies in Gnocchi are those that Ceilometer makes itself.
 */
export async function startCeilometer(parts: {
  readonly keystone: Keystone;
  readonly rabbitmq: Rabbitmq;
}): Promise<Ceilometer> {
  const program = findProgram('ceilometer-agent-notification', 'Ceilometer');
  const upgrade = findProgram('ceilometer-upgrade', 'Ceilometer');
  const { keystone, rabbitmq } = parts;
  const folder = createServiceFolder('ceilometer');
  try {
    const project = await keystone.ensureProject('service');
    const user = await keystone.createUser(USER, PASSWORD);
    await keystone.grantRole({ user, project, role: 'admin' });
    await writeConfiguration(folder, keystone, rabbitmq);
    const configured = ['--config-file', join(folder, 'ceilometer.conf')];
    const agent = new ServiceProcess(
      { name: 'ceilometer-agent-notification', program, arguments: configured, folder },
      // It declares its queues once it listens.
      async () => (await rabbitmq.count('notifications.info')) !== undefined,
    );
    const ceilometer = new Ceilometer(agent, folder, rabbitmq.transportUrl);
    try {
      // The agent asks Gnocchi for nothing before it has something to hand over.
      await Promise.all([
        agent.start(),
        runCommand({
          name: 'ceilometer-upgrade',
          program: upgrade,
          arguments: [...configured, '--retry', '3'],
          folder,
        }),
      ]);
      return ceilometer;
    } catch (error) {
      await agent.stop();
      throw error;
    }
  } catch (error) {
    await removeServiceFolder(folder);
    throw error;
  }
}

export class Ceilometer {
  readonly #agent: ServiceProcess;
  readonly #folder: string;
  readonly #transportUrl: string;

  constructor(agent: ServiceProcess, folder: string, transportUrl: string) {
    this.#agent = agent;
    this.#folder = folder;
    this.#transportUrl = transportUrl;
  }

  /** Sends them by the library that nova and cinder use. They are worked off one by one, in this order. */
  async notify(notifications: readonly OpenstackNotification[]): Promise<void> {
    const file = join(this.#folder, 'notifications.ndjson');
    const lines = notifications.map((one) =>
      JSON.stringify({ ...one, at: one.at.toISOString().replace('Z', '') }),
    );
    await writeFile(file, `${lines.join('\n')}\n`);
    await runCommand({
      name: 'openstack-notifier',
      program: '/bin/sh',
      arguments: ['-c', '/usr/bin/python3 "$0" "$1" <"$2"', NOTIFIER, this.#transportUrl, file],
      folder: this.#folder,
    });
  }

  async stop(): Promise<void> {
    await this.#agent.stop();
    await removeServiceFolder(this.#folder);
  }
}

async function writeConfiguration(folder: string, keystone: Keystone, rabbitmq: Rabbitmq): Promise<void> {
  const events = join(folder, 'event_pipeline.yaml');
  await writeFile(
    join(folder, 'ceilometer.conf'),
    `[DEFAULT]
transport_url = ${rabbitmq.transportUrl}
# Several threads hand samples over in no order; Gnocchi drops those that are older than what it has aggregated.
max_parallel_requests = 1
use_stderr = true
event_pipeline_cfg_file = ${events}
[notification]
notification_control_exchanges = nova
notification_control_exchanges = cinder
notification_control_exchanges = ceilometer
[service_credentials]
auth_type = password
auth_url = ${keystone.url}
username = ${USER}
password = ${PASSWORD}
project_name = service
user_domain_id = default
project_domain_id = default
interface = public
region_name = ${keystone.region}
`,
  );
  // Meters go to Gnocchi by default; events have to be sent there too, or it never hears that a resource is gone.
  await writeFile(
    events,
    `sources:
  - {name: all, events: ['*'], sinks: [gnocchi]}
sinks:
  - {name: gnocchi, publishers: ['gnocchi://']}
`,
  );
}
