import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { ratecat } from '../support/daemon.js';
import {
  clearAway,
  FIXTURES,
  lastDue,
  periodsStored,
  type SmallDaemon,
  smallDaemon,
  startDaemon,
  statusOf,
  waitUntil,
} from '../support/small-daemon.js';
import { storedPrices } from '../support/stored-prices.js';

after(clearAway);

const START = lastDue() - 4 * 3600;

function newDaemon(change: object): Promise<SmallDaemon> {
  return smallDaemon({ start: START, change });
}

function fixture(name: string, options: object = {}): object {
  return { plugin: join(FIXTURES, 'plugins', name), options };
}

const misbehaving = (options: object) => fixture('misbehaving.mjs', options);

/** Writes a package beside the configuration. */
async function install({ folder }: SmallDaemon, name: string, manifest: object | string): Promise<void> {
  const into = join(folder, 'node_modules', name);
  await mkdir(into, { recursive: true });
  const text =
    typeof manifest === 'string' ? manifest : JSON.stringify({ name, type: 'module', ...manifest });
  await writeFile(join(into, 'package.json'), text);
  await writeFile(join(into, 'index.js'), 'export default {};\n');
}

interface Refusal {
  readonly what: string;
  readonly collector: object;
  readonly says: RegExp;
  readonly code?: number;
  /** The whole start must end within this time. */
  readonly withinMs?: number;
  readonly prepare?: (daemon: SmallDaemon) => Promise<void>;
  /** Found only when the daemon really starts. */
  readonly startOnly?: boolean;
}

const REFUSALS: readonly Refusal[] = [
  {
    what: 'a name that nothing stands behind',
    collector: { plugin: 'promtheus' },
    says: /ratecat\.yml:\d+:\d+: collector\.plugin: RATECAT_PLUGIN_NOT_FOUND: No collector plugin 'promtheus'; did you mean 'prometheus'\?.*Tried: ratecat-collector-promtheus and promtheus from .*Install|install the package beside/,
  },
  {
    what: 'a file that is not there',
    collector: { plugin: './plugins/none.js' },
    says: /RATECAT_PLUGIN_NOT_FOUND: .*Tried: \/\S+\/plugins\/none\.js/,
  },
  {
    what: 'a module of Node itself',
    collector: { plugin: 'fs/promises' },
    says: /RATECAT_PLUGIN_NOT_FOUND: No collector plugin 'fs\/promises'/,
  },
  {
    what: 'a package that is no plugin',
    collector: { plugin: 'undici' },
    says: /RATECAT_PLUGIN_BROKEN: The collector plugin 'undici' .* has no definition\. .*definePlugin/,
  },
  {
    what: 'a plugin of another kind',
    collector: fixture('wrong-kind.mjs'),
    says: /RATECAT_PLUGIN_KIND: .*is a plugin for 'fetcher', but the config uses it as collector\. Move it/,
  },
  {
    what: 'a plugin for another version of the contract',
    collector: fixture('wrong-api.mjs'),
    says: /RATECAT_PLUGIN_API_MISMATCH: .*made for plugin API 99; this is 1\. Install a matching version/,
  },
  {
    what: 'a module without a definition',
    collector: fixture('no-definition.mjs'),
    says: /RATECAT_PLUGIN_BROKEN: .*no-definition\.mjs.*has no definition\. .*definePlugin/,
  },
  {
    what: 'a definition without its parts',
    collector: fixture('incomplete.mjs'),
    says: /RATECAT_PLUGIN_BROKEN: .*lacks the function create and a Standard Schema of its options\. Report/,
  },
  {
    what: 'a module that throws when it is loaded',
    collector: fixture('throws-at-load.mjs'),
    says: /RATECAT_PLUGIN_BROKEN: .*cannot be loaded: the licence file is missing\. Install it anew/,
  },
  {
    what: 'a module whose dependency is not installed',
    collector: fixture('missing-dependency.mjs'),
    says: /RATECAT_PLUGIN_BROKEN: .*Cannot find package 'ratecat-test-dependency-that-is-not-installed'.*Install it anew/,
  },
  {
    what: 'a module that hangs when it is loaded',
    collector: fixture('hangs-at-load.mjs'),
    says: /RATECAT_PLUGIN_BROKEN: .*hangs-at-load\.mjs\) cannot be loaded: loading it did not end within 20 s\. /,
    withinMs: 35_000,
  },
  {
    what: "a package that exports nothing but 'import'",
    collector: { plugin: 'import-only' },
    prepare: (daemon) =>
      install(daemon, 'ratecat-collector-import-only', { exports: { import: './index.js' } }),
    says: /RATECAT_PLUGIN_BROKEN: .*'import-only' is installed as 'ratecat-collector-import-only' but cannot be used: .*condition 'default'.*Report it to its author/,
  },
  {
    what: 'a package whose manifest is damaged',
    collector: { plugin: 'damaged' },
    prepare: (daemon) => install(daemon, 'ratecat-collector-damaged', '{"name": '),
    says: /RATECAT_PLUGIN_BROKEN: .*'damaged' is installed as 'ratecat-collector-damaged' but cannot be used: /,
  },
  {
    what: 'options that the plugin does not take',
    collector: misbehaving({ level: 'high', levle: 3 }),
    says: /has 2 problems:\n\S+ratecat\.yml:\d+:\d+: collector\.options\.level: .*must be a number.*\n\S+ratecat\.yml:\d+:\d+: collector\.options\.levle: .*not known/,
  },
  {
    what: 'a check of options that throws',
    collector: misbehaving({ check: 'throws' }),
    says: /ratecat\.yml:\d+:\d+: collector\.options: the plugin's check of its options failed: the check stumbled \(report it to its author\)/,
  },
  {
    what: 'a check of options that hangs',
    collector: misbehaving({ check: 'hangs' }),
    says: /ratecat\.yml:\d+:\d+: collector\.plugin: The collector plugin '\S+misbehaving\.mjs' is broken: checking its options did not end within 20 s/,
    withinMs: 35_000,
  },
  {
    what: 'a plugin that cannot be made',
    collector: misbehaving({ create: 'throws' }),
    says: /The collector plugin '\S+misbehaving\.mjs' cannot be made from its options: no such station\. Check its options.*\[RATECAT_PLUGIN_CREATE_FAILED\]/,
  },
  {
    what: 'a plugin that makes an empty object',
    collector: misbehaving({ create: 'is empty' }),
    says: /made something that lacks collect\(\), metricOptions\. .*\[RATECAT_PLUGIN_CREATE_FAILED\]/,
  },
  {
    what: 'a plugin that is made asynchronously',
    collector: misbehaving({ create: 'is a promise' }),
    says: /made something that lacks collect\(\).*\[RATECAT_PLUGIN_CREATE_FAILED\]/,
  },
  {
    what: 'a plugin whose start hangs',
    collector: misbehaving({ start: 'hangs' }),
    says: /The start of collector plugin 'misbehaving' of pipeline 'default' gave no answer within 60 s\. \[RATECAT_TIMEOUT\]/,
    code: 69,
    withinMs: 85_000,
    startOnly: true,
  },
];

