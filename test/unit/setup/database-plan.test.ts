import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseDatabaseUrl } from '../../../core/database/database-url.js';
import {
  grantPattern,
  NOTHING,
  PRIVILEGES,
  planDatabase,
  quoted,
  type ServerState,
} from '../../../core/setup/database-plan.js';

const url = parseDatabaseUrl('mysql://rate:s3cret@db/rat_ing', '.');
assert.equal(url.engine, 'mysql');
const target = { url, user: 'rate', clientHost: '%' };
const COMPLETE: ServerState = {
  engine: 'mariadb',
  database: { characterSet: 'utf8mb4' },
  account: 'usable',
  privileges: PRIVILEGES,
  literalGrants: false,
};
const statements = (state: ServerState) =>
  planDatabase(target, state).flatMap((step) => (step.kind === 'there' ? [] : [step.sql]));

describe('planDatabase', () => {
  it('makes everything where there is nothing', () => {
    assert.deepEqual(statements({ ...NOTHING, engine: 'mariadb' }), [
      'CREATE DATABASE IF NOT EXISTS `rat_ing` CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin',
      "CREATE USER IF NOT EXISTS `rate`@`%` IDENTIFIED BY 's3cret'",
      `GRANT ${PRIVILEGES.join(', ')} ON \`rat\\_ing\`.* TO \`rate\`@\`%\``,
    ]);
  });

  it('has nothing to do where all is right', () => {
    assert.deepEqual(statements(COMPLETE), []);
  });

  it('changes a password, and adds the privileges that are missing', () => {
    const privileges = PRIVILEGES.slice(2);
    assert.deepEqual(statements({ ...COMPLETE, account: 'other password', privileges }), [
      "ALTER USER `rate`@`%` IDENTIFIED BY 's3cret'",
      'GRANT SELECT, INSERT ON `rat\\_ing`.* TO `rate`@`%`',
    ]);
  });

  it('names a collation that MySQL has, and no pattern where MySQL wants none', () => {
    const [database, , grant] = statements({ ...NOTHING, engine: 'mysql', literalGrants: true });
    assert.match(database!, /COLLATE utf8mb4_0900_bin$/);
    assert.match(grant!, /ON `rat_ing`\.\*/);
  });

  it('shows no password', () => {
    const shown = planDatabase(target, NOTHING).flatMap((step) => (step.kind === 'there' ? [] : step.shown));
    assert.doesNotMatch(shown.join('\n'), /s3cret/);
    assert.match(shown.join('\n'), /IDENTIFIED BY 'PASSWORD';/);
  });

  it('leaves the character set of a database alone that exists', () => {
    const [step] = planDatabase(target, { ...COMPLETE, database: { characterSet: 'latin1' } });
    assert.deepEqual(step, {
      kind: 'there',
      what: 'database `rat_ing`, whose character set latin1 may stay',
    });
  });
});

describe('names in SQL', () => {
  it('are quoted, and escaped where they are patterns', () => {
    assert.equal(quoted('a`b'), '`a``b`');
    assert.equal(grantPattern('a_b%c\\d'), 'a\\_b\\%c\\\\d');
  });
});
