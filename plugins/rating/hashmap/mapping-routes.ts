/** Configuration of mappings: what is written down for a time, and then only ends. */
import type { ConfigResponse, Instant, JsonValue, SqlReader } from '../../../core/plugin-api/index.js';
import {
  badRequest,
  type ConfigCall,
  conflict,
  type ModelBody,
  noContent,
  notFound,
  ok,
  type WireRoute,
} from '../../shared/config-call.js';
import { naiveDate } from '../../shared/rule-dates.js';
import { checkNotPast, checkOrder, endOfRunning } from '../../shared/rule-validity.js';
import { COST_DECIMALS, DESCRIPTION_LENGTH, RULE_NAME_LENGTH, validTogether } from './price-list.js';
import { storedMappingColumns } from './rule-pairing.js';
import {
  answerGroup,
  checkOneParent,
  costType,
  findParents,
  parentText,
  type RequestedParents,
  RULE_FILTERS,
  requestedParents,
  ruleBody,
  ruleConditions,
  wireDecimal,
} from './rule-requests.js';
import {
  ALIVE,
  type Condition,
  condition,
  deleteMapping,
  generatedName,
  insertMappings,
  type MappingColumns,
  nextPosition,
  readMappings,
  type StoredMapping,
  takeTurn,
  updateMapping,
} from './rule-store.js';

const ATTRIBUTES = [
  'mapping_id',
  'value',
  'type',
  'cost',
  'service_id',
  'field_id',
  'group_id',
  'tenant_id',
  'created_at',
  'start',
  'end',
  'name',
  'description',
  'deleted',
  'created_by',
  'updated_by',
  'deleted_by',
];
const FILTERS = [
  ...RULE_FILTERS,
  'deleted',
  'is_active',
  'start',
  'end',
  'created_by',
  'updated_by',
  'deleted_by',
  'description',
  'all',
];

export const mappingsOfService: WireRoute = {
  method: 'GET',
  path: '/services/:service_id/mappings',
  shape: { arguments: FILTERS },
  handle: listMappings,
};

export const mappingsOfGroup: readonly WireRoute[] = ['/groups/mappings', '/groups/:group_id/mappings'].map(
  (path) => ({
    method: 'GET',
    path,
    shape: { arguments: ['group_id'] },
    handle: async (call) => {
      call.required('group_id');
      return listMappings(call);
    },
  }),
);

export const mappingRoutes: readonly WireRoute[] = [
  { method: 'GET', path: '/mappings', shape: { arguments: FILTERS }, handle: listMappings },
  ...['/mappings/group', '/mappings/:mapping_id/group'].map(
    (path): WireRoute => ({
      method: 'GET',
      path,
      shape: { arguments: ['mapping_id'] },
      handle: async (call) => {
        const uuid = call.required('mapping_id');
        return answerGroup(call.tx, await findMapping(call.tx, uuid), 'Mapping', uuid);
      },
    }),
  ),
  {
    method: 'GET',
    path: '/mappings/:mapping_id',
    shape: { arguments: ['mapping_id'] },
    handle: async (call) => ok(mappingBody(await requireMapping(call.tx, call.required('mapping_id')))),
  },
  {
    method: 'POST',
    path: '/mappings',
    shape: { arguments: ['force'], model: { argument: 'mapping_data', attributes: ATTRIBUTES } },
    handle: createMapping,
  },
  ...['/mappings/:mapping_id', '/mappings'].map(
    (path): WireRoute => ({
      method: 'PUT',
      path,
      shape: { arguments: ['mapping_id'], model: { argument: 'mapping', attributes: ATTRIBUTES } },
      handle: changeMapping,
    }),
  ),
  ...['/mappings/:mapping_id', '/mappings'].map(
    (path): WireRoute => ({
      method: 'DELETE',
      path,
      shape: { arguments: ['mapping_id'] },
      handle: removeMapping,
    }),
  ),
];

// ---------------------------------------------------------------------------------------------------------- reading

async function listMappings(call: ConfigCall): Promise<ConfigResponse> {
  const conditions = [...ruleConditions(call), ...dateConditions(call), ...authorConditions(call)];
  const mappings = await readMappings(call.tx, conditions);
  const description = call.text('description');
  const matching = mappings.filter(
    (mapping) =>
      description === undefined || description === '' || isLike(mapping.description ?? '', description),
  );
  return ok({ mappings: matching.map(mappingBody) });
}

