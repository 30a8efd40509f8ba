/** Percent-encoded as CloudKitty's client does it: everything but letters, digits and `_.-~/`. */
export function percentEncoded(text: string): string {
  return encodeURIComponent(text.replace(/\p{Cs}/gu, '\ufffd'))
    .replaceAll('%2F', '/')
    .replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** The same for one part of a path, in which a slash would begin another. */
export function pathSegment(text: string): string {
  return percentEncoded(text).replaceAll('/', '%2F');
}
