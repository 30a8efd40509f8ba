import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { openDatabase } from '../../core/database/open-database.js';
import { PRIVILEGES } from '../../core/setup/database-plan.js';
import { Command, type Finished } from '../support/daemon.js';
import { serviceInstalled } from '../support/require-service.js';
import { freePort } from '../support/services/free-port.js';
import { type Mariadb, startMariadb } from '../support/services/mariadb.js';
import { poll } from '../support/services/poll.js';
import { clearAway, type SmallDaemon, smallDaemon, startDaemon } from '../support/small-daemon.js';
import { storedPrices } from '../support/stored-prices.js';

const PASSWORD = `p'w"\\%: \`$é`;

async function succeeds(result: Promise<Finished>): Promise<Finished> {
  const finished = await result;
  assert.equal(finished.code, 0, finished.stderr + finished.stdout);
  return finished;
}

const create = (config: string, more: readonly string[] = [], environment: NodeJS.ProcessEnv = {}) =>
  new Command(['dbsync', 'create', '--config', config, ...more], { RATECAT_ADMIN_URL: '', ...environment })
    .finished;

if (serviceInstalled('mariadb')) {
  describe('ratecat dbsync create, with a real MariaDB', () => {
    let mariadb: Mariadb;
    let folder: string;
    let adminFile: string;
    let small: SmallDaemon;
    let user: string;
    let database: string;
    let serial = 0;

    const urlOf = (name: string, password: string, base: string, port = mariadb.port) =>
      `mysql://${encodeURIComponent(name)}:${encodeURIComponent(password)}@127.0.0.1:${port}/${encodeURIComponent(base)}`;
    const adminUrl = () => `mysql://${mariadb.user}:${mariadb.password}@127.0.0.1:${mariadb.port}`;
    const asAdmin = () => ({ RATECAT_ADMIN_URL: adminUrl() });

    before(async () => {
      mariadb = await startMariadb();
      folder = await mkdtemp(join(tmpdir(), 'ratecat-create-'));
      adminFile = join(folder, 'admin-url');
      await writeFile(adminFile, `${adminUrl()}\n`, { mode: 0o600 });
    });
    after(async () => {
      await clearAway();
      await mariadb?.stop();
      await rm(folder, { recursive: true, force: true });
    });
    beforeEach(async () => {
      serial++;
      user = `rate_${serial}`;
      database = `rat_ing${serial}`;
      small = await smallDaemon({ url: urlOf(user, PASSWORD, database) });
    });

    const grants = async (name = user) =>
      (await mariadb.query('SELECT * FROM mysql.db WHERE user = ?', [name])).map((row) => ({
        on: row.Db,
        host: row.Host,
        privileges: Object.entries(row)
          .filter(([column, value]) => column.endsWith('_priv') && value === 'Y')
          .map(([column]) => column.replace('_priv', '').toUpperCase())
          .sort(),
      }));

    it('makes database and user from nothing, with exactly the privileges that Ratecat needs', async () => {
      const { stdout, stderr } = await succeeds(create(small.config, ['--admin-url-file', adminFile]));
      assert.deepEqual(stdout.split('\n'), [
        `done           database \`${database}\`, utf8mb4`,
        `done           user \`${user}\`@\`%\``,
        `done           privileges ${PRIVILEGES.join(', ')} of \`${user}\`@\`%\` on \`${database}\``,
        `done           log-in of '${user}' tried`,
        '',
      ]);
      assert.ok(!`${stdout}${stderr}`.includes("p'w"));
      assert.deepEqual(await grants(), [
        { on: database.replace('_', '\\_'), host: '%', privileges: [...PRIVILEGES].sort() },
      ]);
      const [schema] = await mariadb.query(
        'SELECT * FROM information_schema.schemata WHERE schema_name = ?',
        [database],
      );
      assert.equal(schema?.DEFAULT_COLLATION_NAME, 'utf8mb4_nopad_bin');
      const rights = await mariadb.query(
        'SELECT * FROM information_schema.user_privileges WHERE grantee = ?',
        [`'${user}'@'%'`],
      );
      assert.deepEqual(
        rights.map((row) => row.PRIVILEGE_TYPE),
        ['USAGE'],
      );
    });

    it('changes nothing the second time, and says so', async () => {
      await succeeds(create(small.config, [], asAdmin()));
      const before = await grants();
      const { stdout } = await succeeds(create(small.config, [], asAdmin()));
      assert.match(stdout, /^(already there {2}\S.*\n){3}done {11}log-in of '\w+' tried\n$/);
      assert.deepEqual(await grants(), before);
    });

    it('makes a user with whom the tables are made and usage is rated', async () => {
      await succeeds(create(small.config, [], asAdmin()));
      await succeeds(new Command(['dbsync', 'upgrade', '--config', small.config]).finished);
      startDaemon(small);
      const status = () => new Command(['status', '--config', small.config, '--json']).finished;
      await poll(async () => (await storedPrices(small.url)).length || undefined, {
        what: 'prices',
        timeoutMs: 60_000,
      });
      assert.match((await succeeds(status())).stdout, /alpha/);
    });

    it('makes a user who cannot read other databases, not even one whose name is nearly the same', async () => {
      const near = database.replace('_', 'x');
      await mariadb.query(`CREATE DATABASE \`${near}\``);
      await mariadb.query(`CREATE TABLE \`${near}\`.secrets (id INT)`);
      await succeeds(create(small.config, [], asAdmin()));
      const own = await openDatabase(small.url);
      try {
        for (const table of [`\`${near}\`.secrets`, 'mysql.user']) {
          await assert.rejects(own.query(`SELECT 1 FROM ${table}`), { code: 'RATECAT_DATABASE_REFUSED' });
        }
        await assert.rejects(own.query('CREATE DATABASE more'), { code: 'RATECAT_DATABASE_REFUSED' });
        const seen = (await own.query('SHOW DATABASES')).map((row) => row[0]);
        assert.deepEqual(seen.sort(), ['information_schema', database].sort());
      } finally {
        await own.close();
      }
    });

    it('goes on where it stopped, whatever is there already', async () => {
      const account = `'${user}'@'%'`;
      const parts = [
        `CREATE DATABASE \`${database}\` CHARACTER SET utf8mb4`,
        `CREATE USER ${account} IDENTIFIED BY 'another one'`,
        `GRANT SELECT, INSERT ON \`${database.replace('_', '\\_')}\`.* TO ${account}`,
      ];
      for (let mask = 1; mask < 2 ** parts.length; mask++) {
        // A privilege cannot be there without the user.
        if ((mask & 4) !== 0 && (mask & 2) === 0) continue;
        await mariadb.query(`DROP DATABASE IF EXISTS \`${database}\``);
        await mariadb.query(`DROP USER IF EXISTS ${account}`);
        for (const [index, statement] of parts.entries())
          if ((mask & (2 ** index)) !== 0) await mariadb.query(statement);
        const { stdout } = await succeeds(create(small.config, [], asAdmin()));
        assert.equal(
          stdout.includes('the password of database.url, was another one'),
          (mask & 2) !== 0,
          stdout,
        );
        assert.deepEqual((await grants())[0]?.privileges, [...PRIVILEGES].sort());
        await (await openDatabase(small.url)).close();
      }
    });

    it('prints SQL that does the same, without the password, and changes nothing', async () => {
      const exact = await succeeds(create(small.config, ['--dry-run'], asAdmin()));
      const blind = await succeeds(create(small.config, ['--dry-run']));
      assert.deepEqual(await mariadb.query('SELECT 1 FROM mysql.user WHERE user = ?', [user]), []);
      for (const { stdout } of [exact, blind]) {
        assert.ok(!stdout.includes("p'w") && !stdout.includes("p''w"));
        client(stdout.replace("'PASSWORD'", "'p\\'w\"\\\\%: `$é'"));
        const after = await succeeds(create(small.config, [], asAdmin()));
        assert.match(after.stdout, /^(already there {2}\S.*\n){3}done/);
        await mariadb.query(`DROP USER \`${user}\`@'%'`);
        await mariadb.query(`DROP DATABASE \`${database}\``);
      }
    });

    it('quotes names that are hostile', async () => {
      const name = 'o\'b`r"i\\e%n_;-- ';
      const base = `x\`; DROP DATABASE keep; -- '"\\_%${serial}`;
      await mariadb.query('CREATE DATABASE IF NOT EXISTS `keep`');
      const { config, url } = await smallDaemon({ url: urlOf(name, PASSWORD, base) });
      const dry = await succeeds(create(config, ['--dry-run', '--client-host', '127.0.0.%'], asAdmin()));
      client(dry.stdout.replace("'PASSWORD'", "'other'"));
      const { stdout } = await succeeds(create(config, ['--client-host', '127.0.0.%'], asAdmin()));
      assert.equal(stdout.match(/^already there/gm)?.length, 2, stdout);
      assert.equal(stdout.match(/^changed {8}user/gm)?.length, 1, stdout);
      assert.match(
        (await succeeds(create(config, ['--client-host', '127.0.0.%'], asAdmin()))).stdout,
        /^(already there.*\n){3}done/,
      );
      const own = await openDatabase(url);
      await own.query('CREATE TABLE proof (id INT)');
      await own.close();
      assert.equal((await mariadb.query("SHOW DATABASES LIKE 'keep'")).length, 1);
      assert.deepEqual(
        (await grants(name)).map(({ host }) => host),
        ['127.0.0.%'],
      );
    });

    it('never changes who administers the server, nor what belongs to it', async () => {
      await mariadb.query("CREATE USER IF NOT EXISTS boss@'%' IDENTIFIED BY 'boss'");
      await mariadb.query("GRANT ALL ON *.* TO boss@'%'");
      for (const [url, expected] of [
        [urlOf('boss', 'slip', database), /'boss', who has rights on the whole database server/],
        [urlOf(mariadb.user, 'slip', database), /who has rights on the whole database server/],
        [urlOf(user, 'pw', 'mysql'), /'mysql', which belongs to the database server itself/],
        [urlOf(user, '', database), /has no password for the user/],
        [urlOf(user, 'pw', 'a\nb'), /characters in it that steer a terminal/],
      ] as const) {
        const { config } = await smallDaemon({ url });
        const { code, stderr } = await create(config, [], asAdmin());
        assert.equal(code, 78, stderr);
        assert.match(stderr, expected);
      }
      await (await openDatabase(urlOf('boss', 'boss', 'mysql'))).close();
    });

    it('says what is wrong with the administrator, and never a password', async () => {
      await mariadb.query("CREATE USER IF NOT EXISTS small@'%' IDENTIFIED BY 'small-secret'");
      const { port } = mariadb;
      const cases: readonly (readonly [string, number, RegExp])[] = [
        ['', 78, /no administrator credentials: none were given.*--admin-url-file.*RATECAT_ADMIN_URL/],
        [
          'mysql://root:a-secret@[::1',
          78,
          /the administrator's URL is wrong: a host is missing.*RATECAT_ADMIN_CREDENTIALS/,
        ],
        ['sqlite:x.db', 78, /the administrator's URL is one of SQLite/],
        [
          `mysql://root:wrong-secret@127.0.0.1:${port}/`,
          77,
          /refuses the administrator 'root' \(Access denied/,
        ],
        [`mysql://small:small-secret@127.0.0.1:${port}/`, 77, /RATECAT_DATABASE_REFUSED/],
        [`mysql://root:a-secret@127.0.0.1:${await freePort()}`, 69, /does not answer/],
      ];
      for (const [url, code, expected] of cases) {
        const result = await create(small.config, [], { RATECAT_ADMIN_URL: url });
        assert.equal(result.code, code, result.stderr);
        assert.match(result.stderr, expected);
        assert.doesNotMatch(result.stderr + result.stdout, /-secret|p'w/);
      }
      const gone = await create(small.config, ['--admin-url-file', join(folder, 'nothing')]);
      assert.equal(gone.code, 78);
      assert.match(gone.stderr, /there is no such file.*RATECAT_SECRET_FILE/);
    });

    it('hides the password in what the server says about a statement', async () => {
      await mariadb.query("CREATE USER IF NOT EXISTS helper@'%' IDENTIFIED BY 'helper'");
      await mariadb.query("GRANT SELECT, CREATE ON *.* TO helper@'%'");
      const helper = { RATECAT_ADMIN_URL: `mysql://helper:helper@127.0.0.1:${mariadb.port}` };
      const { code, stderr, stdout } = await create(small.config, [], helper);
      assert.equal(code, 77);
      assert.match(stdout, /^done {11}database/);
      assert.match(stderr, /refuses to make user .*Access denied.*CREATE USER.*RATECAT_DATABASE_REFUSED/);
      assert.doesNotMatch(stderr, /p'w|p''w/);
    });

    // As distributions install MariaDB, then with the socket alone; the first would refuse anybody but the system's root.
    const methods = ["mysql_native_password USING 'invalid' OR unix_socket", 'unix_socket'];
    for (const method of process.getuid?.() === 0 ? methods : []) {
      it(`lets the system's root in over the socket of the configuration: ${method}`, async () => {
        await mariadb.query(`ALTER USER root@localhost IDENTIFIED VIA ${method}`);
        const socket = String((await mariadb.query("SHOW VARIABLES LIKE 'socket'"))[0]?.Value);
        const parameters = `unix_socket=${encodeURIComponent(socket)}`;
        const { config } = await smallDaemon({
          url: `mysql://${user}:pw@localhost/${database}?${parameters}`,
        });
        const { stdout } = await succeeds(create(config));
        assert.match(stdout, new RegExp(`^done {11}user \`${user}\`@\`localhost\`$`, 'm'));
        assert.match(stdout, /log-in of '\w+' tried\n$/);
        const named = { RATECAT_ADMIN_URL: `mysql://root@localhost/?${parameters}` };
        assert.match((await succeeds(create(config, [], named))).stdout, /^(already there.*\n){3}done/);
      });
    }

    /** As an administrator would run it; the session's mode is the server's default. */
    function client(sql: string): void {
      const { status, stderr } = spawnSync(
        'mariadb',
        ['--no-defaults', '-h127.0.0.1', `-P${mariadb.port}`, '-uroot', '--default-character-set=utf8mb4'],
        { input: sql, encoding: 'utf8' },
      );
      assert.equal(status, 0, `${sql}\n${stderr}`);
    }
  });
}

describe('ratecat dbsync create, for SQLite', () => {
  after(clearAway);

  it('makes the folder of the file, and says so', async () => {
    const { folder, config } = await smallDaemon();
    const data = join(folder, 'data');
    const dry = await succeeds(create(config, ['--dry-run']));
    assert.equal(dry.stdout, `mkdir -p -m 0750 -- ${data}\n`);
    await assert.rejects(stat(data));
    assert.equal((await succeeds(create(config))).stdout, `done           folder ${data}\n`);
    assert.equal((await stat(data)).mode & 0o777, 0o750);
    assert.equal((await succeeds(create(config))).stdout, `already there  folder ${data}\n`);
    await succeeds(new Command(['dbsync', 'upgrade', '--config', config]).finished);
    assert.match((await succeeds(create(config))).stdout, /^already there {2}file .*ratecat\.db$/m);
  });

  it('says when the folder cannot be made', async () => {
    const { folder } = await smallDaemon();
    await writeFile(join(folder, 'file'), '');
    const { config } = await smallDaemon({ url: `sqlite://${join(folder, 'file/data/ratecat.db')}` });
    const { code, stderr } = await create(config);
    assert.equal(code, 69, stderr);
    assert.match(stderr, /file\/data cannot be created \(ENOTDIR\).*RATECAT_DATA_FOLDER/);
  });
});
