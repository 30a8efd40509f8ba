import type { SqlDatabase } from '../../plugin-api/index.js';
import type { ApiResponse } from '../exchange.js';
import type { ApiServices } from '../services.js';
import type { V1Call } from './call.js';
import { badRequest, jsonAnswer, NO_CONTENT, notFound } from './faults.js';
import { authorize, type V1Method } from './method.js';

const INFOS = { argument: 'infos', attributes: ['name', 'enabled'] };
/** Rating modules and collectors share a table (spec: collector). */
const STATE_PREFIX = 'collector_';
/** Characters of a name in the tables. */
const LONGEST_NAME = 255;

/** `/v1/collector`: kept for clients that still ask; nothing is collected by it, as in the reference. */
export class CollectorConfig {
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  get methods(): readonly V1Method[] {
    const states = ['/collector/states', '/collector/states/:name', '/collector/:name/states'];
    return [
      { method: 'GET', path: '/collector', handle: async () => NO_CONTENT },
      {
        method: 'GET',
        path: '/collector/mappings',
        arguments: ['collector'],
        handle: (call) => this.#mappings(call),
      },
      { method: 'GET', path: '/collector/mappings/:service', handle: (call) => this.#mapping(call) },
      ...['/collector/mappings', '/collector/mappings/:collector/:service'].map(
        (path): V1Method => ({
          method: 'POST',
          path,
          arguments: ['collector', 'service'],
          handle: (call) => this.#map(call),
        }),
      ),
      ...['/collector/mappings', '/collector/mappings/:service'].map(
        (path): V1Method => ({
          method: 'DELETE',
          path,
          arguments: ['service'],
          handle: (call) => this.#unmap(call),
        }),
      ),
      ...states.flatMap((path): V1Method[] => [
        { method: 'GET', path, arguments: ['name'], handle: (call) => this.#state(call) },
        { method: 'PUT', path, arguments: ['name'], model: INFOS, handle: (call) => this.#setState(call) },
      ]),
    ];
  }

  async #mappings(call: V1Call): Promise<ApiResponse> {
    const collector = call.text('collector');
    authorize(this.#services, 'collector:list_mappings', call.identity);
    const mappings = await readMappings(this.#services.database);
    return jsonAnswer({
      mappings: mappings.filter((mapping) => collector === undefined || mapping.collector === collector),
    });
  }

  async #mapping(call: V1Call): Promise<ApiResponse> {
    const service = call.required('service');
    authorize(this.#services, 'collector:get_mapping', call.identity);
    const [mapping] = await readMappings(this.#services.database, service);
    if (mapping === undefined) throw unmapped(service);
    return jsonAnswer(mapping);
  }

  async #map(call: V1Call): Promise<ApiResponse> {
    const collector = named('collector', call.required('collector'));
    const service = named('service', call.required('service'));
    authorize(this.#services, 'collector:manage_mapping', call.identity);
    await this.#services.database.transaction((tx) =>
      tx.insertRows({
        table: 'ratecat_collector_mappings',
        columns: ['service', 'collector'],
        rows: [[service, collector]],
        onConflict: { key: ['service'], replace: ['collector'] },
      }),
    );
    return jsonAnswer({ service, collector });
  }

  async #unmap(call: V1Call): Promise<ApiResponse> {
    const service = call.required('service');
    authorize(this.#services, 'collector:manage_mapping', call.identity);
    const sql = 'DELETE FROM ratecat_collector_mappings WHERE service = ?';
    const { affected } = await this.#services.database.transaction((tx) => tx.execute(sql, [service]));
    if (affected === 0) throw unmapped(service);
    return NO_CONTENT;
  }

  async #state(call: V1Call): Promise<ApiResponse> {
    const name = call.required('name');
    authorize(this.#services, 'collector:get_state', call.identity);
    const states = await this.#services.moduleStates.all();
    return jsonAnswer({ name, enabled: states.get(STATE_PREFIX + name)?.enabled ?? false });
  }

  /** The name in the body counts when the address has none. */
  async #setState(call: V1Call): Promise<ApiResponse> {
    const inBody = call.model.text('name');
    const enabled = call.model.requiredFlag('enabled');
    const name = call.text('name') ?? inBody;
    if (name === undefined || name === '') throw badRequest('Missing argument: "name"');
    named('name', STATE_PREFIX + name);
    authorize(this.#services, 'collector:update_state', call.identity);
    await this.#services.moduleStates.change(STATE_PREFIX + name, { enabled });
    return jsonAnswer({ name, enabled });
  }
}

type CollectorMapping = { readonly service: string; readonly collector: string };

async function readMappings(database: SqlDatabase, service?: string): Promise<readonly CollectorMapping[]> {
  const where = service === undefined ? '' : 'WHERE service = ?';
  const rows = await database.query(
    `SELECT service, collector FROM ratecat_collector_mappings ${where} ORDER BY service`,
    service === undefined ? [] : [service],
  );
  return rows.map(([name, collector]) => ({ service: String(name), collector: String(collector) }));
}

function unmapped(service: string) {
  return notFound(`No mapping for service: ${service}`);
}

function named(argument: string, name: string): string {
  if ([...name].length <= LONGEST_NAME) return name;
  throw badRequest(`Invalid input for field/attribute ${argument}. Longer than ${LONGEST_NAME} characters.`);
}
