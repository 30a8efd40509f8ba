import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from 'node:zlib';
import { UndiciHttpClient } from '../../../core/loading/http-client.js';
import type { HttpClientOptions, HttpResponse, RatecatError } from '../../../core/plugin-api/index.js';
import {
  type Behaviour,
  close,
  drip,
  endless,
  HttpDouble,
  hang,
  headersThenHang,
  json,
  raw,
  reply,
  reset,
  resetInBody,
  shortBody,
  unfinishedChunks,
  untilClose,
} from '../../support/http-double.js';

const never = new AbortController().signal;
let double: HttpDouble;

before(async () => {
  double = await HttpDouble.start();
});
after(() => double.stop());

/** One request against a behaviour, with a client of its own. */
async function ask(behaviour: Behaviour, options: HttpClientOptions = {}, path = '/'): Promise<HttpResponse> {
  double.handler = () => behaviour;
  const client = new UndiciHttpClient(options);
  try {
    return await client.request({ url: `${double.url}${path}` }, never);
  } finally {
    await client.close();
  }
}

function failsWith(code: string, kind: RatecatError['kind']) {
  return (error: unknown) => {
    assert.equal((error as RatecatError).code, code, String(error));
    assert.equal((error as RatecatError).kind, kind);
    return true;
  };
}

/** The behaviour must fail in the given way, and must have been acted out. */
async function rejects(behaviour: Behaviour, code: string, kind: RatecatError['kind'], options = {}) {
  const before = double.firedTimes(behaviour.name);
  await assert.rejects(ask(behaviour, options), failsWith(code, kind));
  assert.ok(double.firedTimes(behaviour.name) > before, 'the fault never fired');
}

test('any status is an answer, with lower-case headers and repeated ones joined', async () => {
  const answer = await ask(reply(418, 'short', { 'X-Kind': 'teapot', Link: ['<a>', '<b>'] }));
  assert.equal(answer.status, 418);
  assert.equal(answer.body, 'short');
  assert.equal(answer.headers['x-kind'], 'teapot');
  assert.equal(answer.headers.link, '<a>, <b>');
  assert.equal(answer.headers.constructor, undefined);
});

test('method, headers and body arrive as given', async () => {
  double.handler = () => json({});
  const client = new UndiciHttpClient();
  await client.request(
    { method: 'POST', url: `${double.url}/a/b?c=d%20e`, headers: { 'X-Auth-Token': 't' }, body: '{"é":1}' },
    never,
  );
  await client.close();
  const last = double.requests.at(-1)!;
  assert.equal(last.method, 'POST');
  assert.equal(last.target, '/a/b?c=d%20e');
  assert.equal(last.headers['x-auth-token'], 't');
  assert.equal(last.body, '{"é":1}');
});

test('a hundred requests in a row use one connection', async () => {
  double.handler = () => json({});
  const client = new UndiciHttpClient({ connections: 1 });
  const before = double.connections;
  for (let i = 0; i < 100; i++) await client.request({ url: double.url }, never);
  assert.equal(double.connections - before, 1);
  await client.close();
});

test('no more requests are under way than connections are allowed', async () => {
  let open = 0;
  let most = 0;
  const waits: Array<() => void> = [];
  double.handler = async () => {
    most = Math.max(most, ++open);
    // Three have to meet here before the first may leave.
    if (most < 3) await new Promise<void>((resolve) => waits.push(resolve));
    else for (const resolve of waits.splice(0)) resolve();
    await new Promise((resolve) => setImmediate(resolve));
    open--;
    return json({});
  };
  const client = new UndiciHttpClient({ connections: 3 });
  await Promise.all(Array.from({ length: 40 }, () => client.request({ url: double.url }, never)));
  assert.equal(most, 3);
  await client.close();
});

test('waiting for a free connection is not counted as time of the exchange', async () => {
  const waits: Array<() => void> = [];
  double.handler = async () => {
    if (waits.length === 0) await new Promise<void>((resolve) => waits.push(resolve));
    return json({});
  };
  const started = double.requests.length;
  const client = new UndiciHttpClient({ connections: 1, timeoutMs: 400 });
  const first = client.request({ url: double.url }, never);
  const second = client.request({ url: double.url }, never);
  await double.arrived(started + 1);
  await new Promise((resolve) => setTimeout(resolve, 250));
  waits[0]!();
  await first;
  assert.equal((await second).status, 200);
  await client.close();
});

