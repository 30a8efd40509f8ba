import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { exitCodeOfFindings } from '../../../core/cli/doctor.js';
import type { Config } from '../../../core/config/config.js';
import type { Services } from '../../../core/daemon/composition-root.js';
import { lookAtClocks } from '../../../core/doctor/clocks.js';
import type { Configured } from '../../../core/doctor/configuration.js';
import { lookAtPrivileges } from '../../../core/doctor/database-privileges.js';
import { type DiskSpace, lookAtDisk } from '../../../core/doctor/disk.js';
import { findingsOfError } from '../../../core/doctor/error-findings.js';
import { Examination } from '../../../core/doctor/examination.js';
import { type Finding, worstLevel } from '../../../core/doctor/finding.js';
import { lookAtProcessors } from '../../../core/doctor/processors.js';
import { newestDue } from '../../../core/doctor/sampling.js';
import { lookAtStored } from '../../../core/doctor/stored.js';
import {
  ConfigError,
  Decimal,
  RejectedError,
  type SqlDatabase,
  type Storage,
  UnavailableError,
} from '../../../core/plugin-api/index.js';
import type { Pipeline } from '../../../core/processing/pipeline.js';
import type { ScopeState } from '../../../core/scopes/scope-states.js';
import { VirtualClock } from '../../../core/testkit/fakes.js';

const START = Date.UTC(2026, 5, 1);

function newExamination(clock = new VirtualClock(START)) {
  return { clock, examination: new Examination({ clock, signal: new AbortController().signal }) };
}

function ids({ findings }: Examination): readonly string[] {
  return findings.map(({ level, id }) => `${level} ${id}`);
}

describe('an examination', () => {
  it('does not make a check whose needs are missing, and says why', async () => {
    const { examination } = newExamination();
    const check = { area: 'clock', what: 'the server clock', needs: { database: undefined } } as const;
    const result = await examination.look(check, async () => assert.fail('it was made'));
    assert.equal(result, undefined);
    assert.equal(
      examination.findings[0]?.what,
      'the server clock: not looked at, because the database cannot be used',
    );
    assert.equal(examination.findings[0]?.level, 'skipped');
  });

  it('ends a check that takes too long, and does not hear what it says later', async () => {
    const { clock, examination } = newExamination();
    let goOn = () => {};
    const check = { area: 'scopes', what: 'the scopes', needs: {}, limitMs: 5_000 } as const;
    const looking = examination.look(check, async (_, say) => {
      await new Promise<void>((resolve) => {
        goOn = resolve;
      });
      say.ok('too-late', 'what nobody waits for any more');
    });
    await turn();
    clock.wakeNext();
    assert.equal(await looking, undefined);
    goOn();
    await turn();
    assert.deepEqual(ids(examination), ['fail timeout']);
    assert.match(examination.findings[0]!.what, /The check of the scopes gave no answer within 5 s/);
    assert.ok(examination.findings[0]!.fix);
    assert.equal(examination.findings[0]!.kind, 'unavailable');
  });

  it('reports what a check throws and goes on', async () => {
    const { examination } = newExamination();
    await examination.look({ area: 'scopes', what: 'the scopes', needs: {} }, async () => {
      throw new TypeError('x is not a function');
    });
    const check = { area: 'disk', what: 'the room', needs: {} } as const;
    assert.equal(await examination.look(check, async () => 7), 7);
    assert.deepEqual(ids(examination), ['fail unexpected-error']);
    assert.match(examination.findings[0]!.what, /x is not a function/);
  });
});

describe('findings of errors', () => {
  it('have a name, the message, and its advice apart', () => {
    const error = new RejectedError(
      'RATECAT_DATABASE_REFUSED',
      "The server refused user 'a' (1045: denied). Check user and password in database.url.",
    );
    assert.deepEqual(findingsOfError('database', error), [
      {
        area: 'database',
        level: 'fail',
        id: 'database-refused',
        what: "The server refused user 'a' (1045: denied).",
        fix: 'Check user and password in database.url.',
        code: 'RATECAT_DATABASE_REFUSED',
        kind: 'rejected',
      },
    ]);
  });

  it('never hold the password of a URL', () => {
    const error = new UnavailableError('RATECAT_X', 'no answer from mysql://me:sesame@db/x');
    const [found] = findingsOfError('database', error);
    assert.match(found!.what, /mysql:\/\/me:\*\*\*@db/);
    assert.ok(found!.fix, 'there is advice where the message has none');
  });
});

