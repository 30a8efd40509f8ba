import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe } from 'node:test';
import { serviceInstalled } from './require-service.js';
import { type Mariadb, startMariadb } from './services/mariadb.js';

/** A database engine under test. */
export interface TestEngine {
  readonly name: 'sqlite' | 'mariadb';
  /** URL of a new, empty database. */
  newDatabase(): Promise<string>;
}

let serial = 0;

/** Runs a suite once per engine; MariaDB is started for it and stopped after it. */
export function describeOnEngines(title: string, suite: (engine: TestEngine) => void): void {
  describe(`${title} on SQLite`, () => {
    const folders: string[] = [];
    after(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true }))));
    suite({
      name: 'sqlite',
      async newDatabase() {
        const folder = await mkdtemp(join(tmpdir(), 'ratecat-test-'));
        folders.push(folder);
        return `sqlite://${join(folder, 'ratecat.db')}`;
      },
    });
  });
  if (!serviceInstalled('mariadb')) return;
  describe(`${title} on MariaDB`, () => {
    let server: Promise<Mariadb> | undefined;
    after(async () => (await server)?.stop());
    suite({
      name: 'mariadb',
      async newDatabase() {
        server ??= startMariadb();
        return (await server).createDatabase(`test_${++serial}`);
      },
    });
  });
}
