import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDatabaseUrl } from '../../../core/database/database-url.js';

function parse(url: string) {
  return parseDatabaseUrl(url, '/srv/ratecat');
}

test('an sqlite URL names a file in the folder, an absolute file, or memory', () => {
  assert.deepEqual(parse('sqlite:data/ratecat.db'), {
    engine: 'sqlite',
    path: '/srv/ratecat/data/ratecat.db',
  });
  assert.deepEqual(parse('sqlite:./ratecat.db'), { engine: 'sqlite', path: '/srv/ratecat/ratecat.db' });
  assert.deepEqual(parse('sqlite:///var/lib/my%20data.db'), {
    engine: 'sqlite',
    path: '/var/lib/my data.db',
  });
  assert.deepEqual(parse('sqlite:////var/lib/r.db'), { engine: 'sqlite', path: '/var/lib/r.db' });
  assert.deepEqual(parse('sqlite::memory:'), { engine: 'sqlite', path: ':memory:' });
});

test('a mysql URL gives hosts, credentials and database, percent-decoded', () => {
  assert.deepEqual(parse('mysql://ra%40te:p%2Fw:%25@db1:3307,db2,[::1]:3308/rating'), {
    engine: 'mysql',
    hosts: [
      { host: 'db1', port: 3307 },
      { host: 'db2', port: 3306 },
      { host: '::1', port: 3308 },
    ],
    user: 'ra@te',
    password: 'p/w:%',
    database: 'rating',
    tls: undefined,
  });
});

test('schemes and parameters of other programs are understood', () => {
  for (const scheme of ['mysql', 'mysql+pymysql', 'mariadb', 'mariadb+pymysql']) {
    const parsed = parse(`${scheme}://rating@db/rating?charset=utf8`);
    assert.ok(parsed.engine === 'mysql');
    assert.equal(parsed.password, '');
  }
});

test('TLS parameters say whom to trust', () => {
  const tls = (query: string) => {
    const parsed = parse(`mysql://u:p@db/r?${query}`);
    return parsed.engine === 'mysql' ? parsed.tls : undefined;
  };
  assert.deepEqual(tls('ssl_ca=/etc/ca.pem'), {
    ca: '/etc/ca.pem',
    cert: undefined,
    key: undefined,
    verify: 'identity',
  });
  assert.equal(tls('ssl=true&ssl_verify=ca')?.verify, 'authority');
  assert.equal(tls('ssl_verify=false')?.verify, 'none');
  assert.equal(tls('ssl=false'), undefined);
  assert.equal(tls('charset=utf8mb4'), undefined);
});

test('a socket takes the place of the host', () => {
  const parsed = parse('mysql://u:p@localhost/r?unix_socket=/run/mysqld/mysqld.sock');
  assert.ok(parsed.engine === 'mysql');
  assert.deepEqual(parsed.hosts, [{ host: 'localhost', port: 3306, socket: '/run/mysqld/mysqld.sock' }]);
});

test('a wrong URL is a configuration error that never shows the password', () => {
  const wrong = [
    '',
    'ratecat.db',
    'postgresql://u:s3cret@db/r',
    'sqlite:',
    'sqlite://',
    'sqlite://relative.db',
    'sqlite:a.db?mode=ro',
    'mysql://db/r',
    'mysql://u:s3cret@/r',
    'mysql://u:s3cret@db',
    'mysql://u:s3cret@db/',
    'mysql://u:s3cret@db:0/r',
    'mysql://u:s3cret@db:99999/r',
    'mysql://u:s3cret@db:port/r',
    'mysql://u:s3cret%@db/r',
    'mysql://u:s3cret@db,,db2/r',
    'mysql://u:s3cret@db/r?ssl_verify=perhaps',
    'mysql://u:s3cret@db/r?pool_size=3',
  ];
  for (const url of wrong) {
    assert.throws(
      () => parse(url),
      (error: Error & { code?: string; kind?: string }) =>
        error.code === 'RATECAT_DATABASE_URL_INVALID' &&
        error.kind === 'config' &&
        !error.message.includes('s3cret'),
      `'${url}'`,
    );
  }
});
