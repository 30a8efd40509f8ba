import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import {
  buildAt,
  buildNeighbour,
  type Neighbour,
  NODE,
  packagesBuildable,
  prepareMachine,
} from '../support/package-root.js';
import { freePort } from '../support/services/free-port.js';
import { type Ran, Systemd } from '../support/services/systemd.js';
import { waitUntil } from '../support/small-daemon.js';

/** Where the packages are, as the booted system sees it. */
const FIRST = '/root/first';
const SECOND = '/root/second';

/** Node, and Debian's CloudKitty in all that an installer meets: names, dependencies, user, configuration, unit. */
const NEIGHBOURS: Readonly<Record<string, Neighbour>> = {
  nodejs: NODE,
  'python3-cloudkitty': {
    control: 'Version: 17.0.0-3',
    files:
      'mkdir -p usr/bin; for name in api dbsync processor status storage-init; do echo python >usr/bin/cloudkitty-$name; done',
  },
  'cloudkitty-common': {
    control: 'Version: 17.0.0-3\nDepends: python3-cloudkitty (= 17.0.0-3)',
    files:
      'mkdir -p etc/cloudkitty/policy.d; echo "# defaults" >etc/cloudkitty/policy.d/00_default_policy.yaml; echo /etc/cloudkitty/policy.d/00_default_policy.yaml >DEBIAN/conffiles',
  },
  'cloudkitty-api': {
    control: 'Version: 17.0.0-3\nDepends: cloudkitty-common (= 17.0.0-3)',
    files:
      'mkdir -p usr/lib/systemd/system; printf "[Service]\\nExecStart=/bin/sleep infinity\\n" >usr/lib/systemd/system/cloudkitty-api.service; printf "#!/bin/sh\\nsystemctl stop cloudkitty-api\\n" >DEBIAN/prerm; chmod 755 DEBIAN/prerm',
  },
  'cloudkitty-processor': {
    control: 'Version: 17.0.0-3\nDepends: cloudkitty-common (= 17.0.0-3)',
  },
};

const cloudkitty = (port: number) => `[DEFAULT]
auth_strategy = noauth
[api]
port = ${port}
[database]
connection = sqlite://
[collect]
collector = prometheus
metrics_conf = /etc/cloudkitty/metrics.yml
[collector_prometheus]
prometheus_url = http://127.0.0.1:1/api/v1
prometheus_user = rating
prometheus_password = the-secret-of-prometheus
[fetcher]
backend = source
[fetcher_source]
sources = alpha,beta
[oslo_policy]
policy_file = /etc/cloudkitty/policy.yaml
[storage]
backend = sqlalchemy
`;
const METRICS = 'metrics:\n  up:\n    unit: instance\n    groupby: [id]\n    metadata: []\n';

