import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { systemClock } from '../../core/daemon/system-clock.js';
import { type OpenedServer, openApiServer } from '../support/api-server.js';
import { describeOnEngines } from '../support/engines.js';
import { differences, type Exchange, type Recording, readRecording } from './exchanges.js';
import { EXPLAINED_V1, EXPLAINED_V2 } from './explained.js';

const PROFILES = [
  { name: 'version 2 storage', file: 'api-v2-storage.ndjson', explained: EXPLAINED_V2, seedsRows: false },
  { name: 'version 1 storage', file: 'api-v1-storage.ndjson', explained: EXPLAINED_V1, seedsRows: true },
];

describeOnEngines('exchanges recorded from CloudKitty', (engine) => {
  for (const { name, file, explained, seedsRows } of PROFILES) {
    describe(name, () => {
      const recording = readRecording(new URL(file, import.meta.url));
      let server: OpenedServer;
      before(async () => {
        server = await openApiServer({ url: await engine.newDatabase(), ...configuration(recording) });
        await seed(server, recording, seedsRows);
      });
      after(() => server.close());

      it('gives the same answers, but for the differences that are explained', async () => {
        const replay = new Replay(server, recording);
        const unexplained: string[] = [];
        const needless: string[] = [];
        for (const exchange of recording.exchanges) {
          const found = await replay.next(exchange);
          const reason = explained[exchange.name];
          if (found.length > 0 && reason === undefined)
            unexplained.push(
              `${exchange.name} (${exchange.method} ${exchange.path})\n    ${found.join('\n    ')}`,
            );
          if (found.length === 0 && reason !== undefined) needless.push(exchange.name);
        }
        assert.ok(recording.exchanges.length > 300, 'the recording was read');
        assert.equal(unexplained.join('\n'), '', 'unexplained differences');
        assert.deepEqual(needless, [], 'explained differences that do not exist');
      });
    });
  }
});

/** One run of the exchanges, which remembers the ids that answers bring. */
class Replay {
  readonly #server: OpenedServer;
  readonly #recording: Recording;
  readonly #names: Record<string, string>;

  constructor(server: OpenedServer, recording: Recording) {
    this.#server = server;
    this.#recording = recording;
    this.#names = projectsOf(recording);
  }

  /** What differs in the next answer. */
  async next(exchange: Exchange): Promise<readonly string[]> {
    const text = exchange.raw ?? (exchange.body === undefined ? undefined : JSON.stringify(exchange.body));
    const payload = text === undefined ? undefined : this.#named(text);
    const response = await this.#server.app.inject({
      method: exchange.method as 'GET',
      url: this.#named(exchange.path),
      headers: {
        host: '127.0.0.1:8889',
        accept: 'application/json',
        ...(exchange.as === 'none' ? {} : { 'x-auth-token': exchange.as }),
        ...(payload === undefined ? {} : { 'content-type': 'application/json' }),
        ...exchange.headers,
      },
      ...(payload === undefined ? {} : { payload }),
    });
    const headers = response.headers as Readonly<Record<string, string | undefined>>;
    for (const [name, place] of Object.entries(exchange.capture ?? {})) {
      const value =
        place === '@location' ? headers.location?.split('/').pop() : valueAt(response.body, place);
      if (typeof value === 'string') this.#names[name] = value;
    }
    const { status, responseHeaders, text: expected } = exchange;
    return differences(
      { status, headers: responseHeaders, text: expected },
      this.#recording.names,
      { status: response.statusCode, headers, text: response.body },
      this.#names,
    );
  }

  #named(text: string): string {
    return text.replace(/\$\{(\w+)\}/g, (whole, name: string) => this.#names[name] ?? whole);
  }
}

/** The recorded projects keep their ids: they stand in stored data. */
function projectsOf({ names }: Recording): Record<string, string> {
  return Object.fromEntries(Object.entries(names).filter(([name]) => name.startsWith('project_')));
}

function valueAt(body: string, place: string): unknown {
  try {
    return place
      .split('.')
      .reduce<unknown>(
        (value, key) => (value as Record<string, unknown> | undefined)?.[key],
        JSON.parse(body),
      );
  } catch {
    return undefined;
  }
}