describe('a plugin that cannot be used', { concurrency: 3 }, () => {
  // The slow ones first: the others run beside them.
  const slowFirst = [...REFUSALS].sort((a, b) => (b.withinMs ?? 0) - (a.withinMs ?? 0));
  for (const { what, collector, says, code = 78, withinMs = 15_000, prepare, startOnly } of slowFirst) {
    it(`keeps the daemon from starting, in one message: ${what}`, async () => {
      const daemon = await newDaemon({ collector });
      await prepare?.(daemon);
      const began = Date.now();
      const up = await ratecat('up', '--config', daemon.config);
      assert.ok(Date.now() - began < withinMs, `took ${Date.now() - began} ms`);
      assert.equal(up.code, code, up.stderr);
      assert.match(up.stderr, says);
      assert.match(up.stderr, /^error: /);
      assert.equal(up.stderr.match(/error: /g)?.length, 1, up.stderr);
      assert.doesNotMatch(up.stderr, /\n {4}at |internal error/);
      assert.equal((await storedPrices(daemon.url).catch(() => [])).length, 0);
      if (startOnly || withinMs > 15_000) return;
      const check = await ratecat('config', 'check', '--config', daemon.config);
      assert.equal(check.code, 78, `config check: ${check.stdout}${check.stderr}`);
      assert.match(`${check.stdout}${check.stderr}`, says);
    });
  }

  it('is named together with everything else that is wrong', async () => {
    const daemon = await newDaemon({
      fetcher: { plugin: 'statik' },
      collector: fixture('wrong-api.mjs'),
      rating: [{ plugin: 'hashmop' }],
    });
    const { code, stderr } = await ratecat('up', '--config', daemon.config);
    assert.equal(code, 78);
    assert.match(stderr, /has 3 problems/);
    for (const name of [
      /'statik'; did you mean 'static'/,
      /plugin API 99/,
      /'hashmop'; did you mean 'hashmap'/,
    ])
      assert.match(stderr, name);
    assert.ok(!existsSync(join(daemon.folder, 'data')), 'nothing was made on disk');
  });
});

