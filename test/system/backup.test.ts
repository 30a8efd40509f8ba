import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream, createWriteStream } from 'node:fs';
import { copyFile, mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { after, describe, it } from 'node:test';
import { ratecat } from '../support/daemon.js';
import { serviceInstalled } from '../support/require-service.js';
import { type Mariadb, startMariadb } from '../support/services/mariadb.js';
import {
  assertWhole,
  clearAway,
  lastDue,
  periodsStored,
  type SmallDaemon,
  smallDaemon,
  startDaemon,
  waitUntil,
} from '../support/small-daemon.js';
import { storedPrices } from '../support/stored-prices.js';

after(clearAway);

const HOUR = 3600;
const PERIODS = 400;
const SCOPES = ['alpha', 'beta', 'gamma'];

/** Long enough to be backed up in its middle: each collection takes a few milliseconds. */
function busy(start: number, url?: string): Promise<SmallDaemon> {
  return smallDaemon({ start, scopes: SCOPES, collectDelayMs: 5, ...(url === undefined ? {} : { url }) });
}

interface BackedUp {
  readonly original: SmallDaemon;
  readonly start: number;
}

/** Rates, has a backup made in the middle of it, rates on, and is killed. */
async function backedUpWhileRating(
  start: number,
  original: SmallDaemon,
  backUp: () => Promise<void>,
): Promise<BackedUp> {
  const daemon = startDaemon(original);
  await waitUntil('a good part is rated', async () => (await periodsStored(original.url)) > 60, { daemon });
  await backUp();
  const then = await periodsStored(original.url);
  await waitUntil('rating went on', async () => (await periodsStored(original.url)) > then + 30, { daemon });
  assert.ok(then < PERIODS * SCOPES.length, 'the backup was made while periods were being rated');
  daemon.child.kill('SIGKILL');
  await daemon.finished;
  return { original, start };
}

/** The restored database has the original's rows, whole periods up to its marks; a daemon goes on from there. */
async function assertGoesOn(restored: SmallDaemon, { start, original }: BackedUp): Promise<void> {
  const copied = await storedPrices(restored.url);
  const counts = await assertWhole(restored.url, { scopes: SCOPES, start, period: HOUR, least: 1 });
  const isRestored = new Set(copied.map(({ scope, begin }) => `${scope} ${begin}`));
  const before = (await storedPrices(original.url)).filter((row) =>
    isRestored.has(`${row.scope} ${row.begin}`),
  );
  assert.deepEqual(copied, before, 'the rows of the restored periods are those of the original');
  assert.ok(Math.max(...counts) < PERIODS, 'the backup is older than the end');

  const daemon = startDaemon(restored);
  const all = PERIODS * SCOPES.length;
  await waitUntil('all is rated', async () => (await periodsStored(restored.url)) >= all, { daemon });
  assert.equal((await daemon.stop()).code, 0);
  const first = /period rated source=default scope=alpha begin=(\S+)/.exec(daemon.stderr)?.[1] ?? '';
  assert.equal(Date.parse(first) / 1000, start + counts[0]! * HOUR, 'it went on from the restored mark');
  await assertWhole(restored.url, { scopes: SCOPES, start, period: HOUR, least: PERIODS });
}

describe('ratecat backup', () => {
  it('copies a database that is being rated into; the copy goes on in another place, and in its own', async () => {
    const start = lastDue() - PERIODS * HOUR;
    const original = await busy(start);
    const backup = join(original.folder, 'backup.db');
    const done = await backedUpWhileRating(start, original, async () => {
      const { code, stdout, stderr } = await ratecat('backup', backup, '--config', original.config);
      assert.equal(code, 0, stderr);
      const { size, mode } = await stat(backup);
      assert.ok(stdout.startsWith(`${backup}: ${size} bytes of `), stdout);
      assert.equal(mode & 0o777, 0o600);
    });
    const left = (await readdir(original.folder)).filter((name) => name.startsWith('backup.db'));
    assert.deepEqual(left, ['backup.db'], 'one file, nothing beside it');

    const elsewhere = await busy(start);
    const place = pathOf(elsewhere.url);
    await mkdir(dirname(place));
    await copyFile(backup, place);
    await assertGoesOn(elsewhere, done);

    // As docs/backup.md says: the log of the lost database must not be applied to the restored one.
    const daemon = startDaemon(original);
    await daemon.until(/period rated/);
    await daemon.stop('SIGKILL');
    const lost = pathOf(original.url);
    assert.ok((await stat(`${lost}-wal`)).size > 0, 'the killed daemon left a log');
    await copyFile(backup, lost);
    for (const name of [`${lost}-wal`, `${lost}-shm`]) await rm(name);
    await assertGoesOn(original, { start, original: elsewhere });
  });

  it('replaces a file only when it is told to, and never the database', async () => {
    const { config, folder, url } = await smallDaemon();
    const run = (...args: string[]) => ratecat('backup', ...args, '--config', config);
    const file = join(folder, 'copy.db');
    const absent = await run(file);
    assert.equal(absent.code, 69);
    assert.match(absent.stderr, /RATECAT_DATABASE_ABSENT/);

    assert.equal((await ratecat('dbsync', 'upgrade', '--config', config)).code, 0);
    await writeFile(file, 'of somebody else');
    const refused = await run(file);
    assert.equal(refused.code, 64);
    assert.match(refused.stderr, /is there already.*--force/);
    assert.equal((await stat(file)).size, 'of somebody else'.length);
    const forced = await run('--force', '--json', file);
    assert.equal(forced.code, 0, forced.stderr);
    assert.equal(JSON.parse(forced.stdout).bytes, (await stat(file)).size);

    for (const [target, says] of [
      [pathOf(url), /is the database itself/],
      [folder, /is no file/],
      [join(folder, 'nowhere/copy.db'), /nowhere\/copy\.db\S* cannot be written \(ENOENT\)/],
    ] as const) {
      const wrong = await run('--force', target);
      assert.equal(wrong.code, 64, target);
      assert.match(wrong.stderr, says);
    }
    assert.equal((await ratecat('status', '--config', config)).code, 0);
  });

  it('gives no file to a damaged database', async () => {
    const { config, folder, url } = await smallDaemon();
    assert.equal((await ratecat('dbsync', 'upgrade', '--config', config)).code, 0);
    const path = pathOf(url);
    const { size } = await stat(path);
    await damage(path, size);
    const { code, stderr } = await ratecat('backup', join(folder, 'copy.db'), '--config', config);
    assert.equal(code, 77, stderr);
    assert.match(stderr, /RATECAT_DATABASE_CORRUPT/);
    const left = (await readdir(folder)).filter((name) => name.startsWith('copy.db'));
    assert.deepEqual(left, []);
  });

  it('names the program for MariaDB', async () => {
    const { config } = await smallDaemon({ url: 'mysql://ratecat:secret@127.0.0.1:9/ratecat' });
    const { code, stderr } = await ratecat('backup', 'copy.db', '--config', config);
    assert.equal(code, 64);
    assert.match(stderr, /mariadb-dump --single-transaction/);
    assert.doesNotMatch(stderr, /secret/);
  });
});

if (serviceInstalled('mariadb'))
  describe('a dump of MariaDB', () => {
    let server: Mariadb | undefined;
    after(() => server?.stop());

    it('taken while periods are rated goes on in another database', async () => {
      server = await startMariadb();
      const connection = ['--no-defaults', '--user=root', `--host=${server.host}`, `--port=${server.port}`];
      const start = lastDue() - PERIODS * HOUR;
      const original = await busy(start, await server.createDatabase('original'));
      const dump = join(original.folder, 'ratecat.sql');
      const done = await backedUpWhileRating(start, original, () =>
        runTo(dump, 'mariadb-dump', [...connection, '--single-transaction', 'original']),
      );
      const restored = await busy(start, await server.createDatabase('restored'));
      await runFrom(dump, 'mariadb', [...connection, 'restored']);
      await assertGoesOn(restored, done);
    });
  });

function pathOf(url: string): string {
  return url.replace('sqlite://', '');
}

/** Overwrites the middle of a file. */
async function damage(path: string, size: number): Promise<void> {
  const stream = createWriteStream(path, { flags: 'r+', start: Math.floor(size / 2) });
  stream.end(Buffer.alloc(16_384, 0x5a));
  await once(stream, 'close');
}

async function runTo(file: string, program: string, args: readonly string[]): Promise<void> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const [[code]] = await Promise.all([once(child, 'close'), pipeline(child.stdout, createWriteStream(file))]);
  assert.equal(code, 0, program);
}

async function runFrom(file: string, program: string, args: readonly string[]): Promise<void> {
  const child = spawn(program, args, { stdio: ['pipe', 'inherit', 'inherit'] });
  const [[code]] = await Promise.all([once(child, 'close'), pipeline(createReadStream(file), child.stdin)]);
  assert.equal(code, 0, program);
}
