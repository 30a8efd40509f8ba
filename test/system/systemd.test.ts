import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, it } from 'node:test';
import { request } from 'undici';
import { stringify } from 'yaml';
import { WORKER_VARIABLE } from '../../core/daemon/worker-processes.js';
import { PROGRAM, ROOT, ratecat } from '../support/daemon.js';
import { Systemd, systemdBootable, systemdInstalled } from '../support/services/systemd.js';
import {
  clearAway,
  FIXTURES,
  lastDue,
  type SmallDaemon,
  smallDaemon,
  waitUntil,
} from '../support/small-daemon.js';

const UNITS = join(ROOT, 'systemd');
const SERVICES = ['ratecat-api.service', 'ratecat-processor.service', 'ratecat-dbsync.service'];
const folder = mkdtempSync(join(tmpdir(), 'ratecat-systemd-test-'));
const running: ChildProcess[] = [];

after(async () => {
  for (const child of running) child.kill('SIGKILL');
  rmSync(folder, { recursive: true });
  await clearAway();
});

/** A service manager's end of the protocol: a real socket, and what came through it. */
class NotifySocket {
  readonly path: string;
  readonly messages: string[] = [];
  readonly #process: ChildProcess;

  private constructor(path: string) {
    this.path = path;
    this.#process = spawn('/usr/bin/python3', [join(FIXTURES, 'systemd/notify-socket.py'), path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    running.push(this.#process);
  }

  static async open(): Promise<NotifySocket> {
    const opened = new NotifySocket(join(folder, `notify-${running.length}`));
    const lines = createInterface({ input: opened.#process.stdout! });
    await once(lines, 'line');
    lines.on('line', (line) => opened.messages.push(JSON.parse(line) as string));
    return opened;
  }

  /** Waits for a message that has this assignment. */
  async until(pattern: RegExp, count = 1): Promise<void> {
    await waitUntil(
      `${count} times ${pattern} in ${JSON.stringify(this.messages)}`,
      () => this.count(pattern) >= count,
    );
  }

  count(pattern: RegExp): number {
    return this.messages.filter((message) => pattern.test(message)).length;
  }
}

const READY = /^READY=1$/m;
const ALIVE = /^WATCHDOG=1$/m;

/** The built program, with anything as its descriptor 3; `sh` gives the process id that LISTEN_PID needs. */
class Service {
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
  log = '';

  constructor(
    args: readonly string[],
    environment: NodeJS.ProcessEnv,
    passed?: { readonly socket: Server; readonly pid?: string },
  ) {
    const assign = passed === undefined ? '' : `LISTEN_FDS=1 LISTEN_PID=${passed.pid ?? '$$'}`;
    const handle = (passed?.socket as unknown as { _handle: { fd: number } } | undefined)?._handle.fd;
    this.child = spawn('/bin/sh', ['-c', `${assign} exec "$0" "$@"`, process.execPath, PROGRAM, ...args], {
      stdio: ['ignore', 'ignore', 'pipe', ...(handle === undefined ? [] : [handle])],
      env: { ...process.env, NODE_OPTIONS: '', ...environment },
    });
    running.push(this.child);
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.log += text;
    });
    this.ended = once(this.child, 'close').then(([code]) => code as number | null);
  }

  get url(): string {
    const url = /API on (\S+)/.exec(this.log)?.[1];
    assert.ok(url !== undefined, this.log);
    return url;
  }
}

async function listeningOn(host: string): Promise<Server> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  return server;
}

/** A prepared database and its configuration; every port is any free one. */
async function prepared(change: object = {}): Promise<SmallDaemon> {
  const daemon = await smallDaemon({
    start: lastDue() - 20 * 3600,
    change: { api: { port: 0 }, ...change },
  });
  const { code, stderr } = await ratecat('dbsync', 'upgrade', '--config', daemon.config);
  assert.equal(code, 0, stderr);
  return daemon;
}

/** The process's children whose environment makes them workers: systemd-notify is a child as well, for a moment. */
async function workersOf(pid: number): Promise<readonly number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
  const workers: number[] = [];
  for (const child of text.split(' ').filter(Boolean).map(Number)) {
    const environment = await readFile(`/proc/${child}/environ`, 'utf8').catch(() => '');
    if (environment.split('\0').some((entry) => entry.startsWith(`${WORKER_VARIABLE}=`))) workers.push(child);
  }
  return workers;
}

