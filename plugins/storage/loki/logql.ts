/**
 * Texts on their way into LogQL. Foreign text goes through these functions, and nowhere else into a query.
 */

/** A text literal: LogQL has the escapes of Go, which knows no halves of characters. */
export function literal(text: string): string {
  const escaped = text
    .replace(/\p{Cs}/gu, '\ufffd')
    .replace(/["\\]/g, '\\$&')
    .replace(/[\p{Cc}\u2028\u2029]/gu, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
  return `"${escaped}"`;
}

/** A regular expression of RE2 that matches just this text. */
export function quotedPattern(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
}

/** A matcher of one label; a label with the empty text is a label that is not there. */
export function labelIs(name: string, text: string): string {
  return `${name}=${literal(text)}`;
}

/** A matcher of a label that has one of the texts. */
export function labelIsAnyOf(name: string, texts: readonly string[]): string {
  const [first = '', ...more] = texts;
  if (more.length === 0) return labelIs(name, first);
  return `${name}=~${literal(texts.map(quotedPattern).join('|'))}`;
}

/** Keeps the lines that contain one of the texts. */
export function lineHasAnyOf(texts: readonly string[]): string {
  const [first = '', ...more] = texts;
  if (more.length === 0) return ` |= ${literal(first)}`;
  return ` |~ ${literal(texts.map(quotedPattern).join('|'))}`;
}

/** Entries of streams whose labels match, as far as the line filters keep them. */
export interface LogQuery {
  readonly matchers: readonly string[];
  readonly filters?: string | undefined;
}

export function selector(matchers: readonly string[]): string {
  return `{${matchers.join(',')}}`;
}

export function queryText({ matchers, filters = '' }: LogQuery): string {
  return `${selector(matchers)}${filters}`;
}
