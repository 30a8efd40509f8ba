const SECRET =
  /(^|[_-])(password|passwd|passphrase|secret|secret_?key|token|api_?key|access_?key|private_?key|credentials?)$/i;
const SECRET_FILE = /_file$/;
const URL_PASSWORD = /([a-z][a-z0-9+.-]*:\/\/[^\s/:@]*:)\S*@/gi;

export const MASK = '***';

/** True for option names whose value is a secret by the look of them: `password`, `client_secret`, `api_key`. */
export function isSecretName(name: string): boolean {
  return SECRET.test(name.replace(/([a-z0-9])([A-Z])/g, '$1_$2'));
}

/** `password` for `password_file`; undefined for names that do not end so. */
export function secretOfFileName(name: string): string | undefined {
  return SECRET_FILE.test(name) ? name.replace(SECRET_FILE, '') : undefined;
}

/** Text with the passwords of URLs in it replaced. */
export function maskUrls(text: string): string {
  return text.replace(URL_PASSWORD, `$1${MASK}@`);
}
