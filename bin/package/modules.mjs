// The modules that the program needs while it runs, as the lock file has them, out of the folder that `npm ci` filled.
import { cpSync, existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** Only types, and nothing that is loaded. */
const TYPES = /^node_modules\/(@types\/|undici-types$)/;

/** What is only there to compile or to download the native part of SQLite, or for other systems. */
const SQLITE_LEFTOVERS = ['deps', 'src', 'binding.gyp'];

/** Of every module: what is not for running it. Licences and read-me files stay. */
const SUPERFLUOUS = /\.(map|ts|mts|cts|tsbuildinfo|sh|html)$/;
const FOR_AUTHORS = /^\/(tests?|examples?|docs|bench|benchmarks?|integration)$/;

/** Places of all modules for production, and the version of each. */
export function productionModules(root) {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  return Object.entries(packages)
    .filter(([place, { dev, devOptional }]) => place !== '' && !dev && !devOptional && !TYPES.test(place))
    .filter(([place, { optional }]) => !optional || existsSync(join(root, place)))
    .map(([place, { version }]) => ({ place, version }));
}

/** Copies the modules below `target`, and checks that each finds what it needs there. */
export function copyModules(root, target) {
  const modules = productionModules(root);
  for (const { place, version } of modules) {
    const installed = existsSync(join(root, place, 'package.json')) ? manifest(root, place).version : 'none';
    if (installed !== version)
      throw new Error(`${place} is ${installed}, package-lock.json says ${version}: run 'npm ci'`);
    cpSync(join(root, place), join(target, place), {
      recursive: true,
      // Modules inside a module have a place of their own in the lock file.
      filter: (source) => source === join(root, place) || isWanted(source.slice(join(root, place).length)),
    });
  }
  for (const { place } of modules)
    if (/\/better-sqlite3(-napi)?$/.test(place)) trimSqlite(join(target, place));
  const missing = modules.flatMap(({ place }) => unmet(target, place));
  if (missing.length > 0) throw new Error(`Modules are missing in the package: ${missing.join(', ')}`);
  return modules.map(({ place }) => ({ place, ...manifest(target, place) }));
}

function isWanted(path) {
  return (
    !path.includes('/node_modules') &&
    !/\/\.[^/]+$/.test(path) &&
    !SUPERFLUOUS.test(path) &&
    !FOR_AUTHORS.test(path)
  );
}

function manifest(folder, place) {
  return JSON.parse(readFileSync(join(folder, place, 'package.json'), 'utf8'));
}

function trimSqlite(folder) {
  for (const name of SQLITE_LEFTOVERS) rmSync(join(folder, name), { recursive: true, force: true });
  keepOnly(join(folder, 'build'), ['Release']);
  keepOnly(join(folder, 'build/Release'), ['better_sqlite3.node']);
  keepOnly(join(folder, 'prebuilds'), [`${process.platform}-${process.arch}.node`]);
}

function keepOnly(folder, names) {
  if (!existsSync(folder)) return;
  for (const name of readdirSync(folder))
    if (!names.includes(name)) rmSync(join(folder, name), { recursive: true });
  if (readdirSync(folder).length === 0) rmSync(folder, { recursive: true });
}

/** Dependencies of a module that Node would not find. */
function unmet(folder, place) {
  const { dependencies = {} } = manifest(folder, place);
  return Object.keys(dependencies)
    .filter((name) => !TYPES.test(`node_modules/${name}`) && !isFound(folder, place, name))
    .map((name) => `${name} (needed by ${place})`);
}

function isFound(folder, place, name) {
  for (let from = place; ; from = from.slice(0, from.lastIndexOf('/node_modules/'))) {
    if (existsSync(join(folder, from, 'node_modules', name, 'package.json'))) return true;
    if (!from.includes('/node_modules/'))
      return existsSync(join(folder, 'node_modules', name, 'package.json'));
  }
}
