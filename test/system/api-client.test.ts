import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openDatabase } from '../../core/database/open-database.js';
import { differences } from '../golden/exchanges.js';
import { type ApiDaemon, type Cloud, prepareCloud, startApiDaemon } from '../support/api-daemon.js';
import { serviceInstalled } from '../support/require-service.js';
import { type Keystone, startKeystone } from '../support/services/keystone.js';
import { type Mariadb, startMariadb } from '../support/services/mariadb.js';

/** One command of the client, and what it printed against a running CloudKitty 17. */
interface RecordedCommand {
  readonly name: string;
  readonly api: '1' | '2';
  readonly words: readonly string[];
  /** Columns of the first row that later commands name. */
  readonly capture?: Readonly<Record<string, string>>;
  readonly code: number;
  readonly out: string;
  readonly err?: string;
}

interface ClientAnswer {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Commands that fail against the recorded release and work here, or the other way round, with the reason. */
const EXPLAINED: Readonly<Record<string, string>> = Object.fromEntries(
  [
    [
      'a rule that has begun may only be ended',
      ['v1-mapping-update', 'v1-mapping-get-after', 'v1-group-mappings', 'v1-script-update'],
    ],
    [
      'a rule that has begun may only be ended',
      ['v2-mapping-update', 'v2-mapping-get-after', 'v2-group-mappings', 'v2-script-update'],
    ],
    [
      'modules can be changed through version 2',
      ['v2-module-enable', 'v2-module-set-priority', 'v2-module-disable'],
    ],
    ['hours without points give no row', ['v2-summary-time']],
    ['orders are taken where this client sends them, and can be listed', ['v2-task-create', 'v2-task-get']],
    ['a frame holds the points of one tenant', ['v1-dataframes']],
  ].flatMap(([reason, names]) => (names as string[]).map((name) => [name, reason as string])),
);

/** 2026-01-01T00:00:00Z */
const JANUARY = 1_767_225_600;
const DAY = 86_400;

const [first, ...lines] = readFileSync(new URL('../golden/client-outputs.ndjson', import.meta.url), 'utf8')
  .trim()
  .split('\n');
const names = (JSON.parse(first!) as { vars: Record<string, string> }).vars;
const recorded = lines.map((line) => JSON.parse(line) as RecordedCommand);

if (serviceInstalled('mariadb', 'keystone', 'client')) {
  describe("CloudKitty's own command-line client", () => {
    let mariadb: Mariadb;
    let keystone: Keystone;
    let cloud: Cloud;
    let api: ApiDaemon;

    before(async () => {
      mariadb = await startMariadb();
      keystone = await startKeystone({ mariadb });
      cloud = await prepareCloud(keystone);
      const config = recorded.find(({ name }) => name === 'v1-info-config')!;
      api = await startApiDaemon({ keystone, mariadb, metrics: metricsOf(config.out) });
      await seedScopes();
    });

    after(async () => {
      await api?.stop();
      await keystone?.stop();
      await mariadb?.stop();
    });

    /** The scopes of the recorded installation; the daemon rates none of them, since its own list is empty. */
    async function seedScopes(): Promise<void> {
      const database = await openDatabase(api.databaseUrl);
      try {
        await database.transaction((tx) =>
          tx.insertRows({
            table: 'ratecat_scopes',
            columns: [
              'source',
              'scope_key',
              'scope_id',
              'fetcher',
              'collector',
              'watermark',
              'last_begin',
              'active',
              'toggled_at',
              'first_seen',
              'state',
            ],
            rows: [['golden-a', 9, 1] as const, ['golden-b', 9, 1] as const, ['golden-c', 1, 0] as const].map(
              ([id, days, active]) => {
                const rated = JANUARY + days * DAY;
                return [
                  'default',
                  'project_id',
                  id,
                  'source',
                  'prometheus',
                  rated,
                  rated - 3600,
                  active,
                  JANUARY,
                  JANUARY,
                  'gone',
                ];
              },
            ),
          }),
        );
      } finally {
        await database.close();
      }
    }

    it('prints what it prints against CloudKitty, command by command', async () => {
      const frames = join(api.folder, 'frames.json');
      await writeFile(frames, usageOf(cloud));
      const known: Record<string, string> = {
        frames,
        project_demo: cloud.projects.demo.id,
        project_other: cloud.projects.other.id,
      };
      const then: Record<string, string> = { ...names };
      const client = new Client(environmentOf(keystone));
      const unexplained: string[] = [];
      const needless: string[] = [];
      for (const command of recorded) {
        const words = command.words.map((word) =>
          word.replace(/\$\{(\w+)\}/g, (whole, name: string) => known[name] ?? whole),
        );
        const answer = await client.run(['--os-rating-api-version', command.api, ...words]);
        for (const [name, column] of Object.entries(command.capture ?? {})) {
          known[name] = firstRow(answer.out)[column]!;
          then[name] = firstRow(command.out)[column]!;
        }
        const { frames: _file, ...ids } = known;
        const found = compare(command, then, answer, ids);
        if (found.length > 0 && EXPLAINED[command.name] === undefined)
          unexplained.push(`${command.name} (${words.join(' ')})\n    ${found.join('\n    ')}`);
        if (found.length === 0 && EXPLAINED[command.name] !== undefined) needless.push(command.name);
      }
      await client.end();
      assert.equal(unexplained.join('\n'), '');
      assert.deepEqual(needless, [], 'explained differences that do not exist');
    });

    it('works as a plugin of the openstack client', async () => {
      const { code, out, err } = await runProgram('/usr/bin/openstack', [
        'rating',
        'module',
        'list',
        '-f',
        'json',
      ]);
      assert.equal(code, 0, err);
      const modules = (JSON.parse(out) as { Module: string }[]).map((row) => row.Module);
      assert.deepEqual(modules, ['hashmap', 'noop', 'pyscripts']);
    });

    async function runProgram(program: string, words: readonly string[]): Promise<ClientAnswer> {
      const child = spawn(program, words, {
        env: environmentOf(keystone),
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let [out, err] = ['', ''];
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        out += text;
      });
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        err += text;
      });
      const code = await new Promise<number>((resolve) =>
        child.on('close', (status) => resolve(status ?? -1)),
      );
      return { code, out, err };
    }
  });
}

