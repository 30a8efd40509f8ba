/** Configuration of scripts: written down for a time, and then only ended (spec: pyscripts, API). */
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
import {
  ALIVE,
  type Condition,
  condition,
  deleteScript,
  insertScript,
  isTaken,
  readScripts,
  type Script,
  type ScriptContent,
  takeTurn,
  updateScript,
} from './script-store.js';

const DESCRIPTION_LENGTH = 256;
/** Bytes in UTF-8: much more than a script needs, and less than any server's longest packet. */
const DATA_BYTES = 1024 * 1024;
const ATTRIBUTES = [
  'script_id',
  'name',
  'data',
  'checksum',
  'created_at',
  'start',
  'end',
  'description',
  'deleted',
  'created_by',
  'updated_by',
  'deleted_by',
];
const FILTERS = [
  'no_data',
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

export const scriptRoutes: readonly WireRoute[] = [
  { method: 'GET', path: '/scripts', shape: { arguments: FILTERS }, handle: listScripts },
  {
    method: 'GET',
    path: '/scripts/:script_id',
    shape: { arguments: ['script_id'] },
    handle: async (call) => ok(scriptBody(await requireScript(call.tx, call.required('script_id')))),
  },
  {
    method: 'POST',
    path: '/scripts',
    shape: { arguments: ['force'], model: { argument: 'script_data', attributes: ATTRIBUTES } },
    handle: createScript,
  },
  ...['/scripts/:script_id', '/scripts'].map(
    (path): WireRoute => ({
      method: 'PUT',
      path,
      shape: { arguments: ['script_id'], model: { argument: 'script_data', attributes: ATTRIBUTES } },
      handle: changeScript,
    }),
  ),
  ...['/scripts/:script_id', '/scripts'].map(
    (path): WireRoute => ({
      method: 'DELETE',
      path,
      shape: { arguments: ['script_id'] },
      handle: removeScript,
    }),
  ),
];

// ---------------------------------------------------------------------------------------------------------- reading

async function listScripts(call: ConfigCall): Promise<ConfigResponse> {
  const scripts = await readScripts(call.tx, conditions(call));
  const wanted = call.text('description')?.toLowerCase();
  const matching = scripts.filter(
    ({ description }) => wanted === undefined || (description ?? '').toLowerCase().includes(wanted),
  );
  const withoutData = call.flag('no_data');
  return ok({ scripts: matching.map((script) => scriptBody(script, withoutData)) });
}

function conditions(call: ConfigCall): readonly Condition[] {
  const found: Condition[] = [];
  if (!call.flag('deleted') || call.flag('is_active')) found.push(ALIVE);
  if (call.flag('is_active'))
    found.push(condition('starts_at <= ? AND (ends_at IS NULL OR ends_at > ?)', call.now, call.now));
  const [start, end] = [call.date('start'), call.date('end')];
  if (start !== undefined) found.push(condition('starts_at >= ?', start));
  if (end !== undefined) found.push(condition('ends_at < ?', end));
  for (const column of ['created_by', 'updated_by', 'deleted_by']) {
    const author = call.text(column);
    if (author !== undefined && author !== '') found.push(condition(`${column} = ?`, author));
  }
  return found;
}

async function requireScript(tx: SqlReader, uuid: string): Promise<Script> {
  const [script] = await readScripts(tx, [ALIVE, condition('script_id = ?', uuid)]);
  if (script === undefined) throw notFound(`No such script: None (UUID: ${uuid})`);
  return script;
}

function scriptBody(script: Script, withoutData = false): JsonValue {
  const date = (instant: Instant | null) => (instant === null ? null : naiveDate(instant));
  return {
    script_id: script.uuid,
    name: script.name,
    ...(withoutData ? {} : { data: script.data }),
    checksum: script.checksum,
    created_at: date(script.createdAt),
    start: date(script.start),
    end: date(script.end),
    description: script.description,
    deleted: date(script.deletedAt),
    created_by: script.createdBy,
    updated_by: script.updatedBy,
    deleted_by: script.deletedBy,
  };
}

// ---------------------------------------------------------------------------------------------------------- writing

interface RequestedScript {
  readonly uuid: string | null;
  readonly name: string;
  readonly data: string | null;
  readonly description: string | null;
  readonly start: Instant | undefined;
  readonly end: Instant | undefined;
}

function readScript(model: ModelBody): RequestedScript {
  model.refuse('checksum');
  return {
    uuid: model.uuid('script_id'),
    name: model.requiredText('name'),
    data: readData(model),
    description: model.text('description', DESCRIPTION_LENGTH),
    start: model.date('start', 'start'),
    end: model.date('end', 'end'),
  };
}

function readData(model: ModelBody): string | null {
  const data = model.text('data', DATA_BYTES);
  if (data !== null && Buffer.byteLength(data) > DATA_BYTES)
    throw badRequest(`Invalid input for field/attribute data. Longer than ${DATA_BYTES} bytes.`);
  return data;
}

async function createScript(call: ConfigCall): Promise<ConfigResponse> {
  const { model, tx, now } = call;
  const requested = readScript(model);
  const start = requested.start ?? now;
  const end = requested.end ?? null;
  if (!call.flag('force')) checkNotPast(requested.start, now);
  checkOrder(start, end);
  const { name, description } = requested;
  const data = requiredData(requested);
  await takeTurn(tx);
  const [namesake] = await readScripts(tx, [ALIVE, condition('name = ?', name)]);
  if (namesake !== undefined) throw conflict(`Script ${name} already exists (UUID: ${namesake.uuid})`);
  let uuid = call.newId();
  while (await isTaken(tx, uuid)) uuid = call.newId();
  await insertScript(tx, uuid, { name, data, description, start, end }, call);
  return call.created(uuid, scriptBody(await requireScript(tx, uuid)));
}

async function changeScript(call: ConfigCall): Promise<ConfigResponse> {
  const { model, tx, now } = call;
  const requested = readScript(model);
  const uuid = call.text('script_id') ?? requested.uuid;
  if (uuid === null) throw badRequest('Missing argument: "script_id"');
  await takeTurn(tx);
  const stored = await requireScript(tx, uuid);
  const content =
    stored.start <= now ? contentOfRunning(stored, requested, now) : contentOfPlanned(stored, requested, now);
  if (content !== undefined) await updateScript(tx, stored.id, content, call);
  return call.created(uuid, scriptBody(await requireScript(tx, uuid)));
}

/** A script that has rated periods may only end. Undefined: it is as requested already. */
function contentOfRunning(
  stored: Script,
  requested: RequestedScript,
  now: Instant,
): ScriptContent | undefined {
  const { end } = requested;
  const change = endOfRunning(stored, { end, differs: differsBesidesEnd(stored, requested) }, now);
  return change === undefined ? undefined : { ...stored, ...change };
}

/** What is absent or empty counts as unchanged, as clients send the whole script back. */
function differsBesidesEnd(stored: Script, requested: RequestedScript): boolean {
  const { name, data, description, start } = requested;
  return (
    name !== stored.name ||
    (data !== null && data !== '' && data !== stored.data) ||
    (description !== null && description !== '' && description !== stored.description) ||
    (start !== undefined && start !== stored.start)
  );
}

/** A script that has not begun takes source, dates and description; an absent end or description is cleared. */
function contentOfPlanned(stored: Script, requested: RequestedScript, now: Instant): ScriptContent {
  checkNotPast(requested.start, now);
  const start = requested.start ?? stored.start;
  const end = requested.end ?? null;
  checkOrder(start, end);
  return { ...stored, data: requiredData(requested), description: requested.description, start, end };
}

function requiredData({ data }: RequestedScript): string {
  if (data === null)
    throw badRequest("Invalid input for field/attribute data. Value: 'None'. Mandatory field missing.");
  return data;
}

async function removeScript(call: ConfigCall): Promise<ConfigResponse> {
  const uuid = call.required('script_id');
  await takeTurn(call.tx);
  const stored = await requireScript(call.tx, uuid);
  await deleteScript(call.tx, stored.id, call);
  return noContent;
}