function dateConditions(call: ConfigCall): Condition[] {
  const conditions: Condition[] = [];
  if (!call.flag('deleted') || call.flag('is_active')) conditions.push(ALIVE);
  if (call.flag('is_active')) {
    const active = 'rule.starts_at <= ? AND (rule.ends_at IS NULL OR rule.ends_at > ?)';
    conditions.push(condition(active, call.now, call.now));
  }
  const start = call.date('start');
  const end = call.date('end');
  if (start !== undefined) conditions.push(condition('rule.starts_at >= ?', start));
  if (end !== undefined) conditions.push(condition('rule.ends_at < ?', end));
  return conditions;
}

function authorConditions(call: ConfigCall): Condition[] {
  return (['created_by', 'updated_by', 'deleted_by'] as const).flatMap((column) => {
    const author = call.text(column);
    return author === undefined || author === '' ? [] : [condition(`rule.${column} = ?`, author)];
  });
}

/** As SQL's LIKE with the text anywhere, without regard to case; each piece of the pattern is found as early as possible. */
function isLike(text: string, pattern: string): boolean {
  const characters = [...text.toLowerCase()];
  let from = 0;
  for (const piece of pattern.toLowerCase().split('%')) {
    const wanted = [...piece];
    const fits = (place: number) =>
      wanted.every((character, index) =>
        character === '_' ? place + index < characters.length : characters[place + index] === character,
      );
    while (from + wanted.length <= characters.length && !fits(from)) from++;
    from += wanted.length;
    if (from > characters.length) return false;
  }
  return true;
}

async function findMapping(tx: SqlReader, uuid: string): Promise<StoredMapping | undefined> {
  return (await readMappings(tx, [condition('rule.mapping_id = ?', uuid)]))[0];
}

async function requireMapping(tx: SqlReader, uuid: string): Promise<StoredMapping> {
  const mapping = await findMapping(tx, uuid);
  if (mapping === undefined) throw notFound(`No such mapping: ${uuid}`);
  return mapping;
}

function mappingBody(mapping: StoredMapping): JsonValue {
  const date = (instant: Instant | null) => (instant === null ? null : naiveDate(instant));
  return {
    mapping_id: mapping.uuid,
    value: mapping.value,
    type: mapping.type,
    cost: wireDecimal(mapping.cost, COST_DECIMALS),
    ...ruleBody(mapping),
    created_at: date(mapping.createdAt),
    start: date(mapping.start),
    end: date(mapping.end),
    name: mapping.name,
    description: mapping.description,
    deleted: date(mapping.deletedAt),
    created_by: mapping.createdBy,
    updated_by: mapping.updatedBy,
    deleted_by: mapping.deletedBy,
  };
}

// --------------------------------------------------------------------------------------------------------- creating

async function createMapping(call: ConfigCall): Promise<ConfigResponse> {
  const { model, tx, now } = call;
  const requested = readMapping(model);
  const start = requested.start ?? now;
  const end = requested.end ?? null;
  if (!call.flag('force')) checkNotPast(requested.start, now);
  checkOrder(start, end);
  checkParents(requested.parents, requested.value);
  await takeTurn(tx);
  const columns: MappingColumns = {
    type: requested.type,
    cost: requested.cost,
    ...(await findParents(tx, requested.parents)),
    tenant: requested.tenant,
    value: model.has('value') ? requested.value : '',
    name: requested.name === null || requested.name === '' ? generatedName() : requested.name,
    description: requested.description,
    start,
    end,
  };
  await checkConflict(tx, columns, requested.parents, undefined);
  const position = await nextPosition(tx, 'mappings');
  const uuid = call.newId();
  await insertMappings(tx, [{ uuid, position, columns }], call);
  return call.created(uuid, mappingBody(await requireMapping(tx, uuid)));
}

function readMapping(model: ModelBody) {
  model.uuid('mapping_id');
  return {
    type: costType(model),
    cost: model.decimal('cost', COST_DECIMALS),
    parents: requestedParents(model),
    value: model.text('value'),
    tenant: model.text('tenant_id'),
    name: model.text('name', RULE_NAME_LENGTH),
    description: model.text('description', DESCRIPTION_LENGTH),
    start: model.date('start', 'start'),
    end: model.date('end', 'end'),
  };
}

type RequestedMapping = ReturnType<typeof readMapping>;

function checkParents(parents: RequestedParents, value: string | null): void {
  checkOneParent(parents);
  const hasValue = value !== null && value !== '';
  if (parents.serviceUuid !== null && hasValue)
    throw badRequest("You can't specify a value and a service_id.");
  if (parents.fieldUuid !== null && !hasValue)
    throw badRequest('You must specify a value for a field mapping.');
}

