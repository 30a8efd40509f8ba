// What each package installs, and where.
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { entriesOf, run } from './deb.mjs';
import { copyModules } from './modules.mjs';

const PROGRAM = 'usr/lib/ratecat';
const UNITS = 'usr/lib/systemd/system';
/** Of the built folder; what else is there is of tests. */
const BUILT = ['bin', 'core', 'plugins'];
const DOCUMENTS = ['docs', 'README.md', 'README.ko.md', 'SECURITY.md'];

/** Commands of CloudKitty that do something here. */
const COMMANDS = ['api', 'processor', 'dbsync', 'storage-init', 'status'].map((name) => `cloudkitty-${name}`);

/** Lays out the files of a package below `tree`; gives what the control file has to know. */
export const TREES = {
  ratecat: layOutProgram,
  'ratecat-api': (parts) => layOutService(parts, 'api', ['ratecat-api.service', 'ratecat-api.socket']),
  'ratecat-processor': (parts) => layOutService(parts, 'processor', ['ratecat-processor.service']),
  'ratecat-cloudkitty': layOutDropIn,
};

function layOutProgram({ root, source, tree, values, date }) {
  const program = join(tree, PROGRAM);
  for (const folder of BUILT) copyBuilt(root, folder, join(program, 'dist', folder));
  for (const name of ['ratecat.js', 'cloudkitty.js']) chmodSync(join(program, 'dist/bin', name), 0o755);
  for (const name of ['package.json', 'config'])
    cpSync(join(root, name), join(program, name), { recursive: true });
  const modules = copyModules(root, program);
  const native = entriesOf(join(program, 'node_modules')).filter((file) => file.endsWith('.node'));
  clearModes(join(program, 'node_modules'));
  for (const file of native)
    run('strip', ['--strip-unneeded', '--remove-section=.comment', '--remove-section=.note', file], {
      from: 'binutils',
    });
  link(tree, 'usr/bin/ratecat', '../lib/ratecat/dist/bin/ratecat.js');
  install(tree, 'etc/default/ratecat', readFileSync(join(source, 'default')));
  install(tree, 'usr/lib/sysusers.d/ratecat.conf', readFileSync(join(root, 'systemd/ratecat.sysusers.conf')));
  install(tree, 'usr/lib/tmpfiles.d/ratecat.conf', readFileSync(join(root, 'systemd/ratecat.tmpfiles.conf')));
  for (const unit of ['ratecat.target', 'ratecat-dbsync.service']) layOutUnit({ root, source, tree }, unit);
  layOutManual(root, tree);
  const documents = join(tree, 'usr/share/doc/ratecat');
  for (const name of DOCUMENTS) cpSync(join(root, name), join(documents, name), { recursive: true });
  link(tree, 'usr/share/doc/ratecat/examples', '../../../lib/ratecat/config');
  install(tree, 'usr/share/doc/ratecat/copyright', copyright(source, modules));
  install(tree, 'usr/share/doc/ratecat/changelog.gz', zipped(readFileSync(join(root, 'CHANGELOG.md'))));
  install(tree, 'usr/share/doc/ratecat/changelog.Debian.gz', zipped(debianChangelog(values, date)));
  layOutOverrides(source, tree, 'ratecat');
  return { native };
}

function layOutService({ root, source, tree }, name, units) {
  const program = join(dirname(source), 'ratecat');
  for (const unit of units) layOutUnit({ root, source: program, tree }, unit);
  link(tree, `usr/share/doc/ratecat-${name}`, 'ratecat');
  layOutOverrides(source, tree, `ratecat-${name}`);
  return {};
}