describe('the exit code', () => {
  const finding = (level: Finding['level'], kind?: Finding['kind']): Finding => ({
    area: 'database',
    level,
    id: 'x',
    what: 'x',
    kind,
  });

  it('is 0 without problems and 1 with warnings only', () => {
    assert.equal(exitCodeOfFindings([]), 0);
    assert.equal(exitCodeOfFindings([finding('ok'), finding('skipped')]), 0);
    assert.equal(exitCodeOfFindings([finding('warn'), finding('ok')]), 1);
  });

  it('is that of the first failure', () => {
    assert.equal(
      exitCodeOfFindings([finding('warn'), finding('fail', 'rejected'), finding('fail', 'config')]),
      77,
    );
    assert.equal(exitCodeOfFindings([finding('fail', 'unavailable')]), 69);
    assert.equal(exitCodeOfFindings([finding('fail', 'data')]), 65);
    const [broken] = findingsOfError('configuration', new ConfigError('RATECAT_X', 'wrong'));
    assert.equal(exitCodeOfFindings([broken!]), 78);
  });

  it('goes by the worst level', () => {
    assert.equal(worstLevel([finding('ok'), finding('fail'), finding('warn')]), 'fail');
  });
});

describe('the privileges of a MySQL user', () => {
  /** A server that refuses statements of this kind and lists these grants. */
  async function look(name: string, refused: RegExp, grants: readonly string[] = []) {
    const { examination } = newExamination();
    const execute = async (sql: string) => {
      if (refused.test(sql)) throw new RejectedError('RATECAT_DATABASE_REFUSED', 'denied');
    };
    const database = {
      dialect: { engine: 'mysql' },
      transaction: (work: (tx: unknown) => Promise<unknown>) => work({ execute }),
      query: async (sql: string) =>
        sql === 'SHOW GRANTS' ? grants.map((line) => [line]) : [["o'`neil@10.%"]],
    } as unknown as SqlDatabase;
    const url = `mysql://u:p@db/${encodeURIComponent(name)}`;
    const config = { database: { url }, dataFolder: '/' } as unknown as Config;
    await examination.look({ area: 'database', what: 'the privileges', needs: {} }, (_, say) =>
      lookAtPrivileges(database, config, say),
    );
    const [found] = examination.findings;
    return `${found?.id}: ${found?.fix ?? ''}`;
  }

  it('are granted by SQL that means what it says, whatever the names are', async () => {
    assert.equal(
      await look('a_b`c', /^(UPDATE|DELETE)/),
      'database-privilege-missing: Run as an administrator of the database: ' +
        "GRANT UPDATE, DELETE ON `a\\_b``c`.* TO `o'``neil`@`10.%`;",
    );
  });

  const some = 'SELECT, INSERT, UPDATE, DELETE';
  const grants: readonly (readonly [lines: readonly string[], isMissing: boolean])[] = [
    [[`GRANT ${some} ON \`a_b\`.* TO u`], true],
    [[`GRANT ${some} ON "a\\_b".* TO u`], true],
    [['GRANT USAGE ON *.* TO u', `GRANT ${some} ON \`a_\\_\`.* TO u`], false],
    [['GRANT USAGE ON *.* TO u', `GRANT ${some} ON \`a%\`.* TO u`], true],
    [['GRANT ALL PRIVILEGES ON `a__`.* TO u'], false],
    [['GRANT CREATE, ALTER, INDEX, DROP ON *.* TO u', `GRANT ${some} ON \`a_b\`.* TO u`], false],
    [['GRANT `role` TO u', `GRANT ${some} ON \`a_b\`.* TO u`], false],
    [['GRANT USAGE ON *.* TO u'], false],
  ];
  for (const [lines, isMissing] of grants) {
    it(`${isMissing ? 'lack' : 'are not said to lack'} something for upgrades with ${lines.join('; ')}`, async () => {
      const id = isMissing ? 'database-privilege-for-upgrades' : 'database-writable';
      assert.match(await look('a_b', /^$/, lines), new RegExp(`^${id}:`));
    });
  }
});

