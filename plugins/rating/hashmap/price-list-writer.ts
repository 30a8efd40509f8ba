/** Brings the stored rules in line with a price list. */
import { randomUUID } from 'node:crypto';
import {
  DataError,
  type RulesChange,
  type RulesWriteOptions,
  type SqlTransaction,
} from '../../../core/plugin-api/index.js';
import {
  type ListedMapping,
  type ListedParent,
  type ListedThreshold,
  mappingKey,
  type PriceList,
  validTogether,
} from './price-list.js';
import {
  type MappingPair,
  type Parent,
  type Placement,
  pairMappings,
  pairThresholds,
  sameColumns,
  storedMappingColumns,
  storedThresholdColumns,
  type ThresholdPair,
} from './rule-pairing.js';
import {
  ALIVE,
  deleteMapping,
  deleteRow,
  insertField,
  insertMappings,
  insertName,
  insertThresholds,
  type MappingColumns,
  type NamedTable,
  nextPosition,
  type Placed,
  type RuleTable,
  readFields,
  readMappings,
  readNames,
  readPublicIds,
  readThresholds,
  type StoredMapping,
  type StoredName,
  type StoredThreshold,
  setPosition,
  type ThresholdColumns,
  updateMapping,
  updateThreshold,
} from './rule-store.js';

/**
 * Stores a price list. Counts services, fields, groups and rules.
 * @throws DataError RATECAT_HASHMAP_RULES_OVERLAP when a rule collides with a stored one that is not listed.
 */
export async function writePriceList(
  list: PriceList,
  tx: SqlTransaction,
  options: RulesWriteOptions,
): Promise<RulesChange> {
  const writer = new PriceListWriter(tx, options);
  await writer.write(list);
  return writer.change;
}

class PriceListWriter {
  readonly #tx: SqlTransaction;
  readonly #options: RulesWriteOptions;
  readonly #ids: NewIds;
  #added = 0;
  #changed = 0;
  #removed = 0;

  constructor(tx: SqlTransaction, options: RulesWriteOptions) {
    this.#tx = tx;
    this.#options = options;
    this.#ids = new NewIds(tx, options);
  }

