import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { Agent, request } from 'undici';
import { Command, PROGRAM, ratecat, writeConfig } from '../support/daemon.js';

/** How the built program takes and refuses connections: everything below the routes. */
describe('transport of the API', () => {
  let folder: string;
  let daemon: Command | undefined;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ratecat-transport-'));
  });
  afterEach(async () => {
    await daemon?.stop();
    daemon = undefined;
  });
  after(() => rm(folder, { recursive: true, force: true }));

  async function configure(api: object): Promise<string> {
    const config = await writeConfig(
      folder,
      {
        data_folder: folder,
        api: { port: 0, ...api },
        collect: { metrics: './metrics.yml' },
        fetcher: { plugin: 'source', options: { scopes: ['nobody'] } },
        collector: { plugin: 'prometheus', options: { prometheus_url: 'http://127.0.0.1:9/api/v1' } },
      },
      { 'metrics.yml': { metrics: { cpu: { unit: 'core', groupby: ['id'] } } } },
    );
    const { code, stderr } = await ratecat('dbsync', 'upgrade', '--config', config);
    assert.equal(code, 0, stderr);
    return config;
  }

  async function start(api: object): Promise<string> {
    daemon = new Command(['api', '--config', await configure(api)]);
    await daemon.until(/API on http\S+/);
    return /API on (http\S+)/.exec(daemon.stderr + daemon.stdout)![1]!;
  }

  it('serves https with the certificate of the configuration', async () => {
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
    const made = spawnSync('openssl', [
      ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost'],
      ...['-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert],
    ]);
    assert.equal(made.status, 0, String(made.stderr));
    const url = await start({ tls: { cert_file: cert, key_file: key } });
    assert.match(url, /^https:/);
    const ca = (await import('node:fs')).readFileSync(cert);
    const dispatcher = new Agent({ connect: { ca } });
    const response = await request(url, { dispatcher });
    const { versions } = (await response.body.json()) as { versions: { links: { href: string }[] }[] };
    assert.equal(versions[0]!.links[0]!.href, `${url}/v1`);
    await dispatcher.close();
  });

  it('says which file of the certificate cannot be read', async () => {
    const config = await configure({ tls: { cert_file: './none.pem', key_file: './none.pem' } });
    const { code, stderr } = await ratecat('api', '--config', config);
    assert.equal(code, 78);
    assert.match(stderr, /none\.pem of api\.tls cannot be read \(ENOENT\)/);
  });

  it('takes the socket that a service manager passes', async () => {
    const config = await configure({ port: 1 });
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const handle = (server as unknown as { _handle: { fd: number } })._handle.fd;
    const child = spawn(
      'sh',
      [
        '-c',
        'LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@"',
        process.execPath,
        PROGRAM,
        'api',
        '--config',
        config,
      ],
      {
        stdio: ['ignore', 'ignore', 'pipe', handle],
        env: { ...process.env, NODE_OPTIONS: '' },
      },
    );
    // From now on only the child may take connections.
    server.close();
    let log = '';
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      log += text;
    });
    const closed = new Promise((resolve) => child.on('close', resolve));
    while (!/API on/.test(log)) {
      assert.equal(child.exitCode, null, log);
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    const response = await request(`http://127.0.0.1:${port}/healthcheck`);
    assert.equal(await response.body.text(), 'OK');
    child.kill('SIGTERM');
    assert.equal(await closed, 0, log);
  });

  it('refuses to start where the port is taken, and names the setting', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const { code, stderr } = await ratecat('api', '--config', await configure({ port }));
    server.close();
    assert.equal(code, 78);
    assert.match(stderr, new RegExp(`127\\.0\\.0\\.1:${port} \\(EADDRINUSE\\).*api\\.port`));
  });

  it('refuses to start on a database that is not prepared', async () => {
    const config = await configure({});
    await rm(join(folder, 'ratecat.db'), { force: true });
    for (const suffix of ['-wal', '-shm']) await rm(join(folder, `ratecat.db${suffix}`), { force: true });
    const { code, stderr } = await ratecat('api', '--config', config);
    assert.equal(code, 78);
    assert.match(stderr, /dbsync upgrade/);
  });

  it('refuses bodies and headers that are too large, and goes on', async () => {
    const url = await start({ max_body_mib: 1, max_header_kib: 8 });
    const large = await request(`${url}/v2/dataframes`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: Buffer.alloc(2 * 1024 * 1024, ' '),
    });
    assert.equal(large.statusCode, 413);
    await large.body.dump();
    const wide = await request(`${url}/`, { headers: { 'x-wide': 'a'.repeat(10_000) } });
    assert.equal(wide.statusCode, 431);
    await wide.body.dump();
    assert.equal((await request(`${url}/healthcheck`)).statusCode, 200);
  });

  it('cuts off a caller that sends its request too slowly', async () => {
    const url = new URL(await start({ request_timeout: 1 }));
    const socket = connect(Number(url.port), '127.0.0.1');
    socket.write(
      'POST /v2/dataframes HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{',
    );
    const begin = performance.now();
    const drip = setInterval(() => socket.write(' '), 200);
    await new Promise((resolve) =>
      socket
        .on('error', () => undefined)
        .on('close', resolve)
        .resume(),
    );
    clearInterval(drip);
    // Node looks for slow requests every thirty seconds.
    assert.ok(performance.now() - begin < 40_000, 'it is cut off');
    assert.equal((await request(`${url.origin}/healthcheck`)).statusCode, 200);
  });

  it('survives what is no HTTP, and a thousand idle connections', async () => {
    const url = new URL(await start({}));
    const sockets = Array.from({ length: 1000 }, () =>
      connect(Number(url.port), '127.0.0.1').on('error', () => undefined),
    );
    sockets[0]!.write('\x16\x03\x01 not http\r\n\r\n');
    sockets[1]!.write(
      'GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\nxyz',
    );
    const response = await request(`${url.origin}/healthcheck`);
    assert.equal(await response.body.text(), 'OK');
    for (const socket of sockets) socket.destroy();
  });

  it('names itself as a trusted proxy says, and as nobody else does', async () => {
    const headers = { 'x-forwarded-proto': 'https', 'x-forwarded-host': 'rating.example' };
    const hrefs = async (url: string) => {
      const response = await request(url, { headers });
      return JSON.stringify(await response.body.json());
    };
    const plain = await start({});
    assert.doesNotMatch(await hrefs(plain), /rating\.example/);
    await daemon!.stop();
    assert.match(
      await hrefs(await start({ trusted_proxies: ['loopback'] })),
      /https:\/\/rating\.example\/v1/,
    );
  });

  it('gives each answer a request id that is in the log of its error', async () => {
    const url = await start({});
    const first = await request(`${url}/v1/rating/modules`);
    const second = await request(`${url}/v1/rating/modules`);
    const ids = [first, second].map(({ headers }) => String(headers['x-openstack-request-id']));
    for (const id of ids) assert.match(id, /^req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    assert.notEqual(ids[0], ids[1]);
  });
});
