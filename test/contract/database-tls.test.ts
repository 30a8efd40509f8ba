import assert from 'node:assert/strict';
import { copyFileSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { openDatabase } from '../../core/database/open-database.js';
import { type KeyPair, TestAuthority } from '../support/certificates.js';
import { serviceInstalled } from '../support/require-service.js';
import { type Mariadb, startMariadb } from '../support/services/mariadb.js';

const PASSWORD = 'open-sesame';

/** What passed through to the server, to look for what must not be there. */
async function recorder(target: number): Promise<{ server: Server; port: number; sent: () => string }> {
  const chunks: Buffer[] = [];
  const server = createServer((client) => {
    const upstream = connect(target, '127.0.0.1');
    client.on('data', (data: Buffer) => {
      chunks.push(data);
      upstream.write(data);
    });
    upstream.on('data', (data) => client.write(data));
    const end = () => {
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) socket.on('close', end).on('error', end);
  });
  const port = await listen(server);
  return { server, port, sent: () => Buffer.concat(chunks).toString('latin1') };
}

function listen(server: Server): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

if (serviceInstalled('mariadb')) {
  describe('TLS to MariaDB', () => {
    const authority = new TestAuthority();
    const stranger = new TestAuthority('Somebody else');
    const good = authority.issue({ names: 'DNS:localhost,IP:127.0.0.1' });
    const live: KeyPair = {
      cert: join(authority.folder, 'live.pem'),
      key: join(authority.folder, 'live.key'),
    };
    let server: Mariadb;

    before(async () => {
      install(good);
      server = await startMariadb({
        arguments: [`--ssl-ca=${authority.ca}`, `--ssl-cert=${live.cert}`, `--ssl-key=${live.key}`],
      });
      await server.createDatabase('rating');
      await server.query(`CREATE USER 'tls'@'127.0.0.1' IDENTIFIED BY '${PASSWORD}' REQUIRE SSL`);
      await server.query(`CREATE USER 'certified'@'127.0.0.1' IDENTIFIED BY '${PASSWORD}' REQUIRE X509`);
      await server.query(`GRANT ALL ON rating.* TO 'tls'@'127.0.0.1', 'certified'@'127.0.0.1'`);
    });
    after(async () => {
      await server?.stop();
      authority.remove();
      stranger.remove();
    });
    beforeEach(() => present(good));

    function install({ cert, key }: KeyPair): void {
      copyFileSync(cert, live.cert);
      copyFileSync(key, live.key);
    }

    async function present(pair: KeyPair): Promise<void> {
      install(pair);
      await server.query('FLUSH SSL');
    }

    function url(parameters: string, { host = 'localhost', user = 'tls', port = server.port } = {}): string {
      return `mysql://${user}:${PASSWORD}@${host}:${port}/rating${parameters}`;
    }

    const trusting = `?ssl_ca=${encodeURIComponent(authority.ca)}`;

    async function cipher(address: string): Promise<string> {
      const database = await openDatabase(address);
      try {
        const rows = await database.query(
          "SELECT variable_value FROM information_schema.session_status WHERE variable_name = 'Ssl_cipher'",
        );
        return String(rows[0]?.[0]);
      } finally {
        await database.close();
      }
    }

    function refuses(address: string, message: RegExp): Promise<void> {
      return assert.rejects(openDatabase(address), (error: Error & { code?: string; kind?: string }) => {
        assert.match(error.message, message);
        assert.equal(error.code, 'RATECAT_DATABASE_REFUSED');
        assert.equal(error.kind, 'rejected');
        const everything = JSON.stringify({ ...error, message: error.message, stack: error.stack });
        assert.doesNotMatch(everything, new RegExp(PASSWORD));
        return true;
      });
    }

    for (const [host, names] of [
      ['localhost', 'DNS:localhost'],
      ['127.0.0.1', 'IP:127.0.0.1'],
    ] as const) {
      test(`a certificate of the named authority for ${host} is accepted, and the session is encrypted`, async () => {
        await present(authority.issue({ names }));
        assert.match(await cipher(url(trusting, { host })), /^TLS_|AES|CHACHA/);
      });
    }

    test('a certificate of another authority is refused', async () => {
      await present(stranger.issue({ names: 'DNS:localhost,IP:127.0.0.1' }));
      await refuses(url(trusting), /TLS with .* failed \(.*unable to verify the first certificate.*ssl_ca/);
    });

    test('without ssl_ca only the authorities of the system are trusted', async () => {
      await refuses(url('?ssl=true'), /TLS with .* failed \(.*(self-signed|unable to)/);
    });

    for (const [host, names] of [
      ['localhost', 'DNS:db.example,IP:127.0.0.1'],
      // The name under which this machine knows itself is no excuse for another address.
      ['127.0.0.1', 'DNS:localhost,DNS:127.0.0.1,IP:192.0.2.1'],
    ] as const) {
      test(`a certificate for ${names} is refused by who asked for ${host}, unless only the authority counts`, async () => {
        await present(authority.issue({ names }));
        await refuses(
          url(trusting, { host }),
          /TLS with .* failed \(.*does not match certificate's altnames/,
        );
        assert.notEqual(await cipher(url(`${trusting}&ssl_verify=ca`, { host })), '');
      });
    }

    test('a certificate that has expired is refused, and one that was renewed is taken by an open database', async () => {
      const database = await openDatabase(url(trusting));
      await present(authority.issue({ names: 'DNS:localhost', days: -1 }));
      await refuses(url(trusting), /TLS with .* failed \(.*certificate has expired/);
      await refuses(url(`${trusting}&ssl_verify=ca`), /certificate has expired/);
      await killSessions();
      await assert.rejects(database.query('SELECT 1'), /certificate has expired/);
      await present(authority.issue({ names: 'DNS:localhost' }));
      assert.deepEqual(await database.query('SELECT 1'), [[1]]);
      await database.close();
    });

    test('of several hosts one whose certificate is wrong is passed over', async () => {
      await present(authority.issue({ names: 'DNS:localhost' }));
      const database = await openDatabase(url(trusting, { host: `127.0.0.1:${server.port},localhost` }));
      assert.deepEqual(await database.query('SELECT 1'), [[1]]);
      await database.close();
    });

    test('ssl_verify=false encrypts and believes everybody', async () => {
      await present(stranger.issue({ names: 'DNS:db.example', days: -1 }));
      assert.notEqual(await cipher(url('?ssl_verify=false')), '');
    });

    test('a server that asks for our certificate gets it; without one the refusal names the user', async () => {
      const { cert, key } = authority.issue({ names: 'DNS:client' });
      const identity = `${trusting}&ssl_cert=${encodeURIComponent(cert)}&ssl_key=${encodeURIComponent(key)}`;
      assert.notEqual(await cipher(url(identity, { user: 'certified' })), '');
      await refuses(url(trusting, { user: 'certified' }), /refused user 'certified'/);
    });

    test('a server that insists on TLS refuses a URL without, and the message says what is missing', async () => {
      await refuses(url(''), /refused user 'tls'.*ssl_ca/s);
      await server.query('SET GLOBAL require_secure_transport = 1');
      try {
        await refuses(url(''), /TLS.*ssl_ca/s);
        assert.notEqual(await cipher(url(trusting)), '');
      } finally {
        // Root itself is refused now.
        await openDatabase(url(trusting, { user: 'ratecat' }).replace(PASSWORD, 'ratecat')).then(
          async (database) => {
            await database.transaction((tx) => tx.execute('SET GLOBAL require_secure_transport = 0'));
            await database.close();
          },
        );
      }
    });

    test('a key that is not that of the certificate is a fault of the configuration', async () => {
      const [one, other] = [authority.issue({ names: 'DNS:a' }), authority.issue({ names: 'DNS:b' })];
      await assert.rejects(openDatabase(url(`?ssl_cert=${one.cert}&ssl_key=${other.key}`)), {
        code: 'RATECAT_DATABASE_URL_INVALID',
        message: /no pair/,
      });
    });

    for (const parameter of ['ssl_ca', 'ssl_cert', 'ssl_key']) {
      test(`${parameter} that holds something else than PEM is a fault of the configuration`, async () => {
        const garbage = join(authority.folder, 'garbage.pem');
        writeFileSync(garbage, 'not a certificate');
        await assert.rejects(openDatabase(url(`?${parameter}=${encodeURIComponent(garbage)}`)), {
          code: 'RATECAT_DATABASE_URL_INVALID',
          kind: 'config',
          message: new RegExp(`${parameter}.*garbage\\.pem|garbage\\.pem.*${parameter}`),
        });
      });
    }

    test('neither password nor user name is seen on the wire; without TLS the password is not either', async () => {
      const { server: proxy, port, sent } = await recorder(server.port);
      await cipher(url(trusting, { port }));
      assert.ok(sent().length > 200, 'the traffic passed through');
      assert.doesNotMatch(sent(), /open-sesame|tls\0|session_status/);
      await server.query(`CREATE USER 'plain'@'127.0.0.1' IDENTIFIED BY '${PASSWORD}'`);
      await server.query("GRANT ALL ON rating.* TO 'plain'@'127.0.0.1'");
      assert.equal(await cipher(url('', { port, user: 'plain' })), '');
      assert.match(sent(), /plain\0/, 'the recorder sees what is not encrypted');
      assert.doesNotMatch(sent(), /open-sesame/);
      proxy.close();
    });

    for (const parameters of [trusting, '?ssl=true', '?ssl_verify=false']) {
      const demand = parameters === trusting ? '?ssl_ca=…' : parameters;
      test(`a server without TLS learns nothing from a URL with ${demand}`, async () => {
        const impostor = await startImpostor('without TLS');
        await refuses(url(parameters, { port: impostor.port }), /TLS with .* failed/);
        assert.equal(impostor.received().length, 0, 'not one byte was sent');
        impostor.stop();
      });
    }

    test('a server that asks for the password in clear does not get it', async () => {
      const impostor = await startImpostor('asks in clear');
      await assert.rejects(openDatabase(url('', { port: impostor.port }), { connectTimeoutMs: 2_000 }), {
        code: 'RATECAT_DATABASE_REFUSED',
        message: /mysql_clear_password/,
      });
      assert.ok(impostor.received().length > 0, 'it did talk to the impostor');
      assert.doesNotMatch(impostor.received().toString('latin1'), /open-sesame/);
      impostor.stop();
    });

    async function killSessions(): Promise<void> {
      for (const { Id } of await server.query(
        "SELECT Id FROM information_schema.processlist WHERE user = 'tls'",
      ))
        await server.query(`KILL CONNECTION ${String(Id)}`).catch((error) => assert.equal(error.errno, 1094));
    }
  });
}

const PLUGIN_AUTH = 0x0008_0000;
const SECURE_CONNECTION = 0x8000;
const PROTOCOL_41 = 0x0200;

/** A server that greets like MariaDB, offers no TLS, and may then ask for the password itself. */
async function startImpostor(manner: 'without TLS' | 'asks in clear') {
  const chunks: Buffer[] = [];
  const server = createServer((client) => {
    client.write(packet(0, greeting()));
    client.on('error', () => client.destroy());
    client.on('data', (data: Buffer) => {
      chunks.push(data);
      if (manner === 'asks in clear' && chunks.length === 1)
        client.write(packet(2, Buffer.concat([Buffer.from([0xfe]), Buffer.from('mysql_clear_password\0')])));
    });
  });
  const port = await listen(server);
  return { port, received: () => Buffer.concat(chunks), stop: () => server.close() };
}

function packet(sequence: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(4);
  header.writeUIntLE(payload.length, 0, 3);
  header[3] = sequence;
  return Buffer.concat([header, payload]);
}

function greeting(): Buffer {
  const flags = PLUGIN_AUTH | SECURE_CONNECTION | PROTOCOL_41;
  const capabilities = Buffer.alloc(7);
  capabilities.writeUInt16LE(flags & 0xffff, 0);
  capabilities[2] = 45; // utf8mb4
  capabilities.writeUInt16LE(2, 3);
  capabilities.writeUInt16LE(flags >>> 16, 5);
  return Buffer.concat([
    Buffer.from([10]),
    Buffer.from('10.11.0-MariaDB\0'),
    Buffer.from([1, 0, 0, 0]),
    Buffer.from('12345678\0'),
    capabilities,
    Buffer.from([21]),
    Buffer.alloc(10),
    Buffer.from('123456789012\0'),
    Buffer.from('mysql_native_password\0'),
  ]);
}