for (const [name, pack] of [
  ['gzip', gzipSync],
  ['br', brotliCompressSync],
  ['deflate', deflateSync],
  ['deflate', deflateRawSync],
] as const) {
  test(`a body packed with ${name} (${pack.name}) is unpacked`, async () => {
    const answer = await ask(reply(200, pack(Buffer.from('{"ü":1}')), { 'content-encoding': name }));
    assert.equal(answer.body, '{"ü":1}');
  });

  test(`a bomb in ${name} (${pack.name}) is refused at the limit`, async () => {
    const bomb = pack(Buffer.alloc(64 * 1024 * 1024));
    assert.ok(bomb.length < 100_000);
    const before = process.memoryUsage().arrayBuffers;
    await rejects(reply(200, bomb, { 'content-encoding': name }), 'RATECAT_UPSTREAM_TOO_LARGE', 'data', {
      maxResponseBytes: 100_000,
    });
    assert.ok(process.memoryUsage().arrayBuffers - before < 8_000_000, 'the bomb was unpacked');
  });
}

test('a body of exactly the limit passes, one byte more does not', async () => {
  assert.equal((await ask(reply(200, 'x'.repeat(5000)), { maxResponseBytes: 5000 })).body.length, 5000);
  await rejects(reply(200, 'x'.repeat(5001)), 'RATECAT_UPSTREAM_TOO_LARGE', 'data', {
    maxResponseBytes: 5000,
  });
});

test('an endless body without a length is cut off at the limit', async () => {
  await rejects(endless(), 'RATECAT_UPSTREAM_TOO_LARGE', 'data', { maxResponseBytes: 1_000_000 });
});

test('an encoding that was not asked for, and broken packing, are malformed', async () => {
  const headers = (name: string) => ({ 'content-encoding': name });
  await rejects(reply(200, 'x', headers('zstd')), 'RATECAT_UPSTREAM_MALFORMED', 'data');
  await rejects(reply(200, 'x', headers('gzip, gzip')), 'RATECAT_UPSTREAM_MALFORMED', 'data');
  await rejects(reply(200, 'not gzip', headers('gzip')), 'RATECAT_UPSTREAM_MALFORMED', 'data');
});

test('a gzip stream that ends early is truncated', async () => {
  const packed = gzipSync('a'.repeat(10_000) + Math.random());
  await rejects(
    reply(200, packed.subarray(0, packed.length - 9), { 'content-encoding': 'gzip' }),
    'RATECAT_UPSTREAM_TRUNCATED',
    'unavailable',
  );
});

test('an empty body with a content-encoding is an empty body', async () => {
  assert.equal((await ask(reply(204, '', { 'content-encoding': 'gzip' }))).body, '');
});

test('a body that breaks off is truncated, however it breaks off', async () => {
  const text = JSON.stringify({ value: 'x'.repeat(500) });
  await rejects(shortBody(text, 1), 'RATECAT_UPSTREAM_TRUNCATED', 'unavailable');
  await rejects(unfinishedChunks(text), 'RATECAT_UPSTREAM_TRUNCATED', 'unavailable');
  await rejects(resetInBody(text, 100), 'RATECAT_UPSTREAM_TRUNCATED', 'unavailable');
});

test('a body that ends with the connection is taken as it is', async () => {
  assert.equal((await ask(untilClose('{"a":1}'))).body, '{"a":1}');
});

test('invalid UTF-8 is malformed in an answer and tolerated in an error page', async () => {
  const latin = Buffer.from([0x7b, 0xe9, 0x7d]);
  await rejects(reply(200, latin), 'RATECAT_UPSTREAM_MALFORMED', 'data');
  await rejects(reply(200, Buffer.from([0xed, 0xa0, 0x80])), 'RATECAT_UPSTREAM_MALFORMED', 'data');
  assert.equal((await ask(reply(500, latin))).status, 500);
});

test('a byte order mark is taken off', async () => {
  assert.equal((await ask(reply(200, '\ufeff{}'))).body, '{}');
});

test('something that is not HTTP is malformed', async () => {
  await rejects(raw('SSH-2.0-OpenSSH_9.2\r\n'), 'RATECAT_UPSTREAM_MALFORMED', 'data');
});

