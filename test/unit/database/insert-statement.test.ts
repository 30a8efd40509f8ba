import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mysqlDialect, sqliteDialect } from '../../../core/database/dialects.js';
import { blockSize, insertStatement } from '../../../core/database/insert-statement.js';

function blocks(rows: number, full: number): number[] {
  const sizes: number[] = [];
  for (let left = rows; left > 0; left -= sizes.at(-1)!) sizes.push(blockSize(left, full));
  return sizes;
}

test('rows are cut into full blocks and powers of two', () => {
  assert.deepEqual(blocks(2_100, 1_000), [1_000, 1_000, 64, 32, 4]);
  assert.deepEqual(blocks(1, 1_000), [1]);
  assert.deepEqual(blocks(63, 64), [32, 16, 8, 4, 2, 1]);
});

test('each engine gets its own words for a conflict', () => {
  const insert = {
    table: 't',
    columns: ['k', 'd', 'n', 'r'],
    rows: [],
    onConflict: { key: ['k'], addDecimal: ['d'], addInteger: ['n'], replace: ['r'] },
  };
  assert.equal(
    insertStatement(sqliteDialect, insert, 2),
    'INSERT INTO `t` (`k`,`d`,`n`,`r`) VALUES (?,?,?,?),(?,?,?,?) ON CONFLICT (`k`) DO UPDATE SET ' +
      '`d`=ratecat_add(`d`,excluded.`d`),`n`=`n`+excluded.`n`,`r`=excluded.`r`',
  );
  assert.equal(
    insertStatement(mysqlDialect, insert, 1),
    'INSERT INTO `t` (`k`,`d`,`n`,`r`) VALUES (?,?,?,?) ON DUPLICATE KEY UPDATE ' +
      '`d`=`d`+VALUES(`d`),`n`=`n`+VALUES(`n`),`r`=VALUES(`r`)',
  );
});
