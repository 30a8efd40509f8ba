import type { SqlValue } from '../../core/plugin-api/index.js';

/** More integers than this are written into the statement: engines limit the number of parameters. */
const MAX_PARAMETERS = 1024;
/** Values per statement where a list can be split. */
export const CHUNK = 256;

/** Conditions joined with AND, and their parameters. */
export class Conditions {
  readonly #terms: string[] = [];
  readonly parameters: SqlValue[] = [];

  add(term: string, ...parameters: readonly SqlValue[]): this {
    this.#terms.push(term);
    this.parameters.push(...parameters);
    return this;
  }

  addIn(column: string, values: readonly SqlValue[]): this {
    const list = inList(values);
    return this.add(`${column} IN ${list.sql}`, ...list.parameters);
  }

  /** `WHERE …`, or nothing. */
  get where(): string {
    return this.#terms.length === 0 ? '' : `WHERE ${this.#terms.join(' AND ')}`;
  }

  /** The same to be put after another condition. */
  get and(): string {
    return this.#terms.length === 0 ? '' : `AND ${this.#terms.join(' AND ')}`;
  }
}

/** Lengths are rounded up by repeating the last value, so that few different statements are ever prepared. */
export function inList(values: readonly SqlValue[]): { sql: string; parameters: readonly SqlValue[] } {
  if (values.length === 0) return { sql: '(NULL)', parameters: [] };
  if (values.length > MAX_PARAMETERS && values.every((value) => Number.isSafeInteger(value)))
    return { sql: `(${values.join(',')})`, parameters: [] };
  const parameters = [...values];
  while ((parameters.length & (parameters.length - 1)) !== 0) parameters.push(values.at(-1)!);
  return { sql: `(${parameters.map(() => '?').join(',')})`, parameters };
}

export function* chunks<T>(values: readonly T[], size: number = CHUNK): Generator<readonly T[]> {
  for (let start = 0; start < values.length; start += size) yield values.slice(start, start + size);
}