for (const behaviour of [hang(), headersThenHang(), drip()]) {
  test(`an upstream that does ${behaviour.name} is given up at the time limit`, async () => {
    const begin = performance.now();
    await rejects(behaviour, 'RATECAT_UPSTREAM_TIMEOUT', 'unavailable', { timeoutMs: 300 });
    const took = performance.now() - begin;
    assert.ok(took >= 290 && took < 1000, `took ${took} ms`);
  });

  test(`an abort during ${behaviour.name} rejects at once with the signal's reason`, async () => {
    double.handler = () => behaviour;
    const client = new UndiciHttpClient();
    const abort = new AbortController();
    const count = double.requests.length;
    const pending = client.request({ url: double.url }, abort.signal);
    await double.arrived(count + 1);
    const reason = new Error('enough');
    const begin = performance.now();
    abort.abort(reason);
    await assert.rejects(pending, (error) => error === reason);
    assert.ok(performance.now() - begin < 100);
    await client.close();
  });
}

test('an abort while the connection is being made rejects at once', async (t) => {
  const silent = createTcpServer().listen(0, '127.0.0.1');
  const client = new UndiciHttpClient();
  t.after(async () => {
    await client.close();
    silent.close();
  });
  await new Promise((resolve) => silent.once('listening', resolve));
  const { port } = silent.address() as AddressInfo;
  const connected = new Promise<Socket>((resolve) => silent.once('connection', resolve));
  const abort = new AbortController();
  // The server never answers the TLS greeting.
  const pending = client.request({ url: `https://127.0.0.1:${port}/` }, abort.signal);
  const socket = await connected;
  t.after(() => socket.destroy());
  const begin = performance.now();
  abort.abort('stop');
  await assert.rejects(pending, (error) => error === 'stop');
  assert.ok(performance.now() - begin < 100);
});

test('an abort right after the call rejects with the reason', async () => {
  const abort = new AbortController();
  const pending = new UndiciHttpClient().request({ url: double.url }, abort.signal);
  abort.abort('stop');
  await assert.rejects(pending, (error) => error === 'stop');
});

test('an aborted signal sends nothing', async () => {
  const count = double.requests.length;
  await assert.rejects(
    new UndiciHttpClient().request({ url: double.url }, AbortSignal.abort('early')),
    (error) => error === 'early',
  );
  assert.equal(double.requests.length, count);
});

test('an abort in the queue for a connection frees nothing that it did not hold', async () => {
  const waits: Array<() => void> = [];
  double.handler = async () => {
    if (waits.length === 0) await new Promise<void>((resolve) => waits.push(resolve));
    return json({});
  };
  const count = double.requests.length;
  const client = new UndiciHttpClient({ connections: 1 });
  const first = client.request({ url: double.url }, never);
  const abort = new AbortController();
  const second = client.request({ url: double.url }, abort.signal);
  const third = client.request({ url: double.url }, never);
  await double.arrived(count + 1);
  abort.abort('gone');
  await assert.rejects(second, (error) => error === 'gone');
  waits[0]!();
  await Promise.all([first, third]);
  assert.equal(double.requests.length - count, 2);
  await client.close();
});

test('a reset on a fresh connection is unreachable and not repeated', async () => {
  const count = double.requests.length;
  await rejects(reset(), 'RATECAT_UPSTREAM_UNREACHABLE', 'unavailable');
  assert.equal(double.requests.length - count, 1);
});

for (const cut of [reset(), close()]) {
  test(`a GET on a reused connection that meets a ${cut.name} is asked once more`, async () => {
    let cuts = 0;
    let calls = 0;
    double.handler = () => (++calls === 2 && ++cuts > 0 ? cut : json({ calls }));
    const client = new UndiciHttpClient({ connections: 1 });
    await client.request({ url: double.url }, never);
    assert.equal((await client.request({ url: double.url }, never)).body, '{"calls":3}');
    assert.equal(cuts, 1);
    await client.close();
  });

  test(`a POST on a reused connection that meets a ${cut.name} is not repeated, but says so`, async () => {
    let calls = 0;
    double.handler = () => (++calls === 2 ? cut : json({ calls }));
    const client = new UndiciHttpClient({ connections: 1 });
    await client.request({ url: double.url }, never);
    await assert.rejects(
      client.request({ url: double.url, method: 'POST', body: '{}' }, never),
      (error: RatecatError) =>
        error.code === 'RATECAT_UPSTREAM_UNREACHABLE' && error.details.reusedConnection === true,
    );
    assert.equal(calls, 2);
    await client.close();
  });
}

test('a connection that is cut again and again is given up after one repeat', async () => {
  let calls = 0;
  double.handler = () => (++calls === 1 ? json({}) : reset());
  const client = new UndiciHttpClient({ connections: 1 });
  await client.request({ url: double.url }, never);
  await assert.rejects(
    client.request({ url: double.url }, never),
    failsWith('RATECAT_UPSTREAM_UNREACHABLE', 'unavailable'),
  );
  assert.equal(calls, 3);
  await client.close();
});