if (systemdInstalled()) {
  describe('the unit files', () => {
    const analyze = (...args: readonly string[]) =>
      spawnSync('/usr/bin/systemd-analyze', args, { encoding: 'utf8', cwd: folder });

    before(() => {
      for (const name of readdirSync(UNITS)) {
        const text = readFileSync(join(UNITS, name), 'utf8');
        writeFileSync(join(folder, name), text.replace('ExecStart=ratecat ', `ExecStart=${PROGRAM} `));
      }
    });

    it('have nothing that systemd would complain about', () => {
      const units = readdirSync(UNITS).filter((name) => /\.(service|socket|target)$/.test(name));
      assert.equal(units.length, 5);
      const { status, stdout, stderr } = analyze(
        'verify',
        '--recursive-errors=no',
        ...units.map((name) => `./${name}`),
      );
      const ours = `${stdout}${stderr}`.split('\n').filter((line) => /ratecat/.test(line));
      assert.deepEqual(ours, []);
      assert.equal(status, 0, stderr);
    });

    it('would be complained about if a key were wrong', () => {
      const name = 'ratecat-wrong.service';
      const text = readFileSync(join(folder, SERVICES[0]!), 'utf8');
      writeFileSync(join(folder, name), text.replace('ProtectSystem=strict', 'ProtectSystem=tight'));
      const { stderr } = analyze('verify', '--recursive-errors=no', `./${name}`);
      rmSync(join(folder, name));
      assert.match(stderr, /ratecat-wrong\.service:\d+: Failed to parse protect system value/);
    });

    for (const name of SERVICES) {
      it(`leave ${name} an exposure of at most 2.0`, () => {
        const { status, stdout } = analyze('security', '--offline=true', '--threshold=20', `./${name}`);
        assert.equal(status, 0, stdout);
        assert.match(stdout, /Overall exposure level/);
      });
    }

    it('have the same sandbox in all services', () => {
      const sandbox = (name: string) => {
        const text = readFileSync(join(UNITS, name), 'utf8');
        const from = text.indexOf('# What the program may see and do');
        assert.ok(from > 0, name);
        return text.slice(from).split('\n\n')[0]!.trim();
      };
      for (const name of SERVICES) assert.equal(sandbox(name), sandbox(SERVICES[0]!), name);
    });
  });

  describe('the API under a service manager', () => {
    it('is ready when it answers, gives signs of life until it is stopped by SIGSTOP, and says when it stops', async () => {
      const socket = await NotifySocket.open();
      const { config } = await prepared();
      const api = new Service(['api', '--config', config], {
        NOTIFY_SOCKET: socket.path,
        WATCHDOG_USEC: '600000',
      });
      await socket.until(READY);
      assert.equal(socket.messages[0], `READY=1\nSTATUS=API on ${api.url}`);
      const response = await request(`${api.url}/healthcheck`);
      assert.equal(response.statusCode, 200);
      await response.body.dump();
      await socket.until(ALIVE, 3);
      // A message may be under way while the process is stopped: nothing is counted until it has had time to arrive.
      api.child.kill('SIGSTOP');
      await new Promise((resolve) => setTimeout(resolve, 300));
      const before = socket.count(ALIVE);
      await new Promise((resolve) => setTimeout(resolve, 1500));
      assert.equal(socket.count(ALIVE), before, 'a stopped process gives no sign of life');
      api.child.kill('SIGCONT');
      await socket.until(ALIVE, before + 1);
      api.child.kill('SIGHUP');
      await socket.until(/^RELOADING=1\nMONOTONIC_USEC=\d+$/);
      await socket.until(READY, 2);
      api.child.kill('SIGTERM');
      assert.equal(await api.ended, 0, api.log);
      assert.equal(socket.count(/^STOPPING=1\nEXTEND_TIMEOUT_USEC=45000000\nSTATUS=stopping$/), 1);
      assert.match(socket.messages.filter((message) => !ALIVE.test(message)).at(-1)!, /^STOPPING=1/);
    });

    it('says nothing when it cannot start', async () => {
      const socket = await NotifySocket.open();
      const { config } = await smallDaemon();
      const api = new Service(['api', '--config', config], { NOTIFY_SOCKET: socket.path });
      assert.equal(await api.ended, 78, api.log);
      assert.deepEqual(socket.messages, []);
    });

    it('serves on the socket that it is passed, and is ready then', async () => {
      const socket = await NotifySocket.open();
      const { config } = await prepared({ api: { port: 1 } });
      const passed = await listeningOn('127.0.0.1');
      const { port } = passed.address() as AddressInfo;
      const api = new Service(
        ['api', '--config', config],
        { NOTIFY_SOCKET: socket.path },
        { socket: passed },
      );
      // From now on only the child may take connections.
      passed.close();
      await socket.until(READY);
      assert.equal(api.url, `http://127.0.0.1:${port}`);
      const response = await request(`${api.url}/healthcheck`);
      assert.equal(await response.body.text(), 'OK');
      api.child.kill('SIGTERM');
      assert.equal(await api.ended, 0, api.log);
    });

    it('leaves a socket alone that was meant for another process', async () => {
      const socket = await NotifySocket.open();
      const { config } = await prepared();
      const passed = await listeningOn('127.0.0.1');
      const { port } = passed.address() as AddressInfo;
      const environment = { NOTIFY_SOCKET: socket.path };
      const api = new Service(['api', '--config', config], environment, { socket: passed, pid: '1' });
      passed.close();
      await socket.until(READY);
      assert.notEqual(api.url, `http://127.0.0.1:${port}`);
      api.child.kill('SIGTERM');
      assert.equal(await api.ended, 0, api.log);
    });

    it('without authentication refuses a passed socket that other machines reach', async () => {
      const { config } = await prepared();
      const passed = await listeningOn('0.0.0.0');
      const api = new Service(['api', '--config', config], {}, { socket: passed });
      passed.close();
      assert.equal(await api.ended, 78, api.log);
      assert.match(api.log, /passed a socket on 0\.0\.0\.0:\d+.*RATECAT_API_ADDRESS/s);
    });

    it('takes such a socket where that is allowed', async () => {
      const socket = await NotifySocket.open();
      const { config } = await prepared({ api: { allow_insecure_bind: true } });
      const passed = await listeningOn('0.0.0.0');
      const api = new Service(
        ['api', '--config', config],
        { NOTIFY_SOCKET: socket.path },
        { socket: passed },
      );
      passed.close();
      await socket.until(READY);
      api.child.kill('SIGTERM');
      assert.equal(await api.ended, 0, api.log);
    });
  });

  describe('the processor under a service manager', () => {
    it('is ready when it rates, and tells how far it is', async () => {
      const socket = await NotifySocket.open();
      const { config } = await prepared();
      const processor = new Service(['processor', '--config', config], {
        NOTIFY_SOCKET: socket.path,
        WATCHDOG_USEC: '1000000',
      });
      await socket.until(READY);
      await socket.until(/^STATUS=2 scopes; nothing due; 40 periods rated since the start$/m);
      processor.child.kill('SIGTERM');
      assert.equal(await processor.ended, 0, processor.log);
      await socket.until(/^STOPPING=1/m);
    });

    it('speaks for its workers, which cannot, and starts one again that hangs while the others go on', async () => {
      const socket = await NotifySocket.open();
      const { config } = await prepared({ processor: { workers: 2, lease_seconds: 2 } });
      const processor = new Service(['processor', '--config', config], {
        NOTIFY_SOCKET: socket.path,
        WATCHDOG_USEC: '6000000',
      });
      await socket.until(READY);
      const workers = await workersOf(processor.child.pid!);
      assert.equal(workers.length, 2);
      for (const pid of workers)
        assert.doesNotMatch(await readFile(`/proc/${pid}/environ`, 'utf8'), /NOTIFY_SOCKET|WATCHDOG_/);
      process.kill(workers[0]!, 'SIGSTOP');
      await waitUntil('the worker is killed', () =>
        /a worker does not go on and is killed/.test(processor.log),
      );
      await waitUntil('another one works in its place', async () => {
        const now = await workersOf(processor.child.pid!);
        return !now.includes(workers[0]!) && now.filter((pid) => pid !== workers[1]).length > 0;
      });
      const alive = socket.count(ALIVE);
      await socket.until(ALIVE, alive + 1);
      assert.equal(socket.count(READY), 1);
      processor.child.kill('SIGTERM');
      assert.equal(await processor.ended, 0, processor.log);
    });

    it('goes on without the program systemd-notify, and says so', async () => {
      const { config } = await prepared();
      const processor = new Service(['processor', '--config', config], {
        NOTIFY_SOCKET: '/run/nobody',
        PATH: folder,
      });
      await waitUntil('it is said', () =>
        /the service manager cannot be told.*systemd-notify/.test(processor.log),
      );
      await waitUntil('it rates', () => /period rated/.test(processor.log));
      processor.child.kill('SIGTERM');
      assert.equal(await processor.ended, 0, processor.log);
    });
  });
}

