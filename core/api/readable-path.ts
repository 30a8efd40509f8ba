/**
 * The URL with a path that can be decoded, as WSGI servers read it (PEP 3333 and Python's `unquote`): a `%` that encodes
 * nothing is a percent sign, and bytes that are no UTF-8 are U+FFFD. So every path is answered by the part of the API that it
 * leads to.
 */
export function readablePath(url: string): string {
  const mark = url.indexOf('?');
  const path = mark < 0 ? url : url.slice(0, mark);
  if (!path.includes('%') || decodes(path)) return url;
  const readable = path.replaceAll(/(?:%[0-9a-f]{2})+|%/gi, (run) => {
    if (run === '%') return '%25';
    return decodes(run) ? run : encodeURIComponent(Buffer.from(run.replaceAll('%', ''), 'hex').toString());
  });
  return `${readable}${url.slice(path.length)}`;
}

function decodes(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}
