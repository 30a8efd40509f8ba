import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, realpath, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { stringify } from 'yaml';
import { Decimal } from '../../core/plugin-api/index.js';
import { ROOT, ratecat } from '../support/daemon.js';
import {
  clearAway,
  lastDue,
  type SmallDaemon,
  smallDaemon,
  startDaemon,
  statusOf,
  waitUntil,
} from '../support/small-daemon.js';
import { storedPrices } from '../support/stored-prices.js';

const run = promisify(execFile);
const EXAMPLE = join(ROOT, 'examples/ratecat-collector-weather');
const PERIODS = 6;
const START = lastDue() - PERIODS * 3600;
const STATIONS = { meadow: ['north', 'south'], hill: ['top'] };

/** What the packed example says about the weather. */
interface Weather {
  readonly METRICS: ReadonlyMap<string, object>;
  measure(question: object): bigint;
}

describe('a third-party plugin, packed and installed', () => {
  let scratch: string;
  let modules: string;
  let plugin: string;

  /** What `npm install` leaves behind, without the network and without compiling anything. */
  async function install(packageFolder: string): Promise<string> {
    const { stdout } = await run('npm', [
      'pack',
      packageFolder,
      '--ignore-scripts',
      '--json',
      '--loglevel=error',
      '--pack-destination',
      scratch,
    ]);
    const [{ name, filename }] = JSON.parse(stdout) as [{ name: string; filename: string }];
    const into = join(modules, name);
    await mkdir(into, { recursive: true });
    await run('tar', ['-xzf', join(scratch, filename), '-C', into, '--strip-components=1']);
    return into;
  }

  before(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'ratecat-pack-'));
    modules = join(scratch, 'node_modules');
    const host = await install(ROOT);
    await symlink(join(ROOT, 'node_modules'), join(host, 'node_modules'));
    plugin = await install(EXAMPLE);
  });
  after(async () => {
    await clearAway();
    await rm(scratch, { recursive: true, force: true });
  });

  async function newDaemon(metrics: object): Promise<SmallDaemon> {
    const daemon = await smallDaemon({
      start: START,
      scopes: Object.keys(STATIONS),
      change: {
        collector: { plugin: 'weather', options: { stations: STATIONS, since: START - 86_400 } },
      },
    });
    await symlink(modules, join(daemon.folder, 'node_modules'));
    await writeFile(join(daemon.folder, 'metrics.yml'), stringify({ metrics }));
    const half = { mappings: [{ type: 'flat', cost: '0.5', start: '2000-01-01' }] };
    const rules = { services: { rain: half, sunshine: half } };
    await writeFile(join(daemon.folder, 'rules.yml'), stringify(rules));
    return daemon;
  }

  it('consists of what it needs and nothing else', async () => {
    assert.deepEqual((await readdir(plugin)).sort(), ['README.md', 'package.json', 'src']);
    const host = await readdir(join(modules, 'ratecat'));
    for (const needed of ['package.json', 'LICENSE', 'dist', 'config'])
      assert.ok(host.includes(needed), needed);
    for (const odd of ['test', 'core', 'plugins', 'bench', '.ci']) assert.ok(!host.includes(odd), odd);
    const program = join(modules, 'ratecat/dist/bin/ratecat.js');
    assert.equal((await stat(program)).mode & 0o111, 0o111, 'the program is executable');
    const { stdout } = await run(program, ['--version']);
    assert.match(stdout, /^\d+\.\d+\.\d+\n$/);
  });

  it('is found by its bare name and rates periods, with its own copy of ratecat beside that of the program', async () => {
    const found = createRequire(join(plugin, 'src/index.js')).resolve('ratecat/plugin-api');
    assert.equal(
      await realpath(found),
      await realpath(join(modules, 'ratecat/dist/core/plugin-api/index.js')),
    );
    assert.ok(!(await realpath(found)).startsWith(await realpath(join(ROOT, 'dist'))), 'two copies');

    const daemon = await newDaemon({
      rain: { unit: 'mm', metadata: ['intensity'] },
      sunshine: { unit: 'h', factor: '1/3600', metadata: ['intensity'], extra_args: { intensity: 'heavy' } },
    });
    const list = await ratecat('plugins', 'list', '--config', daemon.config);
    assert.match(list.stdout, /^collector +weather +1 +found from \S+ +yes$/m);
    const up = startDaemon(daemon);
    const points = PERIODS * 2 * 3;
    const all = async () => (await storedPrices(daemon.url).catch(() => [])).length === points;
    await waitUntil('everything is rated', all, { daemon: up });
    const { code, stderr } = await up.stop();
    assert.equal(code, 0, stderr);
    assert.doesNotMatch(stderr, /WARN|ERROR/);

    const { METRICS, measure } = (await import(
      pathToFileURL(join(plugin, 'src/weather.js')).href
    )) as Weather;
    const expected: string[] = [];
    for (let begin = START; begin < START + PERIODS * 3600; begin += 3600) {
      for (const [scope, stations] of Object.entries(STATIONS)) {
        for (const metric of ['rain', 'sunshine']) {
          for (const station of stations) {
            const intensity = metric === 'rain' ? 'all' : 'heavy';
            const period = { begin, end: begin + 3600 };
            const question = { kind: METRICS.get(metric), seed: 'ratecat', station, period, intensity };
            const measured = Decimal.of(measure(question), -3);
            // 28 places, half to even: what an exact division by 3600 leaves.
            const quantity = metric === 'rain' ? measured : over(measured, 3600n);
            const price = quantity.times(Decimal.parse('0.5')).round().toStored();
            expected.push(`${scope} ${begin} ${metric} ${quantity} ${price}`);
          }
        }
      }
    }
    const stored = (await storedPrices(daemon.url)).map(
      ({ scope, begin, metric, quantity, price }) => `${scope} ${begin} ${metric} ${quantity} ${price}`,
    );
    assert.deepEqual([...stored].sort(), expected.sort());
    const range = ['--begin', '2020-01-01', '--end', '2100-01-01'];
    const explained = await ratecat('explain', '--json', ...range, '--config', daemon.config);
    assert.equal(explained.code, 0, explained.stdout);
    const agreeing = explained.stdout
      .trim()
      .split('\n')
      .filter((line) => JSON.parse(line).agrees === true);
    assert.equal(agreeing.length, points);
  });

  it("has its errors understood, although they come from another copy of ratecat's classes", async () => {
    const daemon = await newDaemon({ snow: { unit: 'cm' } });
    const up = startDaemon(daemon);
    await up.until(/scope is stuck.*WEATHER_METRIC_UNKNOWN/);
    assert.equal((await up.stop()).code, 0);
    const stuck = (await statusOf(daemon.config))!.find(({ state }) => state === 'stuck');
    assert.match(stuck?.reason ?? '', /There is no metric 'snow'; known are rain, sunshine/);
    assert.equal(stuck?.failures, 1, 'a rejection is not tried again and again');
  });

  it('has its wrong options reported with file, line and column', async () => {
    const daemon = await smallDaemon({
      change: { collector: { plugin: 'weather', options: { stations: { meadow: [] }, colour: 'blue' } } },
    });
    await symlink(modules, join(daemon.folder, 'node_modules'));
    const { code, stderr } = await ratecat('up', '--config', daemon.config);
    assert.equal(code, 78, stderr);
    assert.match(stderr, /ratecat\.yml:\d+:\d+: collector\.options\.stations\.meadow: /);
    assert.match(stderr, /ratecat\.yml:\d+:\d+: collector\.options\.colour: /);
  });

  it('passes its own tests with the packed conformance kit', async () => {
    await cp(join(EXAMPLE, 'test'), join(plugin, 'test'), { recursive: true });
    const { stdout } = await run(
      process.execPath,
      ['--test', '--test-reporter=tap', 'test/weather.test.js'],
      {
        cwd: plugin,
        // A test runner inside a test runner reports in the outer one's way.
        env: { ...process.env, NODE_TEST_CONTEXT: undefined, NODE_OPTIONS: '' },
      },
    );
    assert.match(stdout, /^# fail 0$/m);
    const passed = Number(/^# pass (\d+)$/m.exec(stdout)?.[1]);
    assert.ok(passed >= 10, `${passed} tests`);
  });
});

/** The quotient at 28 places, half to even. */
function over({ coefficient, exponent }: Decimal, divisor: bigint): Decimal {
  const scaled = coefficient * 10n ** BigInt(28 + exponent);
  const twice = (scaled % divisor) * 2n;
  const quotient = scaled / divisor;
  const up = twice > divisor || (twice === divisor && quotient % 2n === 1n);
  return Decimal.of(up ? quotient + 1n : quotient, -28);
}
