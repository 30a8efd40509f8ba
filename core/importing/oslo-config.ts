import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { didYouMean } from '../config/nearest-key.js';
import type { Problem } from '../config/problems.js';
import { fileError } from '../config/yaml-text.js';
import { isSecretOption } from './known-options.js';
import { canonicalOption, KEYSTONE_SECTIONS, SECTION_ALIASES } from './option-names.js';
import { type OsloEntry, type OsloFile, pathOf, readOsloFile, sectionName } from './oslo-file.js';

/** An option that counts, under the name it has today. */
export interface Setting {
  readonly section: string;
  readonly name: string;
  /** As it was written, also under an older name. */
  readonly entry: OsloEntry;
  /** References to other options are filled in. May be a secret. */
  readonly text: string;
}

/** An option that does not count, because it is given again. */
export interface Superseded {
  readonly entry: OsloEntry;
  readonly by: OsloEntry;
}

export interface OsloSources {
  /** Later files win. */
  readonly files: readonly string[];
  /** Their `*.conf` files come after the files, in the order of their names. Must exist. */
  readonly folders: readonly string[];
}

const REFERENCE = /\$(?:\$|([_a-z][_a-z0-9.]*)|\{([_a-z][_a-z0-9.]*)\})/gi;
/** References to references multiply. */
const MAX_TEXT = 64 * 1024;
/** Defaults that files of 2017 refer to. */
const DEFAULTS: Readonly<Record<string, string>> = {
  '[oslo_messaging_rabbit] rabbit_host': 'localhost',
  '[oslo_messaging_rabbit] rabbit_port': '5672',
  '[DEFAULT] rabbit_host': 'localhost',
  '[DEFAULT] rabbit_port': '5672',
};

/** The options of all files of one service, merged as oslo.config merges them. */
export class OsloConfig {
  readonly files: readonly string[];
  readonly problems: Problem[];
  readonly warnings: Problem[];
  readonly superseded: Superseded[] = [];
  readonly #entries = new Map<string, OsloEntry>();
  readonly #settings = new Map<string, Setting>();
  readonly #texts = new Map<OsloEntry, string>();
  readonly #authSections: ReadonlySet<string>;

  private constructor(files: readonly OsloFile[]) {
    this.files = files.map(({ file }) => file);
    this.problems = files.flatMap(({ problems }) => problems);
    this.warnings = files.flatMap(({ warnings }) => warnings);
    const entries = files.flatMap((file) => file.entries);
    this.#authSections = namedSections(entries);
    for (const entry of entries) this.#add(entry);
    for (const [path, entry] of this.#entries) this.#settings.set(path, this.#setting(entry));
  }

  /** @throws ConfigError RATECAT_CONFIG_INVALID when a file or folder cannot be read at all. */
  static async read({ files, folders }: OsloSources): Promise<OsloConfig> {
    const inFolders = await Promise.all(folders.map(filesOf));
    const all = await Promise.all([...files, ...inFolders.flat()].map(readOsloFile));
    return new OsloConfig(all);
  }

  static of(...files: readonly OsloFile[]): OsloConfig {
    return new OsloConfig(files);
  }

  /** Every option that counts, in the order of the files. */
  get settings(): readonly Setting[] {
    return [...this.#settings.values()];
  }

  get sections(): ReadonlySet<string> {
    return new Set(this.settings.map(({ section }) => section));
  }

  /** The option of this name; an empty value is none, as for CloudKitty's own drivers. */
  find(section: string, name: string): Setting | undefined {
    const setting = this.#settings.get(keyOf(section, name));
    return setting?.text === '' ? undefined : setting;
  }

  /** Whether a section holds credentials: by its purpose, or because some `auth_section` names it. */
  holdsCredentials(section: string): boolean {
    return (KEYSTONE_SECTIONS as readonly string[]).includes(section) || this.#authSections.has(section);
  }

  isNamedByAuthSection(section: string): boolean {
    return this.#authSections.has(section);
  }

  #add(entry: OsloEntry): void {
    const [section, name] = this.#canonical(entry);
    const path = keyOf(section, name);
    const earlier = this.#entries.get(path);
    if (earlier !== undefined && !this.#isOldName(earlier) && this.#isOldName(entry)) {
      this.superseded.push({ entry, by: earlier });
      return;
    }
    if (earlier !== undefined) this.superseded.push({ entry: earlier, by: entry });
    this.#entries.delete(path);
    this.#entries.set(path, entry);
  }

  #canonical({ section, name }: OsloEntry): readonly [string, string] {
    return canonicalOption(section, name, (candidate) => this.holdsCredentials(candidate));
  }