function layOutDropIn({ source, tree }) {
  for (const command of COMMANDS) link(tree, `usr/bin/${command}`, '../lib/ratecat/dist/bin/cloudkitty.js');
  link(tree, `${PROGRAM}/bin/import-configuration`, '../dist/bin/cloudkitty.js');
  for (const name of ['api', 'processor'])
    link(tree, `${UNITS}/cloudkitty-${name}.service`, `ratecat-${name}.service`);
  install(tree, 'usr/lib/sysusers.d/ratecat-cloudkitty.conf', readFileSync(join(source, 'sysusers.conf')));
  const page = readFileSync(join(source, 'cloudkitty-api.1'));
  install(tree, 'usr/share/man/man1/cloudkitty-api.1.gz', zipped(page));
  for (const command of COMMANDS.slice(1))
    link(tree, `usr/share/man/man1/${command}.1.gz`, 'cloudkitty-api.1.gz');
  link(tree, 'usr/share/doc/ratecat-cloudkitty', 'ratecat');
  layOutOverrides(source, tree, 'ratecat-cloudkitty');
  return {};
}

/** Only what there is a source of: the compiler leaves the results of files that are gone. */
function copyBuilt(root, folder, to) {
  const from = join(root, 'dist', folder);
  const isWanted = (path) => {
    if (statSync(path).isDirectory()) return true;
    const source = path.slice(join(root, 'dist').length).replace(/(\.d\.ts|\.js)$/, '.ts');
    const isDeclaration = path.endsWith('.d.ts');
    return existsSync(join(root, source)) && !path.endsWith('.map') && !(isDeclaration && folder === 'bin');
  };
  cpSync(from, to, { recursive: true, filter: isWanted });
}

/** Nothing below the modules is run by itself. */
function clearModes(folder) {
  for (const path of entriesOf(folder)) chmodSync(path, 0o644);
}

function layOutUnit({ root, source, tree }, unit) {
  install(tree, `${UNITS}/${unit}`, readFileSync(join(root, 'systemd', unit)));
  if (unit.endsWith('.service'))
    install(tree, `${UNITS}/${unit}.d/package.conf`, readFileSync(join(source, 'unit-drop-in.conf')));
}

function layOutManual(root, tree) {
  const folder = join(root, 'dist/man');
  for (const page of existsSync(folder) ? readdirSync(folder) : [])
    install(tree, `usr/share/man/man${page.at(-1)}/${page}.gz`, zipped(readFileSync(join(folder, page))));
}

function layOutOverrides(source, tree, name) {
  const file = join(source, 'lintian-overrides');
  if (existsSync(file)) install(tree, `usr/share/lintian/overrides/${name}`, readFileSync(file));
}

function install(tree, path, content) {
  mkdirSync(dirname(join(tree, path)), { recursive: true });
  writeFileSync(join(tree, path), content);
}

function link(tree, path, to) {
  mkdirSync(dirname(join(tree, path)), { recursive: true });
  symlinkSync(to, join(tree, path));
}

function zipped(content) {
  return gzipSync(content, { level: 9 });
}

/** Ratecat's licence and those of all modules that come along, whose texts stay beside them. */
function copyright(source, modules) {
  const head = readFileSync(join(source, 'copyright'), 'utf8');
  const entries = modules.map(({ place, name, version, license, author, homepage }) => {
    const who = typeof author === 'object' ? author.name : author;
    const whose = who === undefined ? `the authors of ${name}` : who.replace(/\s*[<(].*$/, '');
    const where = typeof homepage === 'string' && /^https?:/.test(homepage) ? ` (${homepage})` : '';
    return `${place}: ${name} ${version}${where}, by ${whose}, licence ${licenceOf(license)}\n`;
  });
  return `${head}\n${entries.join('')}`;
}

function licenceOf(license) {
  return typeof license === 'object' ? license.type : license;
}

function debianChangelog({ VERSION: version, MAINTAINER: maintainer }, date) {
  const day = date.toUTCString().replace('GMT', '+0000');
  return `ratecat (${version}) unstable; urgency=medium

  * What is new stands in /usr/share/doc/ratecat/changelog.gz.

 -- ${maintainer}  ${day}
`;
}
