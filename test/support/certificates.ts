import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface KeyPair {
  /** Paths of PEM files. */
  readonly cert: string;
  readonly key: string;
}

export interface CertificateOptions {
  /** As in `subjectAltName`: `DNS:localhost`, `IP:127.0.0.1`, separated by commas. */
  readonly names: string;
  /** A negative number makes a certificate that has expired. */
  readonly days?: number;
}

/** A certificate authority in a folder of its own, which `remove` deletes. Keys are readable by all: they are worth nothing. */
export class TestAuthority {
  readonly folder = mkdtempSync(join(tmpdir(), 'ratecat-certificates-'));
  readonly ca: string;
  readonly #key: string;
  #serial = 0;

  constructor(name = 'Test authority') {
    chmodSync(this.folder, 0o755); // servers that run as a user of their own must get in
    this.ca = join(this.folder, 'ca.pem');
    this.#key = join(this.folder, 'ca.key');
    openssl('req', '-x509', ...newKey(this.#key), '-days', '2', '-subj', `/CN=${name}`, '-out', this.ca);
  }

  issue({ names, days = 2 }: CertificateOptions): KeyPair {
    const stem = join(this.folder, `leaf-${++this.#serial}`);
    const [cert, key, request] = [`${stem}.pem`, `${stem}.key`, `${stem}.csr`];
    const subject = ['-subj', '/CN=ratecat test', '-addext', `subjectAltName=${names}`];
    openssl('req', ...newKey(key), ...subject, '-out', request);
    const signer = ['-CA', this.ca, '-CAkey', this.#key, '-copy_extensions', 'copy'];
    openssl('x509', '-req', '-in', request, ...signer, '-days', String(days), '-out', cert);
    chmodSync(key, 0o644);
    return { cert, key };
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function newKey(file: string): readonly string[] {
  return ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', file];
}

function openssl(...args: readonly string[]): void {
  execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}
