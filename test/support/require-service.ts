import { existsSync } from 'node:fs';

/** Real neighbours that tests start, and a program that shows they are installed. */
const PROGRAMS = {
  mariadb: ['/usr/sbin/mariadbd', '/usr/local/sbin/mariadbd'],
  galera: ['/usr/lib/galera/libgalera_smm.so'],
  prometheus: ['/usr/bin/prometheus'],
  'node-exporter': ['/usr/bin/prometheus-node-exporter'],
  keystone: ['/usr/bin/keystone-manage'],
  gnocchi: ['/usr/bin/gnocchi-upgrade'],
  client: ['/usr/bin/cloudkitty'],
  horizon: ['/usr/share/openstack-dashboard/wsgi.py'],
  chromium: ['/usr/bin/chromium'],
  influxdb: ['/usr/bin/influxd'],
  rabbitmq: ['/usr/lib/rabbitmq/bin/rabbitmq-server'],
  'oslo-messaging': ['/usr/lib/python3/dist-packages/oslo_messaging/__init__.py'],
  ceilometer: ['/usr/bin/ceilometer-agent-notification'],
  mandoc: ['/usr/bin/mandoc'],
  groff: ['/usr/bin/groff'],
  buildah: ['/usr/bin/buildah'],
  podman: ['/usr/bin/podman'],
  runc: ['/usr/sbin/runc', '/usr/bin/runc'],
} as const;

export type Service = keyof typeof PROGRAMS;

/**
 * Whether the tests of a service can run here. On a developer's machine a missing one is named on stderr and its tests are
 * not registered; where `CI` is set it is an error, so that nothing passes by being absent.
 */
export function serviceInstalled(...services: readonly Service[]): boolean {
  const missing = services.filter((service) => !PROGRAMS[service].some((path) => existsSync(path)));
  if (missing.length === 0) return true;
  const advice = `${missing.join(', ')} not installed; 'sudo .ci/install-services' installs it`;
  if (process.env.CI !== undefined && process.env.CI !== '') throw new Error(`tests cannot run: ${advice}`);
  process.stderr.write(`NOT RUN in ${process.argv[1] ?? 'this file'}: ${advice}\n`);
  return false;
}
