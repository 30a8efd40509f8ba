import { randomUUID } from 'node:crypto';
import { type ClosableDatabase, openDatabase } from '../../../core/database/open-database.js';
import type { ConfigRoute, JsonValue, RatingModule } from '../../../core/plugin-api/index.js';
import { fakeContext } from '../../../core/testkit/fakes.js';
import hashmap from '../../../plugins/rating/hashmap/index.js';

export const HOST = 'https://rating.example/v1/rating/module_config/hashmap';
/** 2026-01-01T00:00:00Z */
export const NOW = 1_767_225_600;

/** The attributes that tests look at; which of them are there depends on the answer. */
export interface AnswerBody {
  readonly faultcode: string;
  readonly faultstring: string;
  readonly debuginfo: null;
  readonly service_id: string;
  readonly field_id: string;
  readonly group_id: string;
  readonly mapping_id: string;
  readonly threshold_id: string;
  readonly name: string;
  readonly cost: string;
  readonly start: string;
  readonly end: string;
  readonly created_by: string;
  readonly mappings: readonly AnswerBody[];
  readonly thresholds: readonly AnswerBody[];
}

export interface Answer {
  readonly status: number;
  readonly location: string | undefined;
  readonly body: AnswerBody;
}

export async function openHashmapDatabase(url = 'sqlite::memory:'): Promise<ClosableDatabase> {
  const database = await openDatabase(url);
  for (const migration of hashmap.migrations!)
    for (const statement of migration.statements(database.dialect))
      await database.transaction((tx) => tx.execute(statement));
  return database;
}

/** Removes every rule, service, field and group. */
export async function clearRules(database: ClosableDatabase): Promise<void> {
  await database.transaction(async (tx) => {
    await tx.execute('DELETE FROM ratecat_hashmap_services');
    await tx.execute('DELETE FROM ratecat_hashmap_groups');
  });
}

/** Calls the configuration routes as the host does: one transaction per call. */
export class ConfigApi {
  readonly database: ClosableDatabase;
  readonly module: RatingModule;
  now = NOW;
  userId: string | undefined = 'operator';

  constructor(database: ClosableDatabase, compat: 'strict' | 'fixed' = 'fixed') {
    this.database = database;
    this.module = hashmap.create({}, fakeContext({ compat }));
  }

  async request(method: ConfigRoute['method'], target: string, body?: unknown): Promise<Answer> {
    const url = new URL(`${HOST}${target}`);
    const path = url.pathname.slice(new URL(HOST).pathname.length);
    const { route, parameters } = this.#find(method, path);
    const query = new Map<string, readonly string[]>();
    for (const name of url.searchParams.keys()) query.set(name, url.searchParams.getAll(name));
    const { now } = this;
    const answer = await this.database.transaction((tx) =>
      route.handle(
        {
          parameters,
          query,
          body,
          url: url.href,
          caller: { userId: this.userId, projectId: 'p' },
          now,
          newId: randomUUID,
          tx,
        },
        new AbortController().signal,
      ),
    );
    return {
      status: answer.status,
      location: answer.headers?.Location,
      body: answer.body as unknown as AnswerBody,
    };
  }

  /** Posts and gives the new object; fails when it was not created. */
  async create(target: string, body: Record<string, unknown>): Promise<AnswerBody> {
    const answer = await this.request('POST', target, body);
    if (answer.status !== 201) throw new Error(`${answer.status}: ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  async rules(): Promise<JsonValue> {
    return this.module.loadRules!(this.database, new AbortController().signal);
  }

  #find(method: string, path: string) {
    for (const route of this.module.configRoutes!) {
      if (route.method !== method) continue;
      const pattern = new RegExp(`^${route.path.replace(/:(\w+)/g, '(?<$1>[^/]+)')}$`);
      const match = pattern.exec(path);
      if (match !== null) return { route, parameters: { ...match.groups } };
    }
    throw new Error(`no route for ${method} ${path}`);
  }
}
