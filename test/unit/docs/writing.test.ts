import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { PluginDefinition } from '../../../core/plugin-api/index.js';
import { fakeContext, hour, sampleFrame, testDefinition, testStorage } from '../../../core/testkit/index.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const page = readFileSync(join(root, 'docs/plugins/writing.md'), 'utf8');
const folder = mkdtempSync(join(tmpdir(), 'ratecat-docs-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** The storage of the page, as its reader would save it. */
async function documentedStorage(): Promise<PluginDefinition<'storage', object>> {
  const code = /```js\n(\/\/ memory-storage\.js\n.*?)```/s.exec(page)?.[1];
  assert.ok(code, 'docs/plugins/writing.md has no complete storage');
  const file = join(folder, 'memory-storage.mjs');
  const contract = pathToFileURL(join(root, 'core/plugin-api/index.ts')).href;
  writeFileSync(file, code.replace("'ratecat/plugin-api'", `'${contract}'`));
  const module = (await import(pathToFileURL(file).href)) as { readonly default: unknown };
  return module.default as PluginDefinition<'storage', object>;
}

const definition = await documentedStorage();

testDefinition({ test, definition, kind: 'storage', options: {}, context: fakeContext() });

testStorage({
  test,
  label: 'the storage of docs/plugins/writing.md',
  open: async () => ({ storage: definition.create({}, fakeContext()), close: async () => undefined }),
});

test('the storage of docs/plugins/writing.md refuses a worker that was overtaken', async () => {
  const storage = definition.create({}, fakeContext());
  const never = new AbortController().signal;
  const write = (fence: number, price: string) =>
    storage.replacePeriod(
      sampleFrame({ points: [{ price }] }),
      { fence, generation: fence, snapshot: '' },
      never,
    );
  await write(2, '2');
  await assert.rejects(write(1, '1'), { kind: 'fenced' });
  const range = { visible: 'all', begin: hour(0), end: hour(1), groupby: [] } as const;
  assert.equal((await storage.total(range, never)).rows[0]?.price.toString(), '2');
});

test('every member of the roles, of the context and of the capabilities is told on the page', () => {
  const contract = readFileSync(join(root, 'docs/plugins/contract.d.ts'), 'utf8');
  const interfaces = [
    'Fetcher',
    'Collector',
    'CompiledRating',
    'Storage',
    'StorageCapabilities',
    'PluginContext',
  ];
  for (const name of interfaces) {
    const body = new RegExp(`^export interface ${name}\\b.*?^}`, 'ms').exec(contract)?.[0] ?? '';
    const members = [...body.matchAll(/^ {4}(?:readonly )?(\w+)[?:(<]/gm)].map((match) => match[1]!);
    assert.ok(members.length > 0, name);
    for (const member of members) {
      assert.ok(page.includes(member), `${name}.${member} is not mentioned`);
    }
  }
});
