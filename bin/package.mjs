// Builds the Debian packages of the built program: `npm run package`, or, when dist/ is up to date, `node bin/package.mjs`.
//   --output FOLDER   where to (dist/packages)
//   --revision N      the part of the version behind the hyphen (1)
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { buildDeb, librariesOf, run } from './package/deb.mjs';
import { TREES } from './package/trees.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const sources = join(root, 'packaging/debian');
const MAINTAINER = 'Ratecat maintainers <ratecat@packages.invalid>';

const { values: options } = parseArgs({
  options: {
    output: { type: 'string', default: join(root, 'dist/packages') },
    revision: { type: 'string', default: '1' },
  },
});

try {
  for (const file of build(resolve(options.output))) process.stdout.write(`${file}\n`);
} catch (error) {
  process.stderr.write(`The packages cannot be built: ${error.message}\n`);
  process.exitCode = 1;
}

function build(output) {
  if (!/^[0-9][0-9a-z.~+]*$/.test(options.revision))
    throw new Error(`'${options.revision}' is no revision of a package`);
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const epoch = buildTime();
  const values = {
    VERSION: `${version}-${options.revision}`,
    MAINTAINER,
    ARCHITECTURE: run('dpkg', ['--print-architecture'], { from: 'dpkg' }).trim(),
    NODEJS: nodeDependency(),
    FUNCTIONS: readFileSync(join(sources, 'functions.sh'), 'utf8'),
  };
  const work = mkdtempSync(join(tmpdir(), 'ratecat-package-'));
  mkdirSync(output, { recursive: true });
  try {
    return Object.entries(TREES).map(([name, layOut]) => {
      const parts = { root, source: join(sources, name), tree: join(work, name), values };
      mkdirSync(parts.tree);
      const { native } = layOut({ ...parts, date: new Date(epoch * 1000) });
      const libraries = native === undefined ? {} : { LIBRARIES: librariesOf(native) };
      return buildDeb({ ...parts, values: { ...values, ...libraries }, epoch, output });
    });
  } finally {
    rmSync(work, { recursive: true });
  }
}

/**
 * SQLite comes in two builds: one for the very version of Node that compiled it, which Node 20 uses, and one for all from 22
 * on. Debian 12 itself has Node 18; the package of that name that has Node 20 comes from elsewhere.
 */
function nodeDependency() {
  const [major] = process.versions.node.split('.');
  return major === '20' ? 'nodejs (<< 21) | nodejs (>= 22), nodejs (>= 20.19)' : 'nodejs (>= 22)';
}

/** Seconds; builds that shall give the same bytes every time name their instant. */
function buildTime() {
  const named = Number(process.env.SOURCE_DATE_EPOCH);
  return named > 0 ? named : Math.floor(Date.now() / 1000);
}
