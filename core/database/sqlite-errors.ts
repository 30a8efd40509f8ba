import { dirname } from 'node:path';
import { DataError, isRatecatError, RejectedError, UnavailableError } from '../plugin-api/index.js';

/** The engine's code, for example SQLITE_BUSY, or undefined for errors from elsewhere. */
export function sqliteCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null | undefined)?.code;
  return typeof code === 'string' && code.startsWith('SQLITE_') ? code : undefined;
}

/** Another connection is writing, or is recovering the log: the same call will succeed later. */
export function isBusy(error: unknown): boolean {
  const code = sqliteCode(error);
  return code?.startsWith('SQLITE_BUSY') === true || code?.startsWith('SQLITE_LOCKED') === true;
}

/** The error of the contract that an operator or a caller can act upon. */
export function translateSqliteError(error: unknown, path: string, sql?: string): unknown {
  if (isRatecatError(error)) return error;
  const code = sqliteCode(error);
  if (code === undefined) return error;
  const translate = TRANSLATIONS.find(({ prefix }) => code.startsWith(prefix))?.translate;
  if (translate !== undefined) return translate({ path, code, cause: error as Error });
  return new Error(`SQLite refused a statement (${code}: ${(error as Error).message}): ${excerpt(sql)}`, {
    cause: error,
  });
}

/** The error for a file that the system does not let us open or create. */
export function fileError(path: string, cause: NodeJS.ErrnoException): Error {
  if (cause.code === 'ENOENT' || cause.code === 'ENOTDIR') {
    return new UnavailableError(
      'RATECAT_DATABASE_UNAVAILABLE',
      `The folder ${dirname(path)} of the database ${path} does not exist. Create it, or correct database.url.`,
      { cause },
    );
  }
  const code = SYSTEM_CODES[cause.code ?? ''] ?? 'SQLITE_CANTOPEN';
  return translateSqliteError(Object.assign(new Error(cause.message, { cause }), { code }), path) as Error;
}

const SYSTEM_CODES: Readonly<Record<string, string>> = {
  EACCES: 'SQLITE_READONLY',
  EPERM: 'SQLITE_READONLY',
  EROFS: 'SQLITE_READONLY',
  ENOSPC: 'SQLITE_FULL',
  EDQUOT: 'SQLITE_FULL',
};

export function closedError(path: string): Error {
  return new UnavailableError('RATECAT_DATABASE_UNAVAILABLE', `The database ${path} is closed already.`);
}

interface Failure {
  readonly path: string;
  readonly code: string;
  readonly cause: Error;
}

interface Translation {
  readonly prefix: string;
  translate(failure: Failure): Error;
}

/** The first entry whose prefix fits decides. */
const TRANSLATIONS: readonly Translation[] = [
  {
    prefix: 'SQLITE_CONSTRAINT',
    translate: ({ code, cause }) =>
      new DataError('RATECAT_DATABASE_CONSTRAINT', `The database refused a row: ${cause.message}.`, {
        cause,
        details: { constraint: CONSTRAINTS[code] ?? 'other' },
      }),
  },
  {
    prefix: 'SQLITE_FULL',
    translate: ({ path, cause }) =>
      new UnavailableError(
        'RATECAT_DATABASE_FULL',
        `No space is left for the database ${path}. Free space on its file system; nothing was written.`,
        { cause },
      ),
  },
  {
    prefix: 'SQLITE_READONLY',
    translate: ({ path, cause }) =>
      new UnavailableError(
        'RATECAT_DATABASE_READ_ONLY',
        `The database ${path} cannot be written. Give this user write access to the file and to its folder, ` +
          'and check that the file system is not mounted read-only.',
        { cause },
      ),
  },
  {
    prefix: 'SQLITE_BUSY',
    translate: ({ path, cause }) =>
      new UnavailableError(
        'RATECAT_DATABASE_BUSY',
        `Another process keeps the database ${path} locked. Find it with 'fuser ${path}'.`,
        { cause },
      ),
  },
  {
    prefix: 'SQLITE_NOTADB',
    translate: ({ path, cause }) =>
      new RejectedError(
        'RATECAT_DATABASE_REFUSED',
        `${path} is not an SQLite database. Check the path in database.url.`,
        { cause },
      ),
  },
  {
    prefix: 'SQLITE_CORRUPT',
    translate: ({ path, cause }) =>
      new RejectedError(
        'RATECAT_DATABASE_CORRUPT',
        `The database ${path} is damaged. Stop ratecat, keep a copy of the file, and restore the last backup.`,
        { cause },
      ),
  },
  {
    prefix: 'SQLITE_CANTOPEN',
    translate: ({ path, cause }) =>
      new UnavailableError(
        'RATECAT_DATABASE_UNAVAILABLE',
        `The database ${path} cannot be opened. Check that the folder exists and that this user may read and write it.`,
        { cause },
      ),
  },
  {
    prefix: 'SQLITE_IOERR',
    translate: ({ path, code, cause }) =>
      new UnavailableError(
        'RATECAT_DATABASE_UNAVAILABLE',
        `Reading or writing the database ${path} failed (${code}). Check the disk and the system log.`,
        { cause },
      ),
  },
];

const CONSTRAINTS: Readonly<Record<string, string>> = {
  SQLITE_CONSTRAINT_UNIQUE: 'unique',
  SQLITE_CONSTRAINT_PRIMARYKEY: 'unique',
  SQLITE_CONSTRAINT_ROWID: 'unique',
  SQLITE_CONSTRAINT_FOREIGNKEY: 'foreign-key',
  SQLITE_CONSTRAINT_NOTNULL: 'not-null',
  SQLITE_CONSTRAINT_CHECK: 'check',
  SQLITE_CONSTRAINT_DATATYPE: 'value',
};

function excerpt(sql: string | undefined): string {
  return sql === undefined ? 'unknown' : sql.replace(/\s+/g, ' ').slice(0, 300);
}
