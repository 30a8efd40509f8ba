/** Configuration of thresholds. They have no dates: a change acts on every period that is rated after it. */
import type { ConfigResponse, JsonValue, SqlReader } from '../../../core/plugin-api/index.js';
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
import { requireName } from './name-routes.js';
import { COST_DECIMALS, LEVEL_DECIMALS } from './price-list.js';
import { storedThresholdColumns } from './rule-pairing.js';
import {
  answerGroup,
  checkOneParent,
  costType,
  findParents,
  parentText,
  RULE_FILTERS,
  requestedParents,
  ruleBody,
  ruleConditions,
  wireDecimal,
} from './rule-requests.js';
import {
  condition,
  deleteRow,
  insertThresholds,
  nextPosition,
  readThresholds,
  type StoredThreshold,
  type ThresholdColumns,
  takeTurn,
  updateThreshold,
} from './rule-store.js';

const ATTRIBUTES = [
  'threshold_id',
  'level',
  'type',
  'cost',
  'service_id',
  'field_id',
  'group_id',
  'tenant_id',
];

export const thresholdsOfGroup: readonly WireRoute[] = [
  '/groups/thresholds',
  '/groups/:group_id/thresholds',
].map((path) => ({
  method: 'GET',
  path,
  shape: { arguments: ['group_id'] },
  handle: async (call) => {
    call.required('group_id');
    return listThresholds(call);
  },
}));

export const thresholdRoutes: readonly WireRoute[] = [
  { method: 'GET', path: '/thresholds', shape: { arguments: RULE_FILTERS }, handle: listThresholds },
  ...['/thresholds/group', '/thresholds/:threshold_id/group'].map(
    (path): WireRoute => ({
      method: 'GET',
      path,
      shape: { arguments: ['threshold_id'] },
      handle: async (call) => {
        const uuid = call.required('threshold_id');
        return answerGroup(call.tx, await findThreshold(call.tx, uuid), 'Threshold', uuid);
      },
    }),
  ),
  {
    method: 'GET',
    path: '/thresholds/:threshold_id',
    shape: { arguments: ['threshold_id'] },
    handle: async (call) => ok(thresholdBody(await requireThreshold(call.tx, call.required('threshold_id')))),
  },
  {
    method: 'POST',
    path: '/thresholds',
    shape: { model: { argument: 'threshold_data', attributes: ATTRIBUTES } },
    handle: createThreshold,
  },
  ...['/thresholds/:threshold_id', '/thresholds'].map(
    (path): WireRoute => ({
      method: 'PUT',
      path,
      shape: { arguments: ['threshold_id'], model: { argument: 'threshold', attributes: ATTRIBUTES } },
      handle: changeThreshold,
    }),
  ),
  ...['/thresholds/:threshold_id', '/thresholds'].map(
    (path): WireRoute => ({
      method: 'DELETE',
      path,
      shape: { arguments: ['threshold_id'] },
      handle: async (call) => {
        const uuid = call.required('threshold_id');
        await takeTurn(call.tx);
        await deleteRow(call.tx, 'thresholds', (await requireThreshold(call.tx, uuid)).id);
        return noContent;
      },
    }),
  ),
];

/** Without a parent all thresholds are listed; the reference fails there. */
async function listThresholds(call: ConfigCall): Promise<ConfigResponse> {
  const thresholds = await readThresholds(call.tx, ruleConditions(call));
  return ok({ thresholds: thresholds.map(thresholdBody) });
}

async function findThreshold(tx: SqlReader, uuid: string): Promise<StoredThreshold | undefined> {
  return (await readThresholds(tx, [condition('rule.threshold_id = ?', uuid)]))[0];
}

async function requireThreshold(tx: SqlReader, uuid: string): Promise<StoredThreshold> {
  const threshold = await findThreshold(tx, uuid);
  if (threshold === undefined) throw notFound(`No such threshold: ${uuid}`);
  return threshold;
}

function thresholdBody(threshold: StoredThreshold): JsonValue {
  return {
    threshold_id: threshold.uuid,
    level: wireDecimal(threshold.level, LEVEL_DECIMALS),
    type: threshold.type,
    cost: wireDecimal(threshold.cost, COST_DECIMALS),
    ...ruleBody(threshold),
  };
}

function readThreshold(model: ModelBody) {
  model.uuid('threshold_id');
  return {
    level: model.decimal('level', LEVEL_DECIMALS),
    cost: model.decimal('cost', COST_DECIMALS),
    type: costType(model),
    parents: requestedParents(model),
    tenant: model.text('tenant_id'),
  };
}

async function createThreshold(call: ConfigCall): Promise<ConfigResponse> {
  const { model, tx } = call;
  const { parents, ...rule } = readThreshold(model);
  checkOneParent(parents);
  await takeTurn(tx);
  const columns = { ...rule, ...(await findParents(tx, parents)) };
  await checkConflict(tx, columns, undefined, parentText(parents));
  const position = await nextPosition(tx, 'thresholds');
  const uuid = call.newId();
  await insertThresholds(tx, [{ uuid, position, columns }]);
  return call.created(uuid, thresholdBody(await requireThreshold(tx, uuid)));
}

/** Level, cost, type and tenant are replaced, by defaults where absent; the group only when one is given. */
async function changeThreshold(call: ConfigCall): Promise<ConfigResponse> {
  const { model, tx } = call;
  const { parents, ...rule } = readThreshold(model);
  const uuid = call.text('threshold_id') ?? model.uuid('threshold_id');
  if (uuid === null) throw badRequest('Missing argument: "threshold_id"');
  await takeTurn(tx);
  const stored = await requireThreshold(tx, uuid);
  const { groupUuid } = parents;
  const group = groupUuid === null ? undefined : await requireName(tx, 'group', groupUuid, badRequest);
  const columns = {
    ...storedThresholdColumns(stored),
    ...rule,
    ...(group === undefined ? {} : { groupId: group.id }),
  };
  await checkConflict(tx, columns, stored.id, `Threshold_id '${uuid}'`);
  await updateThreshold(tx, stored.id, columns);
  return call.changed();
}

/** One tenant has a level of one parent once. Rules for everybody may repeat it: the last one counts. */
async function checkConflict(
  tx: SqlReader,
  { serviceId, fieldId, tenant, level }: ThresholdColumns,
  except: number | undefined,
  parent: string,
): Promise<void> {
  if (tenant === null) return;
  const sameParent =
    fieldId === null ? condition('rule.service_id = ?', serviceId) : condition('rule.field_id = ?', fieldId);
  const siblings = await readThresholds(tx, [sameParent, condition('rule.tenant_id = ?', tenant)]);
  if (!siblings.some((other) => other.id !== except && other.level.equals(level))) return;
  throw conflict(`Threshold '${level.toFixedScale()}' already exists for ${parent}, tenant: 'None'`);
}