describe('the clock', () => {
  const NOW = START / 1000;

  async function look(known: { server?: number; newest?: number; scope?: string }, start = START) {
    const { clock, examination } = newExamination(new VirtualClock(start));
    const query = async (sql: string) => {
      if (sql.includes('UNIX_TIMESTAMP')) return [[known.server!]];
      return known.newest === undefined ? [] : [['cloud', known.scope ?? 'alpha', known.newest]];
    };
    const engine = known.server === undefined ? 'sqlite' : 'mysql';
    const database = { dialect: { engine }, query } as unknown as SqlDatabase;
    const configured = { config: { compat: 'fixed' } } as unknown as Configured;
    await lookAtClocks(examination, clock, configured, {
      database,
      services: { database } as unknown as Services,
    });
    return examination.findings.filter(({ level }) => level !== 'ok');
  }

  it('may differ from that of the database server by a minute', async () => {
    assert.deepEqual(await look({ server: NOW - 60 }), []);
    const [ahead] = await look({ server: NOW - 61 });
    assert.equal(`${ahead?.level} ${ahead?.id}`, 'warn clock-differs');
    assert.match(ahead!.what, /61 s ahead of that of the database server/);
    const [behind] = await look({ server: NOW + 601 });
    assert.equal(`${behind?.level} ${behind?.id}`, 'fail clock-differs');
    assert.match(behind!.what, /601 s behind/);
  });

  it('must not be before what is rated', async () => {
    assert.deepEqual(await look({ newest: NOW }), []);
    const [alone] = await look({ newest: NOW + 1 });
    assert.equal(alone?.id, 'rated-beyond-clock');
    assert.match(alone!.fix ?? '', /^Set the clock of this machine/);
    const [sure] = await look({ newest: NOW + 3600, server: NOW });
    assert.match(sure!.what, /and the database server's/);
    assert.match(sure!.fix ?? '', /^The scope waits until then/);
    assert.match(sure!.fix ?? '', / ratecat scopes reset --scope alpha --to 2026-06-01T00:00:00Z /);
    const [hostile] = await look({ newest: NOW + 1, scope: '-a; rm -rf ~' });
    assert.match(hostile!.fix ?? '', / --scope='-a; rm -rf ~' --to /);
  });

  it('must not be one that was never set', async () => {
    const found = await look({}, Date.UTC(1970, 0, 2));
    assert.deepEqual(
      found.map(({ id }) => id),
      ['clock-implausible'],
    );
  });
});

describe('the disk', () => {
  const GIB = 1024 ** 3;
  const configured = {
    config: { dataFolder: '/tmp', database: { url: 'sqlite:ratecat.db' } },
  } as unknown as Configured;

  async function look(space: Partial<DiskSpace>): Promise<string> {
    const { examination } = newExamination();
    await lookAtDisk(examination, configured, async () => ({
      free: 50 * GIB,
      total: 100 * GIB,
      freeFiles: 1000,
      ...space,
    }));
    assert.equal(examination.findings.length, 1, 'one folder');
    return ids(examination).join();
  }

  it('is named when it is nearly full, full, or out of inodes', async () => {
    assert.equal(await look({}), 'ok disk-room');
    assert.equal(await look({ freeFiles: undefined }), 'ok disk-room');
    assert.equal(await look({ free: GIB - 1 }), 'warn disk-scarce');
    assert.equal(await look({ free: GIB - 1, total: 2 * GIB }), 'ok disk-room', 'a small disk, half empty');
    assert.equal(await look({ free: 99 * 1024 * 1024 }), 'fail disk-full');
    assert.equal(await look({ freeFiles: 0 }), 'fail disk-full');
  });
});

describe('processors', () => {
  const state = (change: Partial<ScopeState> = {}) =>
    ({ row: 1, heartbeat: 5, fence: 2, ...change }) as ScopeState;

  async function look(
    before: readonly ScopeState[],
    after: readonly ScopeState[],
    due = true,
  ): Promise<string> {
    const { examination } = newExamination();
    const services = { states: { list: async () => after } } as unknown as Services;
    await lookAtProcessors(examination, { services, before, due: () => due, isAlive: () => true });
    return ids(examination).join();
  }

  it('are known by what they moved, by the leases they hold, or by nothing being due', async () => {
    assert.equal(await look([state()], [state({ heartbeat: 6 })]), 'ok processor-at-work');
    assert.equal(await look([state()], [state()]), 'warn no-processor');
    assert.equal(await look([state()], [state()], false), 'ok no-work');
    assert.equal(
      await look([state()], [state({ owner: 'elsewhere.example:12:ab' })]),
      'ok processor-elsewhere',
    );
  });
});

describe('the newest due period', () => {
  it('is over, lies on the grid and has waited', () => {
    const rule = { periodSeconds: 3600, waitPeriods: 2, compat: 'fixed' } as const;
    assert.deepEqual(newestDue(7200, 0, rule), { begin: 0, end: 3600 });
    assert.deepEqual(newestDue(10_799, 0, rule), { begin: 0, end: 3600 });
    assert.deepEqual(newestDue(10_800, 0, rule), { begin: 3600, end: 7200 });
    assert.deepEqual(newestDue(10_800, 600, rule), { begin: 600, end: 4200 });
  });

  it('is not one that has just ended where the reference would wait a second longer', () => {
    const rule = { periodSeconds: 3600, waitPeriods: 2, compat: 'strict' } as const;
    assert.deepEqual(newestDue(10_800, 0, rule), { begin: 0, end: 3600 });
    assert.deepEqual(newestDue(10_801, 0, rule), { begin: 3600, end: 7200 });
  });
});

describe('metrics of a collector that is not asked', () => {
  const metric = (name: string) => ({ metric: { name, ratedName: name } });
  const pipeline = { source: 'files', metrics: ['cpu', 'disk', 'vmm'].map(metric) } as unknown as Pipeline;
  const known = [
    { source: 'files', scope: { key: 'project_id', id: 'alpha' }, lastBegin: 0 },
  ] as unknown as ScopeState[];

  function storageWith(frames: readonly object[]): Storage {
    return {
      async *readPeriods() {
        yield* frames;
      },
    } as unknown as Storage;
  }

  it('are judged by the newest stored periods', async () => {
    const { examination } = newExamination();
    const point = { descriptor: { metric: 'cpu' }, quantity: Decimal.parse('1'), price: Decimal.parse('7') };
    const frame = {
      scope: known[0]!.scope,
      period: { begin: 0, end: 3600 },
      points: [point],
      gaps: [{ metric: 'disk', reason: 'the reader was away' }],
    };
    const parts = { where: undefined, pipeline, known, storage: storageWith([frame]) };
    const points = await lookAtStored(examination, parts);
    assert.deepEqual(ids(examination), [
      'ok metric-stored',
      'warn metric-unmeasurable',
      'warn metric-nothing',
    ]);
    assert.match(examination.findings[1]!.what, /'disk' could not be measured: the reader was away/);
    assert.match(examination.findings[2]!.what, /'vmm' is not in the newest periods/);
    assert.deepEqual(
      points?.map(({ points: own }) => own.map(({ price }) => price.toString())),
      [['0']],
      'the price is tried anew',
    );
  });

  it('are left alone while nothing is stored', async () => {
    const { examination } = newExamination();
    const parts = { where: undefined, pipeline, known, storage: storageWith([]) };
    assert.equal(await lookAtStored(examination, parts), undefined);
    assert.deepEqual(ids(examination), ['skipped nothing-stored']);
  });
});
