import { existsSync } from 'node:fs';
import { type Systemd, systemdBootable } from './services/systemd.js';

/** Whether packages can be built and checked here; where `CI` is set they must be. */
export function packagesBuildable(): boolean {
  const programs = ['/usr/bin/dpkg-deb', '/usr/bin/dpkg-shlibdeps', '/usr/bin/strip', '/usr/bin/lintian'];
  const missing = programs.filter((program) => !existsSync(program));
  if (missing.length === 0) return systemdBootable();
  const reason = `${missing.join(', ')} not installed; 'sudo .ci/install-services' installs it`;
  if (process.env.CI !== undefined && process.env.CI !== '') throw new Error(`tests cannot run: ${reason}`);
  process.stderr.write(`NOT RUN in ${process.argv[1] ?? 'this file'}: ${reason}\n`);
  return false;
}

/** A package that another one needs or replaces. */
export interface Neighbour {
  readonly control: string;
  /** Lines of shell that make its files. */
  readonly files?: string;
}

/**
 * Node comes to machines in many ways, and Debian 12's own is too old: a package without files stands for the `nodejs`
 * (20.19 or newer) that Ratecat depends on, while the program is the one that runs the test.
 */
export const NODE: Neighbour = { control: `Version: ${process.versions.node}-1` };

/** Lines of shell that build Ratecat's packages of the checkout. */
export function buildAt(folder: string, revision: string): string {
  return `node /opt/ratecat/bin/package.mjs --output ${folder} --revision ${revision}`;
}

/** Lines of shell that build a package in /root. */
export function buildNeighbour([name, { control, files }]: readonly [string, Neighbour]): string {
  return `
    mkdir -p /root/${name}/DEBIAN && cd /root/${name}
    printf 'Package: ${name}\\nArchitecture: all\\nMaintainer: a test <test@packages.invalid>\\nDescription: of a test\\n' >DEBIAN/control
    echo '${control}' >>DEBIAN/control
    ${files ?? ''}
    cd /root && dpkg-deb --root-owner-group --build /root/${name} /root/${name}.deb >/dev/null`;
}

/**
 * Makes the packages, by `build`, and leaves a machine behind on which little is installed, and nothing of CloudKitty or
 * Ratecat; the checkout is gone too, so that what runs afterwards are the packages.
 */
export async function prepareMachine(systemd: Systemd, build: string): Promise<void> {
  await systemd.shell(`
    export HOME=/root
    ${build}
    rm -f /usr/local/bin/ratecat
    python3 /opt/ratecat/test/fixtures/packages/small-status.py dpkg apt systemd libc6 libstdc++6 >/root/status
    mv /root/status /var/lib/dpkg/status
    rm -rf /var/lib/dpkg/diversions* /var/lib/dpkg/triggers/* /var/lib/apt/extended_states /etc/cloudkitty /var/lib/cloudkitty /var/log/cloudkitty
    rm -f /usr/bin/cloudkitty-* /lib/systemd/system/cloudkitty-* /etc/init.d/cloudkitty-* /etc/default/ratecat /usr/sbin/policy-rc.d
    for user in ratecat cloudkitty; do userdel $user 2>/dev/null || true; groupdel $user 2>/dev/null || true; done
    umount /opt/ratecat
    systemctl daemon-reload`);
}
