import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { BUILTIN_PLUGINS } from '../../../core/loading/builtin-plugins.js';
import { isSchema, resolvePlugin } from '../../../core/loading/resolve-plugin.js';
import type { PluginKind } from '../../../core/plugin-api/index.js';
import { isRatecatError } from '../../../core/plugin-api/index.js';

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ratecat-resolve-'));
});
after(() => rm(folder, { recursive: true, force: true }));

/** A definition without a copy of ratecat: what counts is the mark, not the class. */
function source(name: string, kind: PluginKind = 'collector', more = ''): string {
  return `
    const options = { '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value }) } };
    const marked = { [Symbol.for('ratecat.plugin-definition')]: true };
    export default { ...marked, apiVersion: 1, kind: '${kind}', name: '${name}', options, create: () => ({}), ${more} };
  `;
}

async function install(name: string, text: string, manifest: object = {}): Promise<void> {
  const into = join(folder, 'node_modules', name);
  await mkdir(into, { recursive: true });
  const full = { name, type: 'module', exports: { default: './index.js' }, ...manifest };
  await writeFile(join(into, 'package.json'), JSON.stringify(full));
  await writeFile(join(into, 'index.js'), text);
}

async function refusal(
  kind: PluginKind,
  name: string,
): Promise<{ code: string; message: string; tried: unknown }> {
  const error: unknown = await resolvePlugin(kind, name, folder).then(
    () => assert.fail(`'${name}' was found`),
    (caught: unknown) => caught,
  );
  assert.ok(isRatecatError(error), String(error));
  assert.equal(error.kind, 'plugin');
  return { code: error.code, message: error.message, tried: error.details.tried };
}

describe('the way from a name to a plugin', () => {
  it('leads to every built-in one, which says the kind it is listed under', async () => {
    for (const [kind, plugins] of Object.entries(BUILTIN_PLUGINS)) {
      for (const name of Object.keys(plugins)) {
        const definition = await resolvePlugin(kind as PluginKind, name, folder);
        assert.equal(definition.kind, kind, name);
        assert.ok(isSchema(definition.options));
      }
    }
  });

  it('prefers a built-in one to a package of that name', async () => {
    await install('ratecat-collector-host', source('impostor'));
    assert.equal((await resolvePlugin('collector', 'host', folder)).name, 'host');
  });

  it('takes the package ratecat-<kind>-<name>, and only without it the package <name>', async () => {
    await install('rain', source('bare'));
    assert.equal((await resolvePlugin('collector', 'rain', folder)).name, 'bare');
    await install('ratecat-collector-rain', source('named'));
    assert.equal((await resolvePlugin('collector', 'rain', folder)).name, 'named');
  });

  it('takes a scoped name and a subpath as they are', async () => {
    await install('@acme/ratecat-collector-rain', source('scoped'));
    assert.equal((await resolvePlugin('collector', '@acme/ratecat-collector-rain', folder)).name, 'scoped');
    await install('toolbox', source('main'), { exports: { './collector': { default: './index.js' } } });
    assert.equal((await resolvePlugin('collector', 'toolbox/collector', folder)).name, 'main');
  });

  it('reads paths from the folder of the configuration, or absolute', async () => {
    await mkdir(join(folder, 'mine'), { recursive: true });
    await writeFile(join(folder, 'mine/rain.mjs'), source('by path'));
    for (const path of ['./mine/rain.mjs', './mine/../mine/rain.mjs', join(folder, 'mine/rain.mjs')])
      assert.equal((await resolvePlugin('collector', path, folder)).name, 'by path');
  });

  it('looks one level deeper for what a compiler made CommonJS of', async () => {
    const text = source('nested')
      .replace('export default', 'module.exports = { __esModule: true, default:')
      .replace(/;\s*$/, '};');
    await install('nested', text, { type: 'commonjs' });
    assert.equal((await resolvePlugin('collector', 'nested', folder)).name, 'nested');
  });

  it('is not fooled by names that every object has', async () => {
    for (const name of ['constructor', '__proto__', 'toString'])
      assert.equal((await refusal('collector', name)).code, 'RATECAT_PLUGIN_NOT_FOUND');
  });

  it('does not lead to a module of Node itself', async () => {
    for (const name of ['fs', 'node:fs', 'fs/promises', 'node:fs/promises'])
      assert.equal((await refusal('collector', name)).code, 'RATECAT_PLUGIN_NOT_FOUND', name);
  });

  it('lists all that was tried in one line, and the built-in name that was probably meant', async () => {
    const { code, message, tried } = await refusal('storage', 'sqll');
    assert.equal(code, 'RATECAT_PLUGIN_NOT_FOUND');
    assert.match(
      message,
      /^No storage plugin 'sqll'; did you mean 'sql'\? Built in: sql, .* Tried: ratecat-storage-sqll and sqll from /,
    );
    assert.ok(message.includes(folder) && !message.includes('\n'));
    assert.equal((tried as readonly string[]).length, 4);
  });

  it('ends with a reason at a package that cannot be resolved', async () => {
    await install('ratecat-collector-half', source('half'), { exports: { import: './index.js' } });
    const { code, message } = await refusal('collector', 'half');
    assert.equal(code, 'RATECAT_PLUGIN_BROKEN');
    assert.match(message, /installed as 'ratecat-collector-half' but cannot be used: .*'default'/);
  });

  const WRONG: readonly (readonly [what: string, text: string, code: string, says: RegExp])[] = [
    ['another kind', source('w', 'rating'), 'RATECAT_PLUGIN_KIND', /for 'rating', .* as collector/],
    [
      'an older contract',
      source('w', 'collector', 'apiVersion: 0'),
      'RATECAT_PLUGIN_API_MISMATCH',
      /API 0; this is 1/,
    ],
    ['no mark', source('w').replace('...marked, ', ''), 'RATECAT_PLUGIN_BROKEN', /no definition/],
    ['no default export', 'export const x = 1;', 'RATECAT_PLUGIN_BROKEN', /no definition/],
    ['null as default export', 'export default null;', 'RATECAT_PLUGIN_BROKEN', /no definition/],
    [
      'no create',
      source('w', 'collector', 'create: undefined'),
      'RATECAT_PLUGIN_BROKEN',
      /lacks the function create/,
    ],
    ['no name', source('', 'collector'), 'RATECAT_PLUGIN_BROKEN', /lacks a name/],
    [
      'options that are no schema',
      source('w', 'collector', 'options: {}'),
      'RATECAT_PLUGIN_BROKEN',
      /lacks a Standard Schema/,
    ],
    ['a syntax error', 'export default {', 'RATECAT_PLUGIN_BROKEN', /cannot be loaded: /],
    ['text thrown', "throw 'no way';", 'RATECAT_PLUGIN_BROKEN', /cannot be loaded: no way\. /],
    [
      'undefined thrown',
      'throw undefined;',
      'RATECAT_PLUGIN_BROKEN',
      /cannot be loaded: it threw undefined\./,
    ],
  ];
  for (const [what, text, wanted, says] of WRONG) {
    it(`refuses ${what}`, async () => {
      const name = `wrong-${what.replaceAll(' ', '-')}`;
      await install(name, text);
      const { code, message } = await refusal('collector', name);
      assert.equal(code, wanted, message);
      assert.match(message, says);
      assert.ok(message.includes(`'${name}'`), 'the plugin is named');
    });
  }
});
