import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

interface Modules {
  productionModules(root: string): readonly { readonly place: string; readonly version: string }[];
  copyModules(root: string, target: string): readonly { readonly place: string }[];
}

/** A checkout with one module, which depends on another. */
function checkout(): string {
  const root = mkdtempSync(join(tmpdir(), 'ratecat-modules-'));
  folders.push(root);
  const packages: Record<string, object> = { '': {} };
  for (const [name, facts, dependencies] of [
    ['one', {}, { two: '1' }],
    ['two', {}, {}],
    ['for-tests', { dev: true }, {}],
    ['elsewhere', { optional: true }, {}],
  ] as const) {
    packages[`node_modules/${name}`] = { version: '1.0.0', ...facts };
    if (name === 'elsewhere') continue;
    const folder = join(root, 'node_modules', name);
    for (const part of ['test', 'lib/test']) mkdirSync(join(folder, part), { recursive: true });
    writeFileSync(join(folder, 'package.json'), JSON.stringify({ name, version: '1.0.0', dependencies }));
    for (const file of ['index.js', 'index.js.map', 'index.d.ts', 'LICENSE', 'test/x.js', 'lib/test/y.js'])
      writeFileSync(join(folder, file), '');
  }
  writeFileSync(join(root, 'package-lock.json'), JSON.stringify({ packages }));
  return root;
}

const folders: string[] = [];
after(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

describe('the modules of the package', () => {
  let modules: Modules;
  before(async () => {
    modules = (await import(pathToFileURL(join(ROOT, 'bin/package/modules.mjs')).href)) as Modules;
  });

  it('are those that npm lists for production, apart from types', () => {
    const listed = spawnSync('npm', ['ls', '--omit=dev', '--all', '--parseable'], {
      cwd: ROOT,
      encoding: 'utf8',
    });
    const places = listed.stdout
      .split('\n')
      .map((line) => line.slice(ROOT.length))
      .filter((place) => place !== '' && !/^node_modules\/(@types\/|undici-types$)/.test(place));
    assert.ok(places.length > 50, listed.stderr);
    assert.deepEqual(
      modules
        .productionModules(ROOT)
        .map(({ place }) => place)
        .sort(),
      places.sort(),
    );
  });

  it('come without what is only for their authors, and with their licences', () => {
    const root = checkout();
    const target = join(root, 'target');
    assert.deepEqual(
      modules.copyModules(root, target).map(({ place }) => place),
      ['node_modules/one', 'node_modules/two'],
    );
    const has = (file: string) => existsSync(join(target, 'node_modules/one', file));
    for (const file of ['index.js', 'LICENSE', 'package.json', 'lib/test/y.js']) assert.ok(has(file), file);
    for (const file of ['index.js.map', 'index.d.ts', 'test']) assert.ok(!has(file), file);
  });

  it('are refused when one that is needed is not among them', () => {
    const root = checkout();
    const lock = join(root, 'package-lock.json');
    const { packages } = JSON.parse(readFileSync(lock, 'utf8')) as { packages: Record<string, object> };
    delete packages['node_modules/two'];
    writeFileSync(lock, JSON.stringify({ packages }));
    assert.throws(
      () => modules.copyModules(root, join(root, 'target')),
      /Modules are missing in the package: two \(needed by node_modules\/one\)/,
    );
  });

  it('are refused when another version is installed than the lock file says', () => {
    const root = checkout();
    writeFileSync(
      join(root, 'node_modules/one/package.json'),
      JSON.stringify({ name: 'one', version: '2.0.0' }),
    );
    assert.throws(
      () => modules.copyModules(root, join(root, 'target')),
      /one is 2\.0\.0, package-lock\.json says 1\.0\.0/,
    );
  });
});
