// Writes the plugin contract as one file of types, docs/plugins/contract.d.ts, so that every change of it shows in a review.
// With --check: exit code 1 when the committed file is not what the sources say.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const target = join(root, 'docs/plugins/contract.d.ts');

/** In the order in which they are best read. */
const PARTS = ['model', 'contract', 'schema', 'errors', 'database', 'attributes', 'decimal', 'slice'];

const HEADER = `/*
 * The contract between Ratecat and its plugins, as \`ratecat/plugin-api\` exports it.
 *
 * Generated from core/plugin-api by \`node bin/emit-contract.mjs\`; not to be edited. How to use it: docs/plugins/writing.md.
 */
`;

/** The declarations of one part without its imports: in one file all names are there already. */
function declarations(folder, part) {
  const text = readFileSync(join(folder, 'core/plugin-api', `${part}.d.ts`), 'utf8')
    .replace(/^import [^;]*;\n/gm, '')
    .replace(/^export \{\};\n/gm, '')
    .replace(/import\("[^"]*"\)\./g, '')
    .trim();
  return `\n// ---- ${part}\n\n${text}\n`;
}

function compile(outDir) {
  const project = join(outDir, 'tsconfig.json');
  const compilerOptions = {
    rootDir: root,
    outDir,
    typeRoots: [join(root, 'node_modules/@types')],
    declaration: true,
    emitDeclarationOnly: true,
    sourceMap: false,
    incremental: false,
  };
  const files = [join(root, 'core/plugin-api/index.ts')];
  writeFileSync(
    project,
    JSON.stringify({ extends: join(root, 'tsconfig.json'), compilerOptions, files, include: [] }),
  );
  const compiler = join(root, 'node_modules/typescript/bin/tsc');
  const { status, stdout, stderr } = spawnSync(process.execPath, [compiler, '-p', project], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`The contract does not compile:\n${stdout}${stderr}`);
}

export function emitContract() {
  const folder = mkdtempSync(join(tmpdir(), 'ratecat-contract-'));
  try {
    compile(folder);
    return HEADER + PARTS.map((part) => declarations(folder, part)).join('');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const text = emitContract();
  if (!process.argv.includes('--check')) writeFileSync(target, text);
  else if (readFileSync(target, 'utf8') !== text) {
    process.stderr.write('docs/plugins/contract.d.ts is out of date: run node bin/emit-contract.mjs\n');
    process.exitCode = 1;
  }
}