describe('a plugin in CommonJS', () => {
  it('works like any other', async () => {
    const daemon = await newDaemon({ collector: fixture('common.cjs') });
    const up = startDaemon(daemon);
    await waitUntil('eight periods are stored', async () => (await periodsStored(daemon.url)) === 8, {
      daemon: up,
    });
    assert.equal((await up.stop()).code, 0);
    const rows = await storedPrices(daemon.url);
    assert.deepEqual([...new Set(rows.map(({ quantity }) => quantity))], ['2.5']);
  });
});

/** Each is the id of a scope, for which the collector does just that. */
const FAULTS: Readonly<Record<string, RegExp>> = {
  'an empty list': /answered a list whose kind is undefined instead of measured, nothing or unmeasurable/,
  undefined: /answered undefined whose kind is undefined/,
  'an unknown kind': /answered an object whose kind is the text 'zero'/,
  'samples without a list': /'measured' with an object of class Map instead of a list of samples/,
  'a number as value': /a sample whose value is the number 1\.5 instead of a Decimal/,
  'text as value': /value is the text '1\.5' instead of a Decimal/,
  'a number as attribute': /groupby 'vcpus' is the number 4 instead of text/,
  'a date as attribute': /groupby 'launched' is an object of class Date instead of text/,
  'an attribute without value': /groupby 'launched' is undefined/,
  'a plain object as groupby': /groupby is an object instead of Attributes/,
  'no reason': /'unmeasurable' with the reason undefined/,
  'earliest is text': /the text 'noon' instead of whole seconds/,
  'ignores the signal': /Collector 'misbehaving' gave no answer within 1 s/,
  'earliest hangs': /Collector 'misbehaving' gave no answer within 1 s/,
  'throws at once': /the sensor fell off/,
};

describe('a plugin that breaks the contract while it runs', () => {
  it('gets nothing priced, is named with the reason, and delays no other scope', async () => {
    const hostile = Object.keys(FAULTS);
    const daemon = await newDaemon({
      fetcher: { plugin: 'static', options: { scopes: [...hostile, 'healthy'] } },
      collector: misbehaving({}),
      processor: { metric_timeout: 1, lease_seconds: 5 },
    });
    const up = startDaemon(daemon);
    const reasons = new Map<string, string>();
    await waitUntil(
      'every reason is shown',
      async () => {
        for (const { scope, reason } of (await statusOf(daemon.config)) ?? [])
          if (reason !== null) reasons.set(scope, reason);
        return reasons.size >= hostile.length;
      },
      { daemon: up },
    );
    for (const scope of hostile) assert.match(reasons.get(scope) ?? '', FAULTS[scope]!, scope);
    await waitUntil('the other scope is rated', async () => (await periodsStored(daemon.url)) >= 4, {
      daemon: up,
    });
    const began = Date.now();
    const { code, stderr } = await up.stop();
    assert.equal(code, 0, stderr);
    assert.ok(Date.now() - began < 10_000, 'the stop does not wait for the plugin');
    assert.doesNotMatch(stderr, /TypeError|internal error/);
    assert.deepEqual([...new Set((await storedPrices(daemon.url)).map(({ scope }) => scope))], ['healthy']);
  });

  for (const [answers, reason] of [
    ['a number as id', /a scope whose id is the number 7 instead of text/],
    ['ids alone', /a scope whose id is undefined/],
    ['undefined', /undefined instead of a list of scopes/],
  ] as const) {
    it(`takes no scope from a fetcher that answers ${answers}`, async () => {
      const daemon = await newDaemon({ fetcher: fixture('garbage-fetcher.mjs', { answers }) });
      const up = startDaemon(daemon);
      await up.until(/scopes could not be fetched.*Fetcher 'garbage' answered/);
      assert.match(up.stderr, reason);
      assert.equal((await up.stop()).code, 0);
      assert.deepEqual(await statusOf(daemon.config), []);
    });
  }
});
