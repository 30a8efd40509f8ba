/**
 * Texts on their way into InfluxDB's two languages. Foreign text goes through `tagText` and the quoting functions below, and
 * nowhere else into a request.
 */

/** Control characters, and halves of characters. */
const UNFIT = /[\p{Cc}\p{Cs}]/gu;

/** InfluxDB takes these two characters for an escape in one pass over a line and for two characters in another. */
const AMBIGUOUS = /\\(?=[\\ ,="]|$)/g;

/**
 * The text as a tag, a tag's name or a field's name can hold it: line protocol has no escape for a line's end, nor for a
 * backslash before a character that is escaped itself. Equal to its argument for every other text.
 */
export function tagText(text: string): string {
  return text.replace(UNFIT, ' ').replace(AMBIGUOUS, '/');
}

/** A tag's name or value, or a field's name, in line protocol. */
export function lineToken(text: string): string {
  return text.replace(/[,= ]/g, '\\$&');
}

/** A measurement in line protocol. */
export function lineMeasurement(text: string): string {
  return text.replace(/[, ]/g, '\\$&');
}

/** A field's text value in line protocol. */
export function lineString(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&')}"`;
}

/** An identifier of InfluxQL. */
export function identifier(name: string): string {
  return `"${name.replace(/["\\]/g, '\\$&').replaceAll('\n', '\\n')}"`;
}

/** A text literal of InfluxQL. */
export function literal(text: string): string {
  return `'${text.replace(/['\\]/g, '\\$&').replaceAll('\n', '\\n')}'`;
}

/** Last instant that InfluxDB can hold: nanoseconds of 64 bits, in whole seconds. */
const LAST_SECOND = 9_223_372_036;

/** Seconds since 1970 as InfluxQL compares them. */
export function timeLiteral(instant: number): string {
  return `${Math.max(-LAST_SECOND, Math.min(LAST_SECOND, instant))}s`;
}