test('redirects are answers, not followed', async () => {
  const count = double.requests.length;
  assert.equal((await ask(reply(301, '', { location: '/' }))).status, 301);
  assert.equal(double.requests.length - count, 1);
});

test('nothing listening is unreachable, and the message hides credentials and query', async () => {
  const client = new UndiciHttpClient();
  const free = createTcpServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => free.once('listening', resolve));
  const { port } = free.address() as AddressInfo;
  await new Promise((resolve) => free.close(resolve));
  await assert.rejects(
    client.request({ url: `http://joe:s3cret@127.0.0.1:${port}/v1?token=hidden` }, never),
    (error: RatecatError) => {
      failsWith('RATECAT_UPSTREAM_UNREACHABLE', 'unavailable')(error);
      assert.match(error.message, new RegExp(`GET http://127\\.0\\.0\\.1:${port}/v1 failed`));
      assert.match(error.message, /ECONNREFUSED/);
      assert.doesNotMatch(error.message + JSON.stringify(error.details), /s3cret|hidden|joe/);
      return true;
    },
  );
  await client.close();
});

test('a URL that is none is a configuration error without its secrets', async () => {
  for (const url of ['ftp://joe:s3cret@host/', 'host:9090?token=s3cret', '']) {
    await assert.rejects(new UndiciHttpClient().request({ url }, never), (error: RatecatError) => {
      failsWith('RATECAT_UPSTREAM_URL_INVALID', 'config')(error);
      assert.doesNotMatch(error.message, /s3cret/);
      return true;
    });
  }
});

test('credentials in the URL are sent as basic authentication', async () => {
  double.handler = () => json({});
  const client = new UndiciHttpClient();
  await client.request({ url: double.url.replace('//', '//joe:p%40ss@') }, never);
  await client.close();
  const sent = String(double.requests.at(-1)!.headers.authorization);
  assert.equal(Buffer.from(sent.replace('Basic ', ''), 'base64').toString(), 'joe:p@ss');
});

test('close ends an exchange in flight and leaves no connection', async () => {
  double.handler = () => hang();
  const client = new UndiciHttpClient();
  const count = double.requests.length;
  const pending = assert.rejects(
    client.request({ url: double.url }, never),
    failsWith('RATECAT_UPSTREAM_UNREACHABLE', 'unavailable'),
  );
  await double.arrived(count + 1);
  await client.close();
  await pending;
  await assert.rejects(
    client.request({ url: double.url }, never),
    failsWith('RATECAT_UPSTREAM_UNREACHABLE', 'unavailable'),
  );
  await client.close();
});

test('closing a client that was never used does nothing', async () => {
  await new UndiciHttpClient().close();
});

test('TLS: trust, distrust, insecure, and a missing file', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'ratecat-tls-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const certFile = join(folder, 'cert.pem');
  const keyFile = join(folder, 'key.pem');
  execFileSync('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
    ...[
      '-subj',
      '/CN=localhost',
      '-addext',
      'subjectAltName=DNS:localhost',
      '-keyout',
      keyFile,
      '-out',
      certFile,
    ],
  ]);
  const server = createTlsServer(
    { cert: readFileSync(certFile), key: readFileSync(keyFile) },
    (_, response) => response.end('{}'),
  ).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const get = async (options: HttpClientOptions, host = 'localhost') => {
    const client = new UndiciHttpClient(options);
    try {
      return (await client.request({ url: `https://${host}:${port}/` }, never)).status;
    } finally {
      await client.close();
    }
  };
  assert.equal(await get({ caFile: certFile }), 200);
  assert.equal(await get({ insecure: true }), 200);
  await assert.rejects(get({}), (error: RatecatError) => {
    assert.match(error.message, /not trusted.*cafile/);
    return failsWith('RATECAT_UPSTREAM_UNREACHABLE', 'unavailable')(error);
  });
  // Named by an address, the certificate is for somebody else; `insecure` must not undo what cafile asks for.
  await assert.rejects(get({ caFile: certFile, insecure: true }, '127.0.0.1'), /for another host/);
  await assert.rejects(
    get({ caFile: join(folder, 'no.pem') }),
    failsWith('RATECAT_TLS_FILE_UNREADABLE', 'config'),
  );
});
