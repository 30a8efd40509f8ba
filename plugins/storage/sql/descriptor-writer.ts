import { randomInt } from 'node:crypto';
import {
  canonicalDescriptor,
  type Descriptor,
  eachInSlices,
  type SqlRow,
  type SqlTransaction,
  UnavailableError,
} from '../../../core/plugin-api/index.js';
import { Conditions, chunks } from '../../shared/sql-conditions.js';
import type { LockedScope } from './scopes.js';
import { attributesToText, digest, digestKey, digestOfKey } from './stored-values.js';

/** Scopes whose descriptors are remembered. */
const MAX_SCOPES = 10_000;
export const MAX_REVISION = 2 ** 47;

/**
 * What is known about the descriptors of one scope, as of a revision. A revision is a random number that the transaction
 * which adds descriptors leaves on the scope's row; so the row tells whether that transaction was committed, whether
 * somebody else added descriptors since, and whether the database was put back to an older state.
 */
interface ScopeMemory {
  revision: number;
  additions: Additions | undefined;
}

interface Additions {
  readonly revision: number;
  readonly ids: readonly KnownId[];
}

type KnownId = readonly [descriptor: Descriptor, id: number];

interface Remembered {
  readonly memory: ScopeMemory;
  readonly id: number;
}

/** Equal descriptors, and where they stand. Their hash is the key that they are kept by. */
interface Unknown {
  readonly descriptors: Descriptor[];
  readonly places: number[];
}

/** Rows that are made at once: with all their texts they are the largest thing that writing a period needs. */
const ROWS_AT_ONCE = 1_024;

/** Gives descriptors their row numbers: from memory by the object's identity, else from the table, which it completes. */
export class DescriptorWriter {
  /** By scope row, least recently used first. */
  readonly #memories = new Map<number, ScopeMemory>();
  readonly #ids = new WeakMap<Descriptor, Remembered>();
  #lastMetric: { readonly metric: string; readonly digest: Uint8Array } | undefined;

  /** Row numbers in the order of `descriptors`. The scope must have been locked in `tx`. */
  async resolve(
    tx: SqlTransaction,
    scope: LockedScope,
    descriptors: readonly Descriptor[],
    signal: AbortSignal,
  ): Promise<readonly number[]> {
    const memory = await this.#recall(scope, signal);
    const ids = new Array<number>(descriptors.length);
    const unknown = await this.#recallIds(memory, descriptors, ids, signal);
    if (unknown.size === 0) return ids;
    const found = await this.#find(tx, scope.row, [...unknown.keys()]);
    await this.#remember(memory, await settle(found, unknown, ids, signal), signal);
    if (unknown.size > 0) memory.additions = await this.#add(tx, scope.row, unknown, ids, signal);
    return ids;
  }

  async #recall(scope: LockedScope, signal: AbortSignal): Promise<ScopeMemory> {
    let memory = this.#memories.get(scope.row);
    this.#memories.delete(scope.row);
    if (memory?.additions?.revision === scope.revision) {
      memory.revision = scope.revision;
      await this.#remember(memory, memory.additions.ids, signal);
    } else if (memory?.revision !== scope.revision) memory = undefined;
    memory ??= { revision: scope.revision, additions: undefined };
    memory.additions = undefined;
    this.#memories.set(scope.row, memory);
    if (this.#memories.size > MAX_SCOPES) this.#memories.delete(this.#memories.keys().next().value!);
    return memory;
  }

  async #remember(memory: ScopeMemory, ids: readonly KnownId[], signal: AbortSignal): Promise<void> {
    await eachInSlices(ids, ([descriptor, id]) => this.#ids.set(descriptor, { memory, id }), signal);
  }

