import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseDatabaseUrl } from '../../../core/database/database-url.js';
import { importDatabase } from '../../../core/importing/import-database.js';
import { brief } from '../config/config-fixtures.js';
import { plain, sessionOf } from './import-support.js';

function imported(connection: string) {
  const session = sessionOf(`[database]\nconnection = ${connection}\n`);
  importDatabase(session);
  const { database } = plain(session.root) as { database?: { url: string } };
  return {
    url: database?.url,
    note: session.outcomes()[0]?.note,
    problems: session.problems.map(brief),
    warnings: session.warnings.map(brief),
  };
}

describe('importDatabase', () => {
  for (const [connection, url] of [
    ['mysql://u:p@db/ck', 'mysql://u:p@db/ck'],
    ['mysql+pymysql://u:p@db:3307/ck?charset=utf8mb4', 'mysql://u:p@db:3307/ck'],
    ['mysql+mysqldb://u:p@db/ck?charset=utf8&use_unicode=1', 'mysql://u:p@db/ck'],
    ['mariadb+mariadbconnector://u:p@db/ck', 'mysql://u:p@db/ck'],
    ['mysql+pymysql://u:p@db1:3306,db2:3306/ck', 'mysql://u:p@db1:3306,db2:3306/ck'],
    ['mysql+pymysql://u:p@/ck?host=db1:3306&host=db2', 'mysql://u:p@db1:3306,db2/ck'],
    ['mysql+pymysql://u:p@[2001:db8::1]:3306/ck', 'mysql://u:p@[2001:db8::1]:3306/ck'],
    [
      'mysql+pymysql://u:p@localhost/ck?unix_socket=/run/mysqld.sock',
      'mysql://u:p@localhost/ck?unix_socket=%2Frun%2Fmysqld.sock',
    ],
    ['mysql+pymysql://u:a%2Fb%40c@db/ck', 'mysql://u:a%2Fb%40c@db/ck'],
    ['mysql+pymysql://u:a/b@c:d%@db/ck', 'mysql://u:a%2Fb%40c%3Ad%25@db/ck'],
    ['mysql+pymysql://u:p?q@db/ck', 'mysql://u:p%3Fq@db/ck'],
    ['mysql+pymysql://u@db/ck', 'mysql://u@db/ck'],
    ['mysql+pymysql://u:p@db/ck?ssl_ca=/ca.pem', 'mysql://u:p@db/ck?ssl_ca=%2Fca.pem&ssl_verify=ca'],
    [
      'mysql+pymysql://u:p@db/ck?ssl_ca=/ca.pem&ssl_verify_identity=true',
      'mysql://u:p@db/ck?ssl_ca=%2Fca.pem&ssl_verify=true',
    ],
    [
      'mysql+pymysql://u:p@db/ck?ssl_ca=/ca.pem&ssl_verify_cert=false',
      'mysql://u:p@db/ck?ssl_ca=%2Fca.pem&ssl_verify=false',
    ],
    [
      'mysql+pymysql://u:p@db/ck?ssl_cert=/c.pem&ssl_key=/k.pem',
      'mysql://u:p@db/ck?ssl_cert=%2Fc.pem&ssl_key=%2Fk.pem&ssl_verify=false',
    ],
    ['mysql+pymysql://u:p@db/ck?ssl_disabled=true', 'mysql://u:p@db/ck?ssl=false'],
  ] as const) {
    it(`takes over ${connection}`, () => {
      const result = imported(connection);
      assert.deepEqual([result.url, result.problems, result.warnings], [`secret:${url}`, [], []]);
      const before = /^[\w+]+:\/\/([^:@]*)(?::(.*))?@(?=[^@]*$)/.exec(connection);
      const parsed = parseDatabaseUrl(url, '/');
      assert.ok(parsed.engine === 'mysql');
      assert.equal(parsed.password, decodeLeniently(before?.[2] ?? ''));
    });
  }

  it('says which parameters have no counterpart', () => {
    const { url, note } = imported(
      'mysql+pymysql://u:p@db/ck?read_default_file=/etc/my.cnf&charset=utf8&plugin=x&local_infile=1',
    );
    assert.equal(url, 'secret:mysql://u:p@db/ck');
    assert.match(note ?? '', /without read_default_file, local_infile/);
  });

  for (const [connection, url] of [
    ['sqlite:////var/lib/cloudkitty/cloudkitty.sqlite', 'sqlite:///var/lib/cloudkitty/cloudkitty.sqlite'],
    ['sqlite:///cloudkitty.sqlite', 'sqlite:cloudkitty.sqlite'],
    ['sqlite+pysqlite:////srv/ck.db?timeout=5', 'sqlite:///srv/ck.db'],
    ['sqlite://', 'sqlite:ratecat.db'],
  ] as const) {
    it(`takes over ${connection}`, () => {
      const result = imported(connection);
      assert.equal(result.url, url);
      assert.deepEqual(result.problems, []);
      assert.equal(parseDatabaseUrl(url, '/data').engine, 'sqlite');
      assert.equal(result.warnings.length, connection === 'sqlite:///cloudkitty.sqlite' ? 1 : 0);
    });
  }

  it('takes a file in place of an engine that Ratecat does not have, and says so', () => {
    const { url, warnings } = imported('postgresql+psycopg2://u:p4ss@db/ck');
    assert.equal(url, 'sqlite:ratecat.db');
    assert.deepEqual(warnings, [
      "2:14 [database] connection: 'postgresql+psycopg2' is no engine that Ratecat knows, so the result has a SQLite file (Ratecat keeps its data in SQLite, MySQL, MariaDB or Galera; create a database there and put its URL into database.url)",
    ]);
  });

  for (const connection of [
    'mysql://',
    'mysql://:p4ss@db/ck',
    'mysql://u:p4ss@/ck',
    'mysql://u:p4ss@db',
    'mysql://u:p4ss@db:x/ck',
  ]) {
    it(`refuses ${connection} with what is wrong, without its password`, () => {
      const { problems } = imported(connection);
      assert.equal(problems.length, 1);
      assert.match(problems[0]!, /^2:14 \[database\] connection: the URL cannot be taken over: /);
      assert.doesNotMatch(problems[0]!, /p4ss/);
    });
  }
});

function decodeLeniently(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