/** The configuration of the recorded installation, as far as answers show it. */
function configuration(recording: Recording) {
  const info = recording.exchanges.find(({ name }) => name === 'v1-info-config')!;
  return {
    files: { 'metrics.yml': JSON.parse(info.text) as object },
    clock: { ...systemClock, now: () => STARTED },
    change: {
      // As an imported installation: JSON numbers are read as the reference reads them.
      compat: 'strict',
      collect: { period: 3600, scope_key: 'project_id', metrics: './metrics.yml' },
      fetcher: { plugin: 'source', options: { scopes: ['nobody'] } },
      collector: { plugin: 'prometheus', options: { prometheus_url: 'http://127.0.0.1:9/api/v1' } },
    },
    tokens: Object.fromEntries(
      ['admin', 'demo', 'other'].map((name) => [
        name,
        {
          projectId: recording.names[`project_${name}`]!,
          roles: name === 'admin' ? ['admin', 'member', 'reader'] : ['member', 'reader'],
        },
      ]),
    ),
    challenge: recording.exchanges.find(({ name }) => name === 'auth-no-token')!.responseHeaders[
      'www-authenticate'
    ]!,
  };
}

/** Time stands still: a rule is as new when it is changed as when it was made. */
const STARTED = Math.floor(Date.now() / 1000) * 1000;
const DAY = 86_400;
/** 2026-01-01T00:00:00Z */
const JANUARY = 1_767_225_600;

/** Three scopes; where the recording could not push its rated points, these too. */
async function seed({ services, database, app }: OpenedServer, recording: Recording, rows: boolean) {
  const identity = { source: 'default', fetcher: 'source', collector: 'prometheus' };
  const scopes = ['golden-a', 'golden-b', 'golden-c'].map((id) => ({ key: 'project_id', id }));
  await services.states.add(identity, scopes, JANUARY);
  await database.transaction(async (tx) => {
    await tx.execute('UPDATE ratecat_scopes SET watermark = ?, last_begin = ?', [
      JANUARY + 9 * DAY + 3600,
      JANUARY + 9 * DAY,
    ]);
    await tx.execute(
      "UPDATE ratecat_scopes SET active = 0, watermark = ?, last_begin = ? WHERE scope_id = 'golden-c'",
      [JANUARY + DAY + 3600, JANUARY + DAY],
    );
  });
  if (!rows) return;
  const { project_demo, project_other } = recording.names;
  const response = await app.inject({
    method: 'POST',
    url: '/v2/dataframes',
    headers: { 'x-auth-token': 'admin', 'content-type': 'application/json' },
    payload: JSON.stringify({ dataframes: ratedFrames(project_demo!, project_other!) }),
  });
  assert.equal(response.statusCode, 204, response.body);
}

/** The rows that the version 1 storage of the recorded installation held. */
function ratedFrames(demo: string, other: string) {
  const point = (unit: string, qty: string, price: string, groupby: object, metadata: object) => ({
    vol: { unit, qty },
    rating: { price },
    groupby,
    metadata,
  });
  const frame = (hour: number, usage: object) => ({
    period: { begin: `2026-01-05T0${hour}:00:00Z`, end: `2026-01-05T0${hour + 1}:00:00Z` },
    usage,
  });
  const vm = (project: string, id: string, user: string) => ({ project_id: project, id, user_id: user });
  const hours = [0, 1, 2].map((hour) =>
    frame(hour, {
      compute: [
        point('instance', '1', '0.1', vm(demo, 'vm1', 'u1'), { flavor_name: 'm1.tiny', vcpus: '1' }),
        point('instance', '2.5', '1.337', vm(demo, 'vm2', 'u2'), { flavor_name: 'm1.small', vcpus: '2' }),
        point('instance', '3', '0.12345678901234567890', vm(other, 'vm3', 'u3'), {
          flavor_name: 'm1.tiny',
          vcpus: '1',
        }),
      ],
      volume_size: [
        point('GiB', String(10 + hour), '2.5', vm(demo, 'vol1', 'u1'), { volume_type: 'ssd' }),
        point('GiB', '20.000000001', '0', vm(other, 'vol2', 'u3'), { volume_type: '' }),
      ],
    }),
  );
  return [...hours, frame(3, { image_size: [point('MiB', '0.3', '0.1', vm(demo, 'img1', 'u1'), {})] })];
}