  /** Fills in what is remembered; gives the rest by hash. */
  async #recallIds(
    memory: ScopeMemory,
    descriptors: readonly Descriptor[],
    ids: number[],
    signal: AbortSignal,
  ): Promise<Map<string, Unknown>> {
    const unknown = new Map<string, Unknown>();
    const recall = (descriptor: Descriptor, place: number) => {
      const remembered = this.#ids.get(descriptor);
      if (remembered?.memory === memory) {
        ids[place] = remembered.id;
        return;
      }
      const key = digestKey(digest(canonicalDescriptor(descriptor)));
      const entry = unknown.get(key);
      if (entry === undefined) unknown.set(key, { descriptors: [descriptor], places: [place] });
      else {
        entry.descriptors.push(descriptor);
        entry.places.push(place);
      }
    };
    await eachInSlices(descriptors, recall, signal);
    return unknown;
  }

  async #find(
    tx: SqlTransaction,
    scopeRow: number,
    wanted: readonly string[],
  ): Promise<ReadonlyMap<string, number>> {
    const found = new Map<string, number>();
    for (const some of chunks(wanted)) {
      const conditions = new Conditions().add('scope = ?', scopeRow).addIn('hash', some.map(digestOfKey));
      const rows = await tx.query(
        `SELECT hash, id FROM ratecat_sql_descriptors ${conditions.where}`,
        conditions.parameters,
      );
      for (const [hash, id] of rows) found.set(digestKey(hash!), Number(id));
    }
    return found;
  }

  /** What is added counts as known only when the scope's row shows that this transaction was committed. */
  async #add(
    tx: SqlTransaction,
    scopeRow: number,
    unknown: Map<string, Unknown>,
    ids: number[],
    signal: AbortSignal,
  ): Promise<Additions> {
    const added = [...unknown];
    for (let start = 0; start < added.length; start += ROWS_AT_ONCE) {
      await tx.insertRows({
        ...DESCRIPTORS,
        rows: added
          .slice(start, start + ROWS_AT_ONCE)
          .map(([key, { descriptors }]) => this.#row(scopeRow, key, descriptors[0]!)),
      });
    }
    const found = await this.#find(tx, scopeRow, [...unknown.keys()]);
    const settled = await settle(found, unknown, ids, signal);
    if (unknown.size > 0) {
      throw new UnavailableError(
        'RATECAT_STORAGE_STALE_SNAPSHOT',
        'The transaction began before another one added descriptors to the same scope. Run it again.',
      );
    }
    const revision = randomInt(1, MAX_REVISION);
    await tx.execute('UPDATE ratecat_sql_scopes SET revision = ? WHERE id = ?', [revision, scopeRow]);
    return { revision, ids: settled };
  }

  #row(scopeRow: number, key: string, descriptor: Descriptor): SqlRow {
    const { metric, unit, groupby, metadata, description } = descriptor;
    return [
      scopeRow,
      digestOfKey(key),
      this.#metricDigest(metric),
      metric,
      unit,
      attributesToText(groupby),
      attributesToText(metadata),
      description ?? null,
    ];
  }

  /** Neighbours mostly share the metric. */
  #metricDigest(metric: string): Uint8Array {
    if (this.#lastMetric?.metric !== metric) this.#lastMetric = { metric, digest: digest(metric) };
    return this.#lastMetric.digest;
  }
}

/** Moves what was found from `unknown` to its places in `ids`. */
async function settle(
  found: ReadonlyMap<string, number>,
  unknown: Map<string, Unknown>,
  ids: number[],
  signal: AbortSignal,
): Promise<readonly KnownId[]> {
  const settled: KnownId[] = [];
  const take = ([key, id]: readonly [string, number]) => {
    const { descriptors, places } = unknown.get(key)!;
    for (const place of places) ids[place] = id;
    for (const descriptor of descriptors) settled.push([descriptor, id]);
    unknown.delete(key);
  };
  await eachInSlices(found, take, signal);
  return settled;
}

const DESCRIPTORS = {
  table: 'ratecat_sql_descriptors',
  columns: ['scope', 'hash', 'metric_hash', 'metric', 'unit', 'groupby', 'metadata', 'description'],
  onConflict: { key: ['scope', 'hash'] },
} as const;