  get change(): RulesChange {
    return { added: this.#added, changed: this.#changed, removed: this.#removed };
  }

  async write(list: PriceList): Promise<void> {
    const tx = this.#tx;
    const groups = await this.#ensureNames('groups', groupsOf(list));
    const services = await this.#ensureNames('services', pathsByName(list.services));
    const { placed, fieldIds } = await this.#place(list, services, groups);
    const mappings = pairMappings(placed.mappings, await readMappings(tx, [ALIVE]));
    const thresholds = pairThresholds(placed.thresholds, await readThresholds(tx));
    const replaces = this.#options.mode === 'replace';
    if (replaces) await this.#removeRules(mappings.unlisted, thresholds.unlisted);
    else refuseOverlaps(mappings.pairs, mappings.unlisted, groups);
    await this.#writeMappings(mappings.pairs);
    await this.#writeThresholds(thresholds.pairs);
    // Last: rules that moved were in them until now.
    if (replaces) await this.#removeParents(list, fieldIds);
  }

  // --------------------------------------------------------------------------------------- services, fields, groups

  async #ensureNames(
    table: NamedTable,
    paths: ReadonlyMap<string, string>,
  ): Promise<ReadonlyMap<string, StoredName>> {
    const stored = new Map((await readNames(this.#tx, table)).map((entry) => [entry.name, entry]));
    for (const [name, path] of paths) {
      if (stored.has(name)) continue;
      const uuid = await this.#ids.at(table, path);
      stored.set(name, await insertName(this.#tx, table, name, uuid));
      this.#added++;
    }
    return stored;
  }

  async #place(
    list: PriceList,
    services: ReadonlyMap<string, StoredName>,
    groups: ReadonlyMap<string, StoredName>,
  ) {
    const mappings: Placement<ListedMapping>[] = [];
    const thresholds: Placement<ListedThreshold>[] = [];
    const fieldIds = new Set<number>();
    const place = (rules: ListedParent, parent: Parent) => {
      const groupIdOf = ({ group }: { readonly group?: string }) =>
        group === undefined ? null : groups.get(group)!.id;
      for (const listed of rules.mappings) mappings.push({ listed, parent, groupId: groupIdOf(listed) });
      for (const listed of rules.thresholds) thresholds.push({ listed, parent, groupId: groupIdOf(listed) });
    };
    for (const service of list.services) {
      const stored = services.get(service.name)!;
      place(service, { serviceId: stored.id, fieldId: null });
      for (const [field, fieldId] of await this.#ensureFields(stored, service.fields)) {
        place(field, { serviceId: null, fieldId });
        fieldIds.add(fieldId);
      }
    }
    return { placed: { mappings, thresholds }, fieldIds };
  }

  /** Fields are read in the listed order afterwards. */
  async #ensureFields(
    service: StoredName,
    listed: readonly ListedParent[],
  ): Promise<readonly (readonly [ListedParent, number])[]> {
    if (listed.length === 0) return [];
    const present = await readFields(this.#tx, { sql: 'service.id = ?', parameters: [service.id] });
    const stored = new Map(present.map((field) => [field.name, field]));
    const places = new Places(await nextPosition(this.#tx, 'fields'));
    const ids: (readonly [ListedParent, number])[] = [];
    for (const rules of listed) {
      const known = stored.get(rules.name);
      const place = places.after(known?.position, { serviceId: service.id, fieldId: null });
      const id = known?.id ?? (await this.#insertField(service, rules, place));
      if (known === undefined) this.#added++;
      else if (known.position !== place) {
        await setPosition(this.#tx, 'fields', id, place);
        this.#changed++;
      }
      ids.push([rules, id]);
    }
    return ids;
  }

  async #insertField(service: StoredName, { name, path }: ListedParent, place: number): Promise<number> {
    const { id } = await insertField(this.#tx, service, name, place, await this.#ids.at('fields', path));
    return id;
  }

  async #removeParents(list: PriceList, fieldIds: ReadonlySet<number>): Promise<void> {
    const kept = { services: pathsByName(list.services), groups: groupsOf(list) };
    for (const field of await readFields(this.#tx))
      if (!fieldIds.has(field.id)) await this.#remove('fields', field.id);
    for (const table of ['services', 'groups'] as const)
      for (const { id, name } of await readNames(this.#tx, table))
        if (!kept[table].has(name)) await this.#remove(table, id);
  }

  async #remove(table: 'fields' | 'services' | 'groups', id: number): Promise<void> {
    await deleteRow(this.#tx, table, id);
    this.#removed++;
  }

  // ----------------------------------------------------------------------------------------------------------- rules

  async #removeRules(
    mappings: readonly StoredMapping[],
    thresholds: readonly StoredThreshold[],
  ): Promise<void> {
    for (const { id } of mappings) await deleteMapping(this.#tx, id, this.#options);
    for (const { id } of thresholds) await deleteRow(this.#tx, 'thresholds', id);
    this.#removed += mappings.length + thresholds.length;
  }

  async #writeMappings(pairs: readonly MappingPair[]): Promise<void> {
    const places = new Places(await nextPosition(this.#tx, 'mappings'));
    const added: Placed<MappingColumns>[] = [];
    for (const { listed, columns, stored } of pairs) {
      const position = places.after(stored?.position, columns);
      if (stored === undefined) {
        added.push({ uuid: await this.#ids.at('mappings', listed.path), position, columns });
        continue;
      }
      const same = sameColumns(columns, storedMappingColumns(stored));
      if (!same) await updateMapping(this.#tx, stored.id, columns, this.#options.author);
      await this.#move('mappings', stored, position, !same);
    }
    await insertMappings(this.#tx, added, this.#options);
    this.#added += added.length;
  }

  async #writeThresholds(pairs: readonly ThresholdPair[]): Promise<void> {
    const places = new Places(await nextPosition(this.#tx, 'thresholds'));
    const added: Placed<ThresholdColumns>[] = [];
    for (const { listed, columns, stored } of pairs) {
      const position = places.after(stored?.position, columns);
      if (stored === undefined) {
        added.push({ uuid: await this.#ids.at('thresholds', listed.path), position, columns });
        continue;
      }
      const same = sameColumns(columns, storedThresholdColumns(stored));
      if (!same) await updateThreshold(this.#tx, stored.id, columns);
      await this.#move('thresholds', stored, position, !same);
    }
    await insertThresholds(this.#tx, added);
    this.#added += added.length;
  }

  async #move(
    table: 'mappings' | 'thresholds',
    stored: { readonly id: number; readonly position: number },
    position: number,
    isChanged: boolean,
  ): Promise<void> {
    if (position !== stored.position) await setPosition(this.#tx, table, stored.id, position);
    if (isChanged || position !== stored.position) this.#changed++;
  }
}

/** Public ids of new rows: those that the caller knows, as long as they are free. */
class NewIds {
  readonly #tx: SqlTransaction;
  readonly #options: RulesWriteOptions;
  readonly #taken = new Map<RuleTable, Set<string>>();

  constructor(tx: SqlTransaction, options: RulesWriteOptions) {
    this.#tx = tx;
    this.#options = options;
  }

  async at(table: RuleTable, path: string): Promise<string> {
    const known = this.#options.idOf?.(path);
    if (known === undefined) return randomUUID();
    let taken = this.#taken.get(table);
    if (taken === undefined) {
      taken = new Set(await readPublicIds(this.#tx, table));
      this.#taken.set(table, taken);
    }
    if (taken.has(known)) return randomUUID();
    taken.add(known);
    return known;
  }
}

/** Hands out positions that ascend within each parent; a stored one is kept while it ascends. */
class Places {
  #next: number;
  readonly #last = new Map<string, number>();

  /** `next` is behind every stored position. */
  constructor(next: number) {
    this.#next = next;
  }

  after(stored: number | undefined, { serviceId, fieldId }: Parent): number {
    const parent = `${serviceId} ${fieldId}`;
    const last = this.#last.get(parent);
    const keeps = stored !== undefined && (last === undefined || stored > last);
    const place = keeps ? stored : this.#next++;
    this.#last.set(parent, place);
    return place;
  }
}

function pathsByName(parents: readonly ListedParent[]): ReadonlyMap<string, string> {
  return new Map(parents.map(({ name, path }) => [name, path]));
}

/** Names of groups with their paths; a group that is only named by rules has the path of none. */
function groupsOf(list: PriceList): ReadonlyMap<string, string> {
  const paths = new Map(list.groups.map((name, index) => [name, `groups[${index}]`]));
  for (const service of list.services)
    for (const parent of [service, ...service.fields])
      for (const { group } of [...parent.mappings, ...parent.thresholds])
        if (group !== undefined && !paths.has(group)) paths.set(group, '');
  return paths;
}

function refuseOverlaps(
  pairs: readonly MappingPair[],
  unlisted: readonly StoredMapping[],
  groups: ReadonlyMap<string, StoredName>,
): void {
  const groupNames = new Map([...groups.values()].map(({ id, name }) => [id, name]));
  const keyOf = ({ serviceId, fieldId, value, groupId, tenant }: MappingColumns) => {
    const group = groupId === null ? undefined : groupNames.get(groupId);
    const key = mappingKey({
      value: value ?? '',
      ...(group === undefined ? {} : { group }),
      ...(tenant === null ? {} : { tenant }),
    });
    return JSON.stringify([serviceId, fieldId, key]);
  };
  const stored = new Map<string, StoredMapping[]>();
  for (const mapping of unlisted) {
    const key = keyOf(storedMappingColumns(mapping));
    stored.set(key, [...(stored.get(key) ?? []), mapping]);
  }
  const problems = pairs.flatMap(({ listed, columns }) => {
    if (listed.overlaps) return [];
    const collision = stored.get(keyOf(columns))?.find((mapping) => validTogether(mapping, columns));
    return collision === undefined ? [] : [`  ${listed.path}: mapping ${collision.uuid} (${collision.name})`];
  });
  if (problems.length === 0) return;
  throw new DataError(
    'RATECAT_HASHMAP_RULES_OVERLAP',
    'Rules of the price list apply to the same, at the same time, as stored rules that are not in it. Give the stored ' +
      `rules an end, list them too, or replace all rules:\n${problems.join('\n')}`,
  );
}
