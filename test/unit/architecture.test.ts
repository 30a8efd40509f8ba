import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** What each part may import besides itself. A part that is not listed here fails the test. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  'core/plugin-api': [],
  'core/upstream': ['core/plugin-api'],
  'core/testkit': ['core/plugin-api'],
  'core/config': ['core/plugin-api', 'core/upstream'],
  'core/database': ['core/plugin-api'],
  'core/loading': ['core/plugin-api', 'core/config', 'plugins'],
  'core/notifications': ['core/plugin-api', 'core/config'],
  'core/scopes': ['core/plugin-api', 'core/config', 'core/database', 'core/notifications'],
  'core/rating': ['core/plugin-api', 'core/config', 'core/database', 'core/notifications', 'core/scopes'],
  'core/reporting': ['core/plugin-api', 'core/config', 'core/database', 'core/scopes', 'core/rating'],
  'core/retention': ['core/plugin-api', 'core/config', 'core/scopes'],
  'core/setup': ['core/plugin-api', 'core/upstream', 'core/config', 'core/database'],
  'core/importing': ['core/plugin-api', 'core/upstream', 'core/config', 'core/database'],
  'core/migrating': ['core/plugin-api', 'core/database', 'core/scopes', 'core/rating'],
  'core/shadow': ['core/plugin-api', 'core/migrating', 'core/scopes', 'core/upstream'],
  'core/processing': [
    'core/plugin-api',
    'core/config',
    'core/database',
    'core/notifications',
    'core/scopes',
    'core/rating',
  ],
  'core/api': [
    'core/plugin-api',
    'core/upstream',
    'core/config',
    'core/database',
    'core/scopes',
    'core/rating',
    'core/reporting',
  ],
  'core/daemon': [
    'core/plugin-api',
    'core/config',
    'core/database',
    'core/loading',
    'core/notifications',
    'core/retention',
    'core/scopes',
    'core/rating',
    'core/reporting',
    'core/processing',
    'core/api',
  ],
  'core/doctor': [
    'core/plugin-api',
    'core/upstream',
    'core/config',
    'core/database',
    'core/setup',
    'core/loading',
    'core/scopes',
    'core/rating',
    'core/processing',
    'core/daemon',
  ],
  'core/cli': [
    'core/plugin-api',
    'core/doctor',
    'core/config',
    'core/database',
    'core/loading',
    'core/retention',
    'core/scopes',
    'core/rating',
    'core/reporting',
    'core/processing',
    'core/importing',
    'core/migrating',
    'core/shadow',
    'core/setup',
    'core/daemon',
  ],
  bin: ['core/cli'],
  plugins: ['core/plugin-api', 'core/upstream'],
};

/** What `package.json` exports to third parties; built-in plugins get no more. */
const PUBLISHED = ['core/plugin-api/index.ts', 'core/upstream/index.ts'];

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) return sources(path);
    return entry.name.endsWith('.ts') ? [path] : [];
  });
}

function imports(file: string): string[] {
  const text = readFileSync(join(root, file), 'utf8');
  const found = text.matchAll(/(?:from|import)\s*\(?\s*['"](\.[^'"]+)['"]/g);
  return [...found].map((match) => normalize(join(dirname(file), match[1]!)).replace(/\.js$/, '.ts'));
}

function part(file: string): string {
  const [first, second] = file.split('/');
  return first === 'core' ? `core/${second}` : first!;
}

const files = ['bin', 'core', 'plugins'].flatMap(sources);

describe('architecture', () => {
  it('lets imports point one way only', () => {
    const wrong = files.flatMap((file) =>
      imports(file)
        .filter((target) => part(target) !== part(file) && !MAY_IMPORT[part(file)]?.includes(part(target)))
        .map((target) => `${file} imports ${target}`),
    );
    assert.deepEqual(wrong, []);
    assert.ok(files.length > 50, 'the walk found the sources');
  });

  it('mentions plugins in one file of the core', () => {
    const mentioning = files.filter(
      (file) => file.startsWith('core/') && imports(file).some((target) => target.startsWith('plugins/')),
    );
    assert.deepEqual(mentioning, ['core/loading/builtin-plugins.ts']);
  });

  it('gives built-in plugins nothing but the published contract', () => {
    const wrong = files
      .filter((file) => file.startsWith('plugins/'))
      .flatMap((file) =>
        imports(file)
          .filter((target) => target.startsWith('core/') && !PUBLISHED.includes(target))
          .map((target) => `${file} imports ${target}`),
      );
    assert.deepEqual(wrong, []);
  });

  it('has no import cycles, type imports included', () => {
    const graph = new Map(files.map((file) => [file, imports(file)]));
    const done = new Set<string>();
    const path: string[] = [];
    const cycles: string[] = [];
    const visit = (file: string) => {
      if (path.includes(file)) {
        cycles.push([...path.slice(path.indexOf(file)), file].join(' → '));
        return;
      }
      if (done.has(file)) return;
      path.push(file);
      for (const target of graph.get(file) ?? []) visit(target);
      path.pop();
      done.add(file);
    };
    for (const file of files) visit(file);
    assert.deepEqual(cycles, []);
  });

  it('has no folder deeper than three levels', () => {
    assert.deepEqual(
      files.filter((file) => file.split('/').length > 4),
      [],
    );
  });
});