if (systemdBootable()) {
  describe('a real systemd', () => {
    let systemd: Systemd;
    const config = {
      data_folder: '/var/lib/ratecat',
      // biome-ignore lint/suspicious/noTemplateCurlyInString: Ratecat's own, in its configuration.
      database: { url_file: '${CREDENTIALS_DIRECTORY}/secret_database-url' },
      processor: { workers: 1 },
      rating: [{ plugin: 'hashmap' }],
      collect: {
        period: 3600,
        wait_periods: 1,
        scope_key: 'project_id',
        metrics: './metrics.yml',
        start: new Date((lastDue() - 20 * 3600) * 1000).toISOString(),
      },
      fetcher: { plugin: 'static', options: { scopes: ['alpha', 'beta'] } },
      collector: { plugin: '/opt/ratecat/test/fixtures/deterministic-collector.mjs' },
    };
    const metrics = { metrics: { cpu: { unit: 'core', groupby: ['id'], metadata: ['flavor'] } } };

    before(async () => {
      systemd = await Systemd.boot();
      // As docs/systemd.md has it.
      await systemd.shell(`
        cd /opt/ratecat/systemd
        cp ratecat*.service ratecat*.socket ratecat.target /etc/systemd/system/
        install -D -m 644 ratecat.sysusers.conf /etc/sysusers.d/ratecat.conf
        install -D -m 644 ratecat.tmpfiles.conf /etc/tmpfiles.d/ratecat.conf
        systemd-sysusers
        systemd-tmpfiles --create ratecat.conf
        systemctl daemon-reload
        (umask 027 && echo '${stringify(config)}' > /etc/ratecat/ratecat.yml && echo '${stringify(metrics)}' > /etc/ratecat/metrics.yml)
        chgrp ratecat /etc/ratecat/*.yml
        (umask 077 && echo sqlite:ratecat.db > /etc/ratecat/credentials/database-url)`);
    });
    after(async () => systemd?.stop());

    /** Fails with the journal of the unit. */
    async function start(unit: string): Promise<void> {
      const { code, stderr } = await systemd.run('systemctl', 'start', unit);
      assert.equal(code, 0, `${stderr}${code === 0 ? '' : await systemd.journal(unit)}`);
    }

    /** What the API answers to a caller on the same machine. */
    function get(path: string): Promise<string> {
      const script = `fetch('http://127.0.0.1:8889${path}').then(async (r) => process.stdout.write(await r.text()))`;
      return systemd.shell(`node -e "${script}"`);
    }

    it('makes the user and folders, of which only root opens that of the secrets', async () => {
      const listed = await systemd.shell(
        "stat -c '%n %A %U %G' /etc/ratecat /etc/ratecat/credentials /var/lib/ratecat; getent passwd ratecat",
      );
      assert.match(
        listed,
        /^\/etc\/ratecat drwxr-x--- root ratecat\n\/etc\/ratecat\/credentials drwx------ root root\n\/var\/lib\/ratecat drwxr-x--- ratecat ratecat\nratecat:x:\d+:\d+:Ratecat[^:]*:\/var\/lib\/ratecat:\S*nologin\n$/,
      );
    });

    it('has the services refuse a database that is not prepared, and does not try again', async () => {
      const { code } = await systemd.run('systemctl', 'start', 'ratecat-processor');
      assert.notEqual(code, 0);
      assert.match(await systemd.journal('ratecat-processor'), /RATECAT_DATABASE_OLD/);
      assert.equal(await systemd.property('ratecat-processor', 'SubState'), 'failed');
      await systemd.shell('systemctl reset-failed ratecat-processor');
    });

    it('runs the set-up of the database, then both services, inside their sandbox', async () => {
      await start('ratecat-dbsync');
      await systemd.shell('systemctl enable ratecat-api ratecat-processor ratecat.target');
      await start('ratecat.target');
      for (const unit of ['ratecat-api', 'ratecat-processor'])
        await waitUntil(`${unit} runs`, async () => (await systemd.property(unit, 'SubState')) === 'running');
      assert.equal(await systemd.property('ratecat-api', 'StatusText'), 'API on http://127.0.0.1:8889');
      await waitUntil('everything is rated', async () => {
        const text = await systemd.journal('ratecat-processor');
        return (text.match(/period rated/g)?.length ?? 0) >= 40;
      });
      const answer = await get('/v2/scope');
      assert.match(answer, /"scope_id": "alpha"/);
      assert.equal(await systemd.shell('stat -c "%U %a" /var/lib/ratecat/ratecat.db'), 'ratecat 640\n');
    });

    it('shows how far the processor is', async () => {
      await systemd.shell(`
        mkdir -p /etc/systemd/system/ratecat-processor.service.d
        printf '[Service]\\nWatchdogSec=4\\n' > /etc/systemd/system/ratecat-processor.service.d/test.conf
        systemctl daemon-reload; systemctl restart ratecat-processor`);
      await waitUntil('the status is told', async () =>
        /^2 scopes; nothing due;/.test(await systemd.property('ratecat-processor', 'StatusText')),
      );
    });

    it('starts a processor again that hangs, and nothing else', async () => {
      const pid = await systemd.property('ratecat-processor', 'MainPID');
      const api = await systemd.property('ratecat-api', 'MainPID');
      await systemd.shell(`kill -STOP ${pid}`);
      await waitUntil('it is started again', async () => {
        const now = await systemd.property('ratecat-processor', 'MainPID');
        return now !== '0' && now !== pid;
      });
      assert.match(await systemd.journal('ratecat-processor'), /Watchdog timeout/);
      await waitUntil(
        'it runs',
        async () => (await systemd.property('ratecat-processor', 'SubState')) === 'running',
      );
      assert.equal(await systemd.property('ratecat-processor', 'NRestarts'), '1');
      assert.equal(await systemd.property('ratecat-api', 'MainPID'), api);
    });

    it('lets a healthy processor live for longer than its watchdog waits', async () => {
      const pid = await systemd.property('ratecat-processor', 'MainPID');
      await new Promise((resolve) => setTimeout(resolve, 9_000));
      assert.equal(await systemd.property('ratecat-processor', 'MainPID'), pid);
    });

    it('reloads and stops the services; a stop of the target reaches them all', async () => {
      await systemd.shell('systemctl reload ratecat-processor ratecat-api');
      await waitUntil('it is reloaded', async () =>
        /log level reloaded/.test(await systemd.journal('ratecat-processor')),
      );
      await systemd.shell('systemctl stop ratecat.target');
      for (const unit of ['ratecat-api', 'ratecat-processor']) {
        await waitUntil(
          `${unit} has stopped`,
          async () => (await systemd.property(unit, 'ActiveState')) === 'inactive',
        );
        assert.equal(await systemd.property(unit, 'Result'), 'success');
        assert.match(await systemd.journal(unit), /stopped\n/);
      }
    });

    it('passes the socket, and starts the API for the first caller', async () => {
      await systemd.shell('systemctl start ratecat-api.socket');
      assert.equal(await systemd.property('ratecat-api', 'ActiveState'), 'inactive');
      const answer = await get('/healthcheck');
      assert.equal(answer, 'OK');
      // A caller during the restart waits, and is answered.
      const restarted = systemd.shell('systemctl restart ratecat-api');
      assert.equal(await get('/healthcheck'), 'OK');
      await restarted;
      assert.equal(await systemd.property('ratecat-api', 'SubState'), 'running');
    });

    it('gives the services nothing to write but their folder', async () => {
      const pid = await systemd.property('ratecat-api', 'MainPID');
      const status = await systemd.shell(`cat /proc/${pid}/status`);
      assert.match(status, /^CapBnd:\s+0+$/m);
      assert.match(status, /^NoNewPrivs:\s+1$/m);
      assert.match(status, /^Seccomp:\s+2$/m);
      const mounts = (await systemd.shell(`cat /proc/${pid}/mountinfo`))
        .split('\n')
        .map((line) => line.split(' '));
      const options = (path: string) => mounts.findLast((mount) => mount[4] === path)?.[5] ?? '';
      assert.match(options('/'), /^ro/);
      assert.match(options('/var/lib/ratecat'), /^rw/);
    });
  });
}
