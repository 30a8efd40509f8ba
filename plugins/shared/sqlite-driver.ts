import { createRequire } from 'node:module';
import type Database from 'better-sqlite3';

/**
 * One library in two major versions: 12 aborts the process when it is compiled for Node 24.19 or newer
 * (https://github.com/nodejs/node/issues/65446), and 13 crashes on Node 20.
 */
const PACKAGE = Number(process.versions.node.split('.')[0]) >= 22 ? 'better-sqlite3-napi' : 'better-sqlite3';

export const SqliteDatabase = createRequire(import.meta.url)(PACKAGE) as typeof Database;
