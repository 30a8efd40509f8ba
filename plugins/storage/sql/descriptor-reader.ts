import {
  type AttributeFilter,
  Attributes,
  type AttributeValue,
  canonicalJson,
  type Descriptor,
  describedAttribute,
  isDecimal,
  type SqlReader,
  type SqlRow,
} from '../../../core/plugin-api/index.js';
import { Conditions, chunks } from '../../shared/sql-conditions.js';
import type { ScopeRows } from './scopes.js';
import { attributesFromText, corrupt, digest } from './stored-values.js';

/** Descriptors that one query keeps in memory. */
const MAX_KNOWN = 100_000;
const SCAN_STEP = 2_000;

export const DESCRIPTOR_COLUMNS = 'd.id, d.metric, d.unit, d.groupby, d.metadata, d.description';

/** Remembers the descriptors that a query meets, so that the periods it reads share them. */
export class DescriptorReader {
  readonly #reader: SqlReader;
  readonly #known = new Map<number, Descriptor>();
  readonly #names = new Map<string, readonly string[]>();

  constructor(reader: SqlReader) {
    this.#reader = reader;
  }

  /** Forgets others when there are many: load everything that is needed at a time in one call. */
  async load(ids: Iterable<number>): Promise<void> {
    const wanted = new Set(ids);
    if (this.#known.size + wanted.size > MAX_KNOWN) this.#known.clear();
    for (const some of chunks([...wanted].filter((id) => !this.#known.has(id)))) {
      const conditions = new Conditions().addIn('d.id', some);
      const rows = await this.#reader.query(
        `SELECT ${DESCRIPTOR_COLUMNS} FROM ratecat_sql_descriptors d ${conditions.where}`,
        conditions.parameters,
      );
      for (const row of rows) this.#known.set(Number(row[0]), this.#shared(toDescriptor(row)));
    }
  }

  /** Only for ids that were loaded. @throws DataError RATECAT_STORAGE_CORRUPT when the row is missing. */
  get(id: number): Descriptor {
    const descriptor = this.#known.get(id);
    if (descriptor === undefined) throw corrupt(`points with the unknown descriptor ${id}`);
    return descriptor;
  }

  #shared(descriptor: Descriptor): Descriptor {
    const { groupby, metadata } = descriptor;
    return { ...descriptor, groupby: this.#attributes(groupby), metadata: this.#attributes(metadata) };
  }

  /** Descriptors of a metric share their list of names. */
  #attributes(attributes: Attributes): Attributes {
    const key = JSON.stringify(attributes.names);
    const names = this.#names.get(key);
    if (names !== undefined) return Attributes.of(names, attributes.values);
    if (this.#names.size < MAX_KNOWN) this.#names.set(key, attributes.names);
    return attributes;
  }
}

/** A row of DESCRIPTOR_COLUMNS. */
export function toDescriptor(row: SqlRow): Descriptor {
  return {
    metric: String(row[1]),
    unit: String(row[2]),
    groupby: attributesFromText(String(row[3])),
    metadata: attributesFromText(String(row[4])),
    description: row[5] === null ? undefined : String(row[5]),
  };
}

/** What filters compare and groups are called: text as it is, everything else as JSON. */
export function attributeText(value: AttributeValue | undefined): string {
  if (value === undefined) return '';
  if (typeof value === 'string') return value;
  return isDecimal(value) ? value.toFixedScale() : canonicalJson(value);
}

/** Text of an attribute of the descriptor; `''` where it lacks the attribute. */
export function describedText(descriptor: Descriptor, name: string): string {
  return attributeText(describedAttribute(descriptor, name));
}

export interface DescriptorConditions {
  readonly metrics?: readonly string[] | undefined;
  readonly filters?: readonly AttributeFilter[] | undefined;
}

/** Ids of the descriptors that fulfil the conditions, ascending; undefined when there are no conditions. */
export async function matchingDescriptors(
  reader: SqlReader,
  scopes: ScopeRows,
  { metrics, filters = [] }: DescriptorConditions,
  signal: AbortSignal,
): Promise<readonly number[] | undefined> {
  if (metrics === undefined && filters.length === 0) return undefined;
  if (metrics?.length === 0 || filters.some(({ values }) => values.length === 0)) return [];
  const matchers = filters.map(({ name, values, in: place }) => ({ name, place, texts: new Set(values) }));
  const matches: number[] = [];
  for (let last = -1; ; ) {
    signal.throwIfAborted();
    const conditions = new Conditions().add('d.id > ?', last);
    if (scopes !== 'all') conditions.addIn('d.scope', scopes);
    if (metrics !== undefined) conditions.addIn('d.metric_hash', metrics.map(digest));
    for (const filter of filters) addPreselection(conditions, filter);
    const rows = await reader.query(
      `SELECT d.id, d.groupby, d.metadata FROM ratecat_sql_descriptors d ${conditions.where}
       ORDER BY d.id LIMIT ${SCAN_STEP}`,
      conditions.parameters,
    );
    for (const row of rows) if (matchesAll(row, matchers)) matches.push(Number(row[0]));
    if (rows.length < SCAN_STEP) return matches;
    last = Number(rows.at(-1)![0]);
  }
}

interface Matcher {
  readonly name: string;
  readonly place: AttributeFilter['in'];
  readonly texts: ReadonlySet<string>;
}

function matchesAll(row: SqlRow, matchers: readonly Matcher[]): boolean {
  if (matchers.length === 0) return true;
  const groupby = attributesFromText(String(row[1]));
  const metadata = attributesFromText(String(row[2]));
  return matchers.every(({ name, place, texts }) => {
    const value = place === 'metadata' ? undefined : groupby.get(name);
    const isSettled = value !== undefined || place === 'groupby';
    return texts.has(attributeText(isSettled ? value : metadata.get(name)));
  });
}

/** Leaves out most of what cannot match before it is read and parsed. */
function addPreselection(conditions: Conditions, { values, in: place }: AttributeFilter): void {
  // An absent attribute counts as empty, and 5e3 is stored for 5000: such values do not show in the text.
  if (values.length > 16 || values.some((value) => value === '' || /^-?\d+0$/.test(value))) return;
  const columns = { groupby: ['groupby'], metadata: ['metadata'], any: ['groupby', 'metadata'] }[place];
  const terms = columns.flatMap((column) => values.map(() => `INSTR(d.${column}, ?) > 0`));
  const inner = values.map((value) => {
    const isStructured = /^[[{"]/.test(value);
    return isStructured ? '' : JSON.stringify(value).slice(1, -1);
  });
  if (inner.includes('')) return;
  conditions.add(`(${terms.join(' OR ')})`, ...columns.flatMap(() => inner));
}
