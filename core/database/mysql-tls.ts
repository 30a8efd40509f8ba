import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { createSecureContext } from 'node:tls';
import type { Connection } from 'mysql2';
import { ConfigError } from '../plugin-api/index.js';
import type { MysqlHost, MysqlTls } from './database-url.js';

/**
 * What the driver needs for TLS. The files are read for each connection, so that renewed ones count at once.
 * @throws ConfigError RATECAT_DATABASE_URL_INVALID when a file cannot be read or does not hold what its parameter says.
 */
export async function tlsOptions(tls: MysqlTls): Promise<object> {
  const [ca, cert, key] = await Promise.all([
    pem(tls.ca, 'ssl_ca', 'certificate', (content) => new X509Certificate(content)),
    pem(tls.cert, 'ssl_cert', 'certificate', (content) => new X509Certificate(content)),
    pem(tls.key, 'ssl_key', 'private key without a passphrase', (content) =>
      createSecureContext({ key: content }),
    ),
  ]);
  if (cert !== undefined && key !== undefined) assertPair(cert, key);
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    rejectUnauthorized: tls.verify !== 'none',
    verifyIdentity: tls.verify === 'identity',
  };
}

/**
 * Says for which address the certificate must be. Node compares it with the name that the socket was opened for; a socket
 * that was opened for an address has none, and then 'localhost' would stand in for it.
 */
export function nameForCertificate(driver: Connection, { host, socket }: MysqlHost): void {
  if (socket === undefined && isIP(host) !== 0)
    Object.assign((driver as unknown as { readonly stream: object }).stream, { _host: host });
}

async function pem(
  path: string | undefined,
  parameter: string,
  what: string,
  parse: (content: Buffer) => unknown,
): Promise<Buffer | undefined> {
  if (path === undefined) return undefined;
  const content = await read(path, parameter);
  try {
    parse(content);
    return content;
  } catch (cause) {
    throw invalid(
      `The file ${path}, named by ${parameter} in database.url, holds no ${what} in PEM format`,
      cause,
    );
  }
}

async function read(path: string, parameter: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw invalid(`The file ${path}, named by ${parameter} in database.url, cannot be read`, cause);
  }
}

function assertPair(cert: Buffer, key: Buffer): void {
  try {
    createSecureContext({ cert, key });
  } catch (cause) {
    throw invalid(
      'The certificate and the key that ssl_cert and ssl_key in database.url name are no pair',
      cause,
    );
  }
}

function invalid(problem: string, cause: unknown): ConfigError {
  return new ConfigError('RATECAT_DATABASE_URL_INVALID', `${problem} (${(cause as Error).message}).`, {
    cause,
  });
}
