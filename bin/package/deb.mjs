// Makes a Debian package out of a folder with its files and a folder with its control files.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';

const SCRIPTS = ['preinst', 'postinst', 'prerm', 'postrm'];

/** Runs a program; its output, or an error that says how to get the program. */
export function run(command, args, { from, ...options } = {}) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8', ...options });
  if (error !== undefined)
    throw new Error(`'${command}' cannot be run (${error.code}); Debian has it in the package ${from}`);
  if (status !== 0) throw new Error(`'${command} ${args.join(' ')}' failed:\n${stdout}${stderr}`);
  return stdout;
}

/** Every file and link below a folder; folders too when asked for. */
export function entriesOf(folder, { folders = false } = {}) {
  return readdirSync(folder, { withFileTypes: true })
    .sort((one, other) => (one.name < other.name ? -1 : 1))
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      if (!entry.isDirectory()) return [path];
      return [...(folders ? [path] : []), ...entriesOf(path, { folders })];
    });
}

/** Libraries of the system that native modules need, as Debian calls them. */
export function librariesOf(files) {
  const folder = mkdtempSync(join(tmpdir(), 'ratecat-libraries-'));
  try {
    mkdirSync(join(folder, 'debian'));
    writeFileSync(join(folder, 'debian/control'), 'Source: ratecat\n\nPackage: ratecat\nArchitecture: any\n');
    const args = ['-O', '--ignore-missing-info', ...files.map((file) => `-e${file}`)];
    const text = run('dpkg-shlibdeps', args, { cwd: folder, from: 'dpkg-dev' });
    return text.trim().replace('shlibs:Depends=', '');
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/**
 * Writes NAME_VERSION_ARCHITECTURE.deb into `output`. `tree` has the files as they are installed; `source` the control
 * file and the maintainer scripts, in which @NAME@ stands for a value.
 */
export function buildDeb({ tree, source, values, epoch, output }) {
  const control = join(tree, 'DEBIAN');
  const files = entriesOf(tree);
  const size = files.reduce((sum, file) => sum + Math.ceil(lstatSync(file).size / 1024), 0);
  mkdirSync(control);
  writeFileSync(join(control, 'control'), filled(join(source, 'control'), { ...values, SIZE: String(size) }));
  for (const name of SCRIPTS.filter((script) => existsSync(join(source, script)))) {
    writeFileSync(join(control, name), filled(join(source, name), values));
  }
  const configuration = files.filter((file) => relative(tree, file).startsWith('etc/'));
  if (configuration.length > 0)
    writeFileSync(join(control, 'conffiles'), lines(configuration.map((file) => `/${relative(tree, file)}`)));
  const regular = files.filter((file) => lstatSync(file).isFile());
  const sums = regular
    .filter((file) => !configuration.includes(file))
    .map((file) => `${sumOf(file)}  ${relative(tree, file)}`);
  if (sums.length > 0) writeFileSync(join(control, 'md5sums'), lines(sums));
  settle(tree, epoch);
  for (const name of SCRIPTS) if (existsSync(join(control, name))) chmodSync(join(control, name), 0o755);
  const env = { ...process.env, SOURCE_DATE_EPOCH: String(epoch) };
  const told = run('dpkg-deb', ['--root-owner-group', '-Zxz', '--build', tree, output], {
    env,
    from: 'dpkg',
  });
  return /'([^']+\.deb)'\.?\s*$/.exec(told)[1];
}

/** The text of a file with every @NAME@ replaced. */
export function filled(file, values) {
  const text = readFileSync(file, 'utf8').replace(/@([A-Z]+)@/g, (_, name) => {
    if (values[name] === undefined) throw new Error(`${file}: nothing is known of @${name}@`);
    return values[name];
  });
  return text.endsWith('\n') ? text : `${text}\n`;
}

function lines(texts) {
  return `${texts.join('\n')}\n`;
}

function sumOf(file) {
  return createHash('md5').update(readFileSync(file)).digest('hex');
}

/** The same modes and times, whoever builds: files that start with #! and are meant to be run keep their bit. */
function settle(tree, epoch) {
  for (const path of [tree, ...entriesOf(tree, { folders: true })]) {
    const status = lstatSync(path);
    if (!status.isSymbolicLink())
      chmodSync(path, status.isDirectory() || status.mode & 0o100 ? 0o755 : 0o644);
    lutimesSync(path, epoch, epoch);
  }
}
