import { type Indexed, type JsonObject, Mapping } from './mapping.js';
import { Refusal } from './refusal.js';

export interface StoredDocument {
  readonly id: string;
  readonly source: JsonObject;
  readonly fields: Indexed;
  readonly seqNo: number;
}

export interface Condition {
  readonly create?: boolean;
  readonly seqNo?: number | undefined;
  readonly primaryTerm?: number | undefined;
}

/** One index: documents as they are, and as searches see them since the last refresh. */
export class IndexStore {
  readonly name: string;
  readonly mapping: Mapping;
  readonly live = new Map<string, StoredDocument>();
  readonly visible = new Map<string, StoredDocument>();
  readonly #changed = new Set<string>();
  #seqNo = -1;

  constructor(name: string, maxFields?: number) {
    this.name = name;
    this.mapping = new Mapping(maxFields);
  }

  put(id: string, source: JsonObject, condition: Condition): StoredDocument & { readonly created: boolean } {
    const before = this.#require(id, condition);
    const fields = this.mapping.index(id, source);
    const document = { id, source, fields, seqNo: ++this.#seqNo };
    this.live.set(id, document);
    this.#changed.add(id);
    return { ...document, created: before === undefined };
  }

  delete(id: string, condition: Condition): { readonly seqNo: number; readonly found: boolean } {
    const before = this.#require(id, condition);
    this.live.delete(id);
    this.#changed.add(id);
    return { seqNo: ++this.#seqNo, found: before !== undefined };
  }

  refresh(): void {
    for (const id of this.#changed) {
      const document = this.live.get(id);
      // A document that is written again comes last, as in a new segment.
      this.visible.delete(id);
      if (document !== undefined) this.visible.set(id, document);
    }
    this.#changed.clear();
  }

  #require(id: string, { create, seqNo, primaryTerm }: Condition): StoredDocument | undefined {
    const before = this.live.get(id);
    const conflict = (said: string) =>
      new Refusal(409, 'version_conflict_engine_exception', `[${id}]: version conflict, ${said}`);
    if (create === true && before !== undefined) throw conflict('document already exists');
    if (seqNo !== undefined && (before?.seqNo !== seqNo || primaryTerm !== 1))
      throw conflict(`required seqNo [${seqNo}], primary term [${primaryTerm}]`);
    return before;
  }
}