  #isOldName(entry: OsloEntry): boolean {
    const [section, name] = this.#canonical(entry);
    return section !== entry.section || name !== entry.name;
  }

  #setting(entry: OsloEntry): Setting {
    const [section, name] = this.#canonical(entry);
    return { section, name, entry, text: this.#substituted(entry, []) };
  }

  #substituted(entry: OsloEntry, above: readonly OsloEntry[]): string {
    const known = this.#texts.get(entry);
    if (known !== undefined) return known;
    const text = entry.value.includes('$') ? this.#filledIn(entry, [...above, entry]) : entry.value;
    if (text.length > MAX_TEXT) {
      this.problems.push(problemOf(entry, `is longer than ${MAX_TEXT} characters`, 'is it the right file?'));
    }
    const short = text.slice(0, MAX_TEXT);
    this.#texts.set(entry, short);
    return short;
  }

  #filledIn(entry: OsloEntry, chain: readonly OsloEntry[]): string {
    return entry.value
      .replaceAll('\\$', '$$$$')
      .replace(REFERENCE, (match: string, bare: string | undefined, braced: string | undefined) => {
        const name = bare ?? braced;
        return name === undefined ? '$' : (this.#referred(name, entry, chain) ?? match);
      });
  }

  #referred(name: string, from: OsloEntry, chain: readonly OsloEntry[]): string | undefined {
    const dot = name.indexOf('.');
    const candidates =
      dot < 0
        ? [this.#keyOf(from.section, name), this.#keyOf('DEFAULT', name)]
        : [this.#keyOf(name.slice(0, dot), name.slice(dot + 1))];
    for (const path of candidates) {
      const entry = this.#entries.get(path);
      if (entry !== undefined && chain.includes(entry)) {
        this.problems.push(problemOf(from, 'refers to itself through $…', 'write the value itself'));
        return undefined;
      }
      const text = entry === undefined ? DEFAULTS[path] : this.#substituted(entry, chain);
      if (text !== undefined) return text;
    }
    this.#unknownReference(name, from);
    return undefined;
  }

  #keyOf(section: string, name: string): string {
    const [today, option] = canonicalOption(sectionName(section), name, (candidate) =>
      this.holdsCredentials(candidate),
    );
    return keyOf(today, option);
  }

  /** A secret with a dollar sign looks like a reference: it must not be shown. */
  #unknownReference(name: string, from: OsloEntry): void {
    const what = isSecretOption(from.name) ? 'a $ with a name behind it' : `$${name.slice(0, 60)}`;
    const message = `${what} refers to no option of these files and was left as it is`;
    this.warnings.push(problemOf(from, message, 'write $$ for a dollar sign'));
  }
}

/** A problem at the place of an option. */
export function problemOf(entry: OsloEntry, message: string, hint?: string): Problem {
  const { file, line, column, section, name } = entry;
  return { file, line, column, path: pathOf(section, name), message, hint };
}

/** `did you mean [collect]?` for a section that is not there. */
export function nearestSection(section: string, config: OsloConfig): string | undefined {
  return didYouMean(section, config.sections);
}

function keyOf(section: string, name: string): string {
  return `[${section}] ${name}`;
}

function namedSections(entries: readonly OsloEntry[]): ReadonlySet<string> {
  return new Set(
    entries
      .filter(({ name }) => name === 'auth_section')
      .map(({ value }) => sectionName(value))
      .map((section) => SECTION_ALIASES[section] ?? section),
  );
}

async function filesOf(folder: string): Promise<readonly string[]> {
  try {
    const names = await readdir(folder);
    return names
      .filter((name) => name.endsWith('.conf'))
      .sort()
      .map((name) => join(folder, name));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw fileError(folder, `the folder cannot be read (${code})`, 'check the path given with --config-dir');
  }
}