/** Two mappings that are alive differ in name; those of one key are not valid at the same time. */
async function checkConflict(
  tx: SqlReader,
  columns: MappingColumns,
  parents: RequestedParents,
  except: number | undefined,
): Promise<void> {
  const parent =
    columns.fieldId === null
      ? condition('rule.service_id = ?', columns.serviceId)
      : condition('rule.field_id = ?', columns.fieldId);
  const siblings = await readMappings(tx, [ALIVE, parent]);
  const sameName = await readMappings(tx, [ALIVE, condition('rule.name = ?', columns.name)]);
  const collides = (other: StoredMapping) =>
    (other.value ?? '') === (columns.value ?? '') &&
    other.tenant === columns.tenant &&
    (other.group?.id ?? null) === columns.groupId &&
    validTogether(other, columns);
  const others = [...sameName, ...siblings.filter(collides)];
  if (!others.some(({ id }) => id !== except)) return;
  const { value, tenant } = columns;
  throw conflict(
    `Mapping '${value ?? 'None'}' already exists for ${parentText(parents)}, tenant: '${tenant ?? 'None'}'`,
  );
}

// --------------------------------------------------------------------------------------------------------- changing

async function changeMapping(call: ConfigCall): Promise<ConfigResponse> {
  const { model, tx, now } = call;
  const requested = readMapping(model);
  const uuid = call.text('mapping_id') ?? model.uuid('mapping_id');
  if (uuid === null) throw badRequest('Missing argument: "mapping_id"');
  await takeTurn(tx);
  const stored = await requireMapping(tx, uuid);
  const columns =
    stored.start <= now ? changesOfRunning(stored, requested, now) : changesOfPlanned(stored, requested, now);
  if (stored.deletedAt !== null) throw notFound(`No such mapping: ${uuid}`);
  if (columns === undefined) return call.changed();
  if (stored.start > now) await checkConflict(tx, columns, parentsOf(stored), stored.id);
  await updateMapping(tx, stored.id, columns, call.author);
  return call.changed();
}

/** A rule that has rated periods may only end. Undefined: it is as requested already. */
function changesOfRunning(
  stored: StoredMapping,
  requested: RequestedMapping,
  now: Instant,
): MappingColumns | undefined {
  const { end } = requested;
  const change = endOfRunning(stored, { end, differs: differsBesidesEnd(stored, requested) }, now);
  return change === undefined ? undefined : { ...storedMappingColumns(stored), ...change };
}

/** What is absent or empty counts as unchanged; a type that is absent counts as flat. */
function differsBesidesEnd(stored: StoredMapping, requested: RequestedMapping): boolean {
  const { parents } = requested;
  const pairs: readonly (readonly [
    string | number | null | undefined,
    string | number | null | undefined,
  ])[] = [
    [requested.type, stored.type],
    [requested.value, stored.value],
    [requested.tenant, stored.tenant],
    [requested.name, stored.name],
    [requested.description, stored.description],
    [requested.start, stored.start],
    [parents.serviceUuid, stored.service?.uuid],
    [parents.fieldUuid, stored.field?.uuid],
    [parents.groupUuid, stored.group?.uuid],
  ];
  const isGiven = (value: unknown) => value !== undefined && value !== null && value !== '';
  return (
    requested.cost.compare(stored.cost) !== 0 ||
    pairs.some(([given, present]) => isGiven(given) && given !== present)
  );
}

/** A rule that has not begun takes cost, dates and description; an absent end or description is cleared. */
function changesOfPlanned(stored: StoredMapping, requested: RequestedMapping, now: Instant): MappingColumns {
  checkNotPast(requested.start, now);
  const start = requested.start ?? stored.start;
  const end = requested.end ?? null;
  checkOrder(start, end);
  const { cost, description } = requested;
  return { ...storedMappingColumns(stored), cost, description, start, end };
}

function parentsOf({ service, field, group }: StoredMapping): RequestedParents {
  return {
    serviceUuid: service?.uuid ?? null,
    fieldUuid: field?.uuid ?? null,
    groupUuid: group?.uuid ?? null,
  };
}

async function removeMapping(call: ConfigCall): Promise<ConfigResponse> {
  const uuid = call.required('mapping_id');
  await takeTurn(call.tx);
  const stored = await findMapping(call.tx, uuid);
  if (stored === undefined || stored.deletedAt !== null) throw notFound(`No such mapping: ${uuid}`);
  await deleteMapping(call.tx, stored.id, call);
  return noContent;
}
