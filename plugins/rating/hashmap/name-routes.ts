/** Configuration of services, fields and groups. */
import type { JsonValue, SqlReader } from '../../../core/plugin-api/index.js';
import {
  badRequest,
  type ConfigCall,
  conflict,
  noContent,
  notFound,
  ok,
  type WireRoute,
} from '../../shared/config-call.js';
import {
  condition,
  deleteRow,
  deleteRulesOfGroup,
  findName,
  insertField,
  insertName,
  type NamedTable,
  nextPosition,
  readFields,
  readNames,
  type StoredField,
  type StoredName,
  takeTurn,
} from './rule-store.js';

/** What differs between services and groups. */
interface NamedKind {
  readonly table: NamedTable;
  readonly noun: 'service' | 'group';
  readonly id: 'service_id' | 'group_id';
}

const SERVICE: NamedKind = { table: 'services', noun: 'service', id: 'service_id' };
const GROUP: NamedKind = { table: 'groups', noun: 'group', id: 'group_id' };

export const serviceRoutes: readonly WireRoute[] = [
  ...readingRoutes(SERVICE),
  ...deletingRoutes(SERVICE, [], async ({ tx }, service) => deleteRow(tx, 'services', service.id)),
];

export const groupRoutes: readonly WireRoute[] = [
  ...readingRoutes(GROUP),
  ...deletingRoutes(GROUP, ['recursive'], async (call, group) => {
    // Otherwise the database moves the rules to the default group.
    if (call.flag('recursive')) await deleteRulesOfGroup(call.tx, group);
    await deleteRow(call.tx, 'groups', group.id);
  }),
];

/** @throws a client fault with the given status when the name is not stored. */
export async function requireName(
  tx: SqlReader,
  noun: 'service' | 'group',
  uuid: string,
  fault: (message: string) => Error,
): Promise<StoredName> {
  const stored = await findName(tx, `${noun}s`, 'uuid', uuid);
  if (stored === undefined) throw fault(`No such ${noun}: None (UUID: ${uuid})`);
  return stored;
}

export function groupBody({ uuid, name }: StoredName): JsonValue {
  return { group_id: uuid, name };
}

function readingRoutes({ table, noun, id }: NamedKind): readonly WireRoute[] {
  const body = ({ uuid, name }: StoredName): JsonValue => ({ [id]: uuid, name });
  return [
    {
      method: 'GET',
      path: `/${table}`,
      shape: {},
      handle: async ({ tx }) => ok({ [table]: (await readNames(tx, table)).map(body) }),
    },
    {
      method: 'GET',
      path: `/${table}/:${id}`,
      shape: { arguments: [id] },
      handle: async (call) => ok(body(await requireName(call.tx, noun, call.required(id), notFound))),
    },
    {
      method: 'POST',
      path: `/${table}`,
      shape: { model: { argument: `${noun}_data`, attributes: [id, 'name'] } },
      handle: async (call) => {
        call.model.uuid(id);
        const name = call.model.requiredText('name');
        await takeTurn(call.tx);
        const present = await findName(call.tx, table, 'name', name);
        if (present !== undefined)
          throw conflict(`${capital(noun)} ${name} already exists (UUID: ${present.uuid})`);
        const added = await insertName(call.tx, table, name, call.newId());
        return call.created(added.uuid, body(added));
      },
    },
  ];
}

function deletingRoutes(
  { table, noun, id }: NamedKind,
  flags: readonly string[],
  remove: (call: ConfigCall, stored: StoredName) => Promise<void>,
): readonly WireRoute[] {
  return [`/${table}/:${id}`, `/${table}`].map((path) => ({
    method: 'DELETE',
    path,
    shape: { arguments: [id, ...flags] },
    handle: async (call) => {
      const uuid = call.required(id);
      await takeTurn(call.tx);
      await remove(call, await requireName(call.tx, noun, uuid, notFound));
      return noContent;
    },
  }));
}

// ----------------------------------------------------------------------------------------------------------- fields

/** An unknown service has no fields: the dashboard asks with a name and needs an empty list. */
async function listFields(call: ConfigCall) {
  const service = condition('service.service_id = ?', call.required('service_id'));
  return ok({ fields: (await readFields(call.tx, service)).map(fieldBody) });
}

export const fieldsOfService: WireRoute = {
  method: 'GET',
  path: '/services/:service_id/fields',
  shape: { arguments: ['service_id'] },
  handle: listFields,
};

export const fieldRoutes: readonly WireRoute[] = [
  { method: 'GET', path: '/fields', shape: { arguments: ['service_id'] }, handle: listFields },
  {
    method: 'GET',
    path: '/fields/:field_id',
    shape: { arguments: ['field_id'] },
    handle: async (call) => ok(fieldBody(await requireField(call.tx, call.required('field_id'), notFound))),
  },
  {
    method: 'POST',
    path: '/fields',
    shape: { model: { argument: 'field_data', attributes: ['field_id', 'name', 'service_id'] } },
    handle: createField,
  },
  ...['/fields/:field_id', '/fields'].map(
    (path): WireRoute => ({
      method: 'DELETE',
      path,
      shape: { arguments: ['field_id'] },
      handle: async (call) => {
        const uuid = call.required('field_id');
        await takeTurn(call.tx);
        await deleteRow(call.tx, 'fields', (await requireField(call.tx, uuid, notFound)).id);
        return noContent;
      },
    }),
  ),
];

/** @throws a client fault with the given status when the field is not stored. */
export async function requireField(
  tx: SqlReader,
  uuid: string,
  fault: (message: string) => Error,
): Promise<StoredField> {
  const [field] = await readFields(tx, condition('field.field_id = ?', uuid));
  if (field === undefined) throw fault(`No such field: ${uuid}`);
  return field;
}

async function createField(call: ConfigCall) {
  const { model, tx } = call;
  model.uuid('field_id');
  const name = model.requiredText('name');
  model.requiredText('service_id');
  const serviceId = model.uuid('service_id')!;
  await takeTurn(tx);
  const service = await requireName(tx, 'service', serviceId, badRequest);
  const sameName = condition('field.service_id = ? AND field.name = ?', service.id, name);
  const [present] = await readFields(tx, sameName);
  if (present !== undefined) throw conflict(`Field ${name} already exists (UUID: ${present.uuid})`);
  const position = await nextPosition(tx, 'fields');
  const field = await insertField(tx, service, name, position, call.newId());
  return call.created(field.uuid, fieldBody(field));
}

function fieldBody({ uuid, name, service }: StoredField): JsonValue {
  return { field_id: uuid, name, service_id: service.uuid };
}

function capital(word: string): string {
  return word[0]!.toUpperCase() + word.slice(1);
}