/** The unmodified client in one process, one command after the other. */
class Client {
  readonly #child;
  readonly #answers: AsyncIterator<string>;

  constructor(environment: NodeJS.ProcessEnv) {
    const script = fileURLToPath(new URL('../support/run-client.py', import.meta.url));
    this.#child = spawn('/usr/bin/python3', [script], {
      env: environment,
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#answers = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  async run(words: readonly string[]): Promise<ClientAnswer> {
    this.#child.stdin.write(`${JSON.stringify(words)}\n`);
    const { value, done } = await this.#answers.next();
    assert.ok(done !== true, 'the client ended');
    return JSON.parse(value) as ClientAnswer;
  }

  async end(): Promise<void> {
    const closed = new Promise((resolve) => this.#child.on('close', resolve));
    this.#child.stdin.end();
    await closed;
  }
}

function firstRow(out: string): Readonly<Record<string, string>> {
  return (JSON.parse(out) as Record<string, string>[])[0]!;
}

function compare(
  command: RecordedCommand,
  recordedIds: Readonly<Record<string, string>>,
  answer: ClientAnswer,
  ids: Readonly<Record<string, string>>,
): readonly string[] {
  const asAnswer = ({ code, out, err = '' }: { code: number; out: string; err?: string }) => ({
    status: code,
    headers: {},
    // What a failing command says is the body of the answer, which the recorded exchanges compare.
    text: code === 0 ? sortedRows(out) : (/\(HTTP \d+\)/.exec(err)?.[0] ?? ''),
  });
  return differences(asAnswer(command), recordedIds, asAnswer(answer), ids);
}

/** Rows of a listing in an order that does not depend on ids. */
function sortedRows(out: string): string {
  try {
    const rows = JSON.parse(out) as unknown;
    if (!Array.isArray(rows)) return out;
    const withoutIds = (row: unknown) =>
      JSON.stringify(row).replace(/[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{32}/g, '');
    return JSON.stringify([...rows].sort((a, b) => (withoutIds(a) < withoutIds(b) ? -1 : 1)));
  } catch {
    return out.split('\n').sort().join('\n');
  }
}

function environmentOf(keystone: Keystone): NodeJS.ProcessEnv {
  return {
    PATH: '/usr/bin:/bin',
    HOME: '/nonexistent',
    LC_ALL: 'C.UTF-8',
    OS_CLIENT_CONFIG_FILE: '/nonexistent',
    OS_AUTH_URL: keystone.url,
    OS_IDENTITY_API_VERSION: '3',
    OS_AUTH_TYPE: 'password',
    OS_USERNAME: keystone.admin.name,
    OS_PASSWORD: keystone.admin.password,
    OS_PROJECT_NAME: keystone.admin.project,
    OS_USER_DOMAIN_NAME: 'Default',
    OS_PROJECT_DOMAIN_NAME: 'Default',
    OS_REGION_NAME: keystone.region,
    OS_INTERFACE: 'public',
  };
}

/** The metrics file of the recorded installation, from what `info config get` shows of it. */
function metricsOf(out: string): object {
  const rows = JSON.parse(out) as { Section: string; Value: unknown }[];
  return Object.fromEntries(
    rows.map(({ Section, Value }) => [Section, typeof Value === 'string' ? JSON.parse(Value) : Value]),
  );
}

/** Three hours of two projects, as they were pushed into the recorded installation. */
function usageOf({ projects: { demo, other } }: Cloud): string {
  const point = (unit: string, qty: number, price: number, groupby: object, metadata: object) => ({
    vol: { unit, qty },
    rating: { price },
    groupby,
    metadata,
  });
  const dataframes = [0, 1, 2].map((hour) => ({
    period: { begin: `2026-01-05T0${hour}:00:00Z`, end: `2026-01-05T0${hour + 1}:00:00Z` },
    usage: {
      compute: [
        point(
          'instance',
          1,
          0.1,
          { project_id: demo.id, id: 'vm1', user_id: 'u1' },
          { flavor_name: 'm1.tiny', vcpus: '1' },
        ),
        point(
          'instance',
          2.5,
          1.337,
          { project_id: demo.id, id: 'vm2', user_id: 'u2' },
          { flavor_name: 'm1.small', vcpus: '2' },
        ),
        point(
          'instance',
          3,
          0.25,
          { project_id: other.id, id: 'vm3', user_id: 'u3' },
          { flavor_name: 'm1.tiny', vcpus: '1' },
        ),
      ],
      volume_size: [
        point(
          'GiB',
          10 + hour,
          2.5,
          { project_id: demo.id, id: 'vol1', user_id: 'u1' },
          { volume_type: 'ssd' },
        ),
      ],
    },
  }));
  return JSON.stringify({ dataframes });
}