if (packagesBuildable()) {
  describe('the Debian packages', () => {
    let systemd: Systemd;
    let lint: Promise<Ran>;
    let port: number;

    before(async () => {
      port = await freePort();
      systemd = await Systemd.boot();
      const neighbours = Object.entries(NEIGHBOURS).map(buildNeighbour).join('\n');
      await prepareMachine(
        systemd,
        `${buildAt(FIRST, '1')} & ${buildAt(SECOND, '2')}\nwait $!\n${neighbours}`,
      );
      lint = systemd.run(
        'bash',
        '-c',
        `lintian --tag-display-limit 0 --allow-root --fail-on error ${FIRST}/*.deb`,
      );
    });
    after(async () => {
      await lint;
      await systemd?.stop();
    });

    /** Without a network: what is not there cannot be installed. */
    function apt(...args: readonly string[]): Promise<Ran> {
      const offline = [
        '-y',
        '-q',

        '-o',
        'Dir::State::lists=/root/no-lists',
        '-o',
        'Acquire::http::Proxy=http://127.0.0.1:1',
      ];
      return systemd.run(
        'bash',
        '-c',
        `DEBIAN_FRONTEND=noninteractive apt-get ${[...offline, ...args].join(' ')}`,
      );
    }

    async function aptDoes(...args: readonly string[]): Promise<string> {
      const { code, stdout, stderr } = await apt(...args);
      assert.equal(code, 0, `${stdout}${stderr}`);
      return stdout + stderr;
    }

    async function isActive(unit: string): Promise<boolean> {
      return (await systemd.run('systemctl', 'is-active', unit)).stdout.trim() === 'active';
    }

    async function start(...units: readonly string[]): Promise<void> {
      const { code, stderr } = await systemd.run('systemctl', 'start', ...units);
      assert.equal(code, 0, `${stderr}${code === 0 ? '' : await systemd.journal('ratecat-api')}`);
    }

    function get(path: string): Promise<string> {
      const script = `fetch('http://127.0.0.1:${port}${path}').then(async (r) => process.stdout.write(await r.text()))`;
      return systemd.shell(`node -e "${script}"`);
    }

    it('do not install where Node is missing, and say so', async () => {
      const { code, stdout, stderr } = await apt('install', `${FIRST}/ratecat_*.deb`);
      assert.notEqual(code, 0);
      assert.match(stdout + stderr, /ratecat : Depends: nodejs/);
    });

    it('install without a configuration, and start nothing', async () => {
      await systemd.shell('dpkg -i /root/nodejs.deb');
      await aptDoes(
        'install',
        `${FIRST}/ratecat_*.deb ${FIRST}/ratecat-api_*.deb ${FIRST}/ratecat-processor_*.deb`,
      );
      assert.equal(
        await systemd.shell('readlink -f "$(command -v ratecat)"'),
        '/usr/lib/ratecat/dist/bin/ratecat.js\n',
      );
      for (const unit of ['ratecat-api', 'ratecat-processor', 'ratecat.target'])
        assert.equal((await systemd.run('systemctl', 'is-enabled', unit)).stdout, 'enabled\n', unit);
      // As at a boot: enabled, but nothing to work with.
      await start('ratecat-api', 'ratecat-processor');
      assert.equal(await isActive('ratecat-api'), false);
      assert.equal(await systemd.property('ratecat-api', 'Result'), 'success');
      assert.equal(await systemd.property('ratecat-api', 'ConditionResult'), 'no');
    });

    it('have no error that lintian knows', async () => {
      const { code, stdout, stderr } = await lint;
      assert.equal(code, 0, stdout + stderr);
    });

    it('make the user and the folders', async () => {
      const listed = await systemd.shell(
        "stat -c '%n %A %U %G' /etc/ratecat /etc/ratecat/credentials /var/lib/ratecat; getent passwd ratecat",
      );
      assert.match(
        listed,
        /^\/etc\/ratecat drwxr-x--- root ratecat\n\/etc\/ratecat\/credentials drwx------ root root\n\/var\/lib\/ratecat drwxr-x--- ratecat ratecat\nratecat:/,
      );
    });

    it('bring everything that the program loads, man pages and examples', async () => {
      // Every module of the program, and through them every module that it depends on.
      await systemd.shell(`
        find /usr/lib/ratecat/dist -name '*.js' ! -path '*/bin/*' ! -path '*/testkit/*' -printf "await import('%p');\\n" >/root/all.mjs
        test "$(wc -l </root/all.mjs)" -gt 100
        sed -i "1i import '/usr/lib/ratecat/node_modules/reflect-metadata/Reflect.js';" /root/all.mjs
        node /root/all.mjs`);
      assert.match(await systemd.shell('ratecat --version'), /^\d+\.\d+\.\d+\n$/);
      assert.match(await systemd.shell('ratecat doctor --help'), /Usage: ratecat doctor/);
      await systemd.shell(
        'test -s /usr/share/man/man1/ratecat.1.gz && test -s /usr/share/man/man5/ratecat.yml.5.gz',
      );
      await systemd.shell('ratecat config check --config /usr/share/doc/ratecat/examples/ratecat.yml');
    });

    it('list each file with its sum, and no file of theirs is changed by the installation', async () => {
      assert.equal(await systemd.shell('dpkg --verify ratecat ratecat-api ratecat-processor'), '');
    });

    it("take CloudKitty's place: its packages go, its configuration stays as it is and is imported", async () => {
      await systemd.shell(`
        ls -d /etc/ratecat/ratecat.yml && exit 1
        useradd --system --home-dir /var/lib/cloudkitty --shell /bin/false cloudkitty
        dpkg -i /root/python3-cloudkitty.deb /root/cloudkitty-*.deb
        chgrp cloudkitty /etc/cloudkitty && chmod 750 /etc/cloudkitty
        printf '%s' '${cloudkitty(port)}' >/etc/cloudkitty/cloudkitty.conf
        printf '%s' '${METRICS}' >/etc/cloudkitty/metrics.yml
        echo '"rating:list_modules": "role:nobody"' >/etc/cloudkitty/policy.yaml
        chgrp cloudkitty /etc/cloudkitty/*.conf /etc/cloudkitty/*.y*ml && chmod 640 /etc/cloudkitty/*.conf /etc/cloudkitty/*.y*ml
        (cd /etc/cloudkitty && sha256sum *.conf *.y*ml && stat -c '%n %a %U %G' . *) >/root/before
        systemctl start cloudkitty-api`);
      const said = await aptDoes('install', `${FIRST}/ratecat-cloudkitty_*.deb`);
      assert.match(said, /Written:\r?\n {2}\/etc\/ratecat\/ratecat\.secrets\//);
      assert.doesNotMatch(said, /the-secret-of-prometheus/);
      assert.equal(
        await systemd.shell(
          `dpkg-query -W -f '\${Package} \${db:Status-Status}\\n' '*cloudkitty*' | grep -v not-installed`,
        ),
        'cloudkitty-common config-files\nratecat-cloudkitty installed\n',
      );
      await systemd.shell(
        "cd /etc/cloudkitty && (sha256sum *.conf *.y*ml && stat -c '%n %a %U %G' . *) | diff /root/before -",
      );
      assert.equal(
        await systemd.shell(
          "cd /etc/ratecat; stat -c '%n %a %U %G' ratecat.yml ratecat.metrics.yml ratecat.secrets ratecat.secrets/*",
        ),
        'ratecat.yml 640 root ratecat\nratecat.metrics.yml 640 root ratecat\nratecat.secrets 750 root ratecat\n' +
          'ratecat.secrets/collector_prometheus.prometheus_password 640 root ratecat\n',
      );
      // Other tests may listen on its usual port.
      await systemd.shell("printf 'metrics_server:\\n  enabled: false\\n' >>/etc/ratecat/ratecat.yml");
      // The old process ended with its package; nothing of ours begins to rate before somebody says so.
      assert.equal(await isActive('cloudkitty-api'), false);
      assert.match(
        await systemd.shell('id -nG ratecat; id -nG cloudkitty'),
        /^ratecat cloudkitty\ncloudkitty ratecat\n$/,
      );
    });

    it("prepare the database with CloudKitty's commands, in any order and any number of times, for the daemon to write", async () => {
      const before = await systemd.run('cloudkitty-status', 'upgrade', 'check');
      assert.equal(before.code, 2, before.stdout);
      await systemd.shell('cloudkitty-storage-init && cloudkitty-dbsync upgrade && cloudkitty-storage-init');
      await systemd.shell(
        'cloudkitty-dbsync --config-file /etc/cloudkitty/cloudkitty.conf --log-file /tmp/x upgrade',
      );
      const { code, stdout } = await systemd.run('cloudkitty-status', 'upgrade', 'check');
      assert.equal(code, 0, stdout);
      assert.match(stdout, /\| Check: Database +\|\n\| Result: Success +\|/);
      assert.equal(await systemd.shell('stat -c "%U %G" /var/lib/ratecat/ratecat.db'), 'ratecat ratecat\n');
    });

    it("start the services under CloudKitty's names", async () => {
      await start('cloudkitty-api', 'cloudkitty-processor');
      assert.equal(await isActive('ratecat-api'), true);
      assert.equal(await isActive('ratecat-processor'), true);
      assert.equal((await systemd.run('systemctl', 'is-enabled', 'cloudkitty-api')).code, 0);
      assert.match(await get('/v1/rating/modules/hashmap'), /"module_id": "hashmap"/);
      // Their user reads what stays in CloudKitty's folder, in the sandbox too.
      assert.match(
        await systemd.shell('cat /etc/ratecat/ratecat.yml'),
        /policy_file: \/etc\/cloudkitty\/policy\.yaml/,
      );
      await systemd.shell(`
        sed -e 's/^Type=.*/Type=oneshot/' -e '/^Watchdog/d; /^Restart/d; /^LoadCredential/d; /^ExecReload/d' \\
          -e 's#^ExecStart=.*#ExecStart=/bin/grep -q role:nobody /etc/cloudkitty/policy.yaml#' \\
          /usr/lib/systemd/system/ratecat-api.service >/run/systemd/system/read-policy.service
        systemctl daemon-reload`);
      await start('read-policy');
    });

    it('answer as cloudkitty-api too when it is run by hand', async () => {
      await systemd.shell('systemctl stop cloudkitty-api');
      const answer = await systemd.shell(`
        cloudkitty-api -- --logfile /var/log/cloudkitty/api.log >/tmp/log 2>&1 & pid=$!
        for _ in $(seq 100); do grep -q 'API on' /tmp/log && break; sleep 0.1; done
        node -e "fetch('http://127.0.0.1:${port}/healthcheck').then(async (r) => process.stdout.write(await r.text()))"
        stat -c ' %U' /proc/$pid; kill $pid; wait $pid`);
      assert.equal(answer, 'OK ratecat\n');
      await start('cloudkitty-api');
    });

    it('are upgraded: running services run the new program, stopped ones stay stopped, changed files stay', async () => {
      await systemd.shell(`
        echo 'RATECAT_DATA=/changed' >>/etc/default/ratecat
        echo '# mine' >>/etc/ratecat/ratecat.yml
        systemctl stop ratecat-processor && systemctl disable ratecat-processor`);
      const api = await systemd.property('ratecat-api', 'MainPID');
      await aptDoes('install', `${SECOND}/*.deb`);
      assert.equal(
        await systemd.shell(`dpkg-query -W -f '\${Version}' ratecat-cloudkitty | cut -d- -f2`),
        '2\n',
      );
      assert.equal(await isActive('ratecat-api'), true);
      assert.notEqual(await systemd.property('ratecat-api', 'MainPID'), api);
      assert.equal(await isActive('ratecat-processor'), false);
      assert.equal((await systemd.run('systemctl', 'is-enabled', 'ratecat-processor')).stdout, 'disabled\n');
      await systemd.shell(
        "grep -q '^RATECAT_DATA=/changed' /etc/default/ratecat && grep -q '^# mine' /etc/ratecat/ratecat.yml",
      );
      const pid = await systemd.property('ratecat-api', 'MainPID');
      assert.match(await systemd.shell(`tr '\\0' '\\n' </proc/${pid}/environ`), /^RATECAT_DATA=\/changed$/m);
      await systemd.shell('test ! -e /run/ratecat-upgrade');
    });

    it('start the services again when the program alone is installed anew', async () => {
      const api = await systemd.property('ratecat-api', 'MainPID');
      await systemd.shell(`dpkg -i ${SECOND}/ratecat_*.deb`);
      assert.equal(await isActive('ratecat-api'), true);
      assert.notEqual(await systemd.property('ratecat-api', 'MainPID'), api);
    });

    it('end well when the tables are older than the new program, and say what to do', async () => {
      const sql = (statement: string) =>
        systemd.shell(
          `python3 -c 'import sqlite3, sys
        with sqlite3.connect("/var/lib/ratecat/ratecat.db") as database: database.execute(sys.argv[1])' "${statement}"`.replace(
            /\n +/,
            '\n',
          ),
        );
      await sql("create table saved as select * from ratecat_migrations where module = 'core'");
      await sql(
        "delete from ratecat_migrations where module = 'core' and name = (select max(name) from saved)",
      );
      const said = await systemd.shell(`dpkg -i ${SECOND}/ratecat_*.deb 2>&1`);
      assert.match(
        said,
        /ratecat-api\.service does not start;.*\n *systemctl start ratecat-dbsync && systemctl start/,
      );
      assert.match(await systemd.journal('ratecat-api'), /RATECAT_DATABASE_OLD/);
      await sql('insert or ignore into ratecat_migrations select * from saved');
      await sql('drop table saved');
      await start('ratecat-api');
    });

    it('leave configuration and data when they are removed, and use them when they come back', async () => {
      await aptDoes('remove', 'ratecat');
      assert.equal(
        await systemd.shell(`dpkg-query -W -f '\${db:Status-Status}\\n' 'ratecat*' | sort -u`),
        'config-files\n',
      );
      await systemd.shell(
        '! test -e /usr/lib/ratecat && ! test -e /usr/bin/ratecat && ! test -L /usr/bin/cloudkitty-api',
      );
      assert.equal(await isActive('ratecat-api'), false);
      assert.equal((await systemd.run('systemctl', 'cat', 'ratecat-api')).code, 1);
      await systemd.shell(
        'grep -q changed /etc/default/ratecat && test -s /etc/ratecat/ratecat.yml && test -s /var/lib/ratecat/ratecat.db',
      );
      await aptDoes('install', `${SECOND}/*.deb`);
      await systemd.shell("grep -q '^# mine' /etc/ratecat/ratecat.yml && cloudkitty-status upgrade check");
      assert.equal((await systemd.run('systemctl', 'is-enabled', 'ratecat-processor')).stdout, 'disabled\n');
      await start('ratecat-api');
      await waitUntil('it answers', async () => (await get('/healthcheck')) === 'OK');
    });

    it("take configuration and secrets along when they are purged, and leave the data and CloudKitty's files", async () => {
      const said = await aptDoes(
        'purge',
        'ratecat',
        'ratecat-api',
        'ratecat-processor',
        'ratecat-cloudkitty',
      );
      assert.match(said, /\/var\/lib\/ratecat holds data and is kept/);
      await systemd.shell(`
        ! test -e /etc/ratecat && ! test -e /etc/default/ratecat && test -s /var/lib/ratecat/ratecat.db
        cd /etc/cloudkitty && (sha256sum *.conf *.y*ml && stat -c '%n %a %U %G' . *) | diff /root/before -
        ! find /etc/systemd /var/lib/systemd/deb-systemd-helper-enabled -name 'ratecat*' | grep .`);
      await aptDoes('install', `${SECOND}/*.deb`);
      assert.equal((await systemd.run('systemctl', 'is-enabled', 'ratecat-processor')).stdout, 'enabled\n');
      await systemd.shell('test -s /etc/ratecat/ratecat.yml && cloudkitty-status upgrade check');
      await start('ratecat-api');
      assert.equal(await get('/healthcheck'), 'OK');
    });
  });
}
