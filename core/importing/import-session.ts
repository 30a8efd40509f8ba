import { readdirSync } from 'node:fs';
import { didYouMean } from '../config/nearest-key.js';
import { formatProblem, type Problem } from '../config/problems.js';
import { isSecretOption, optionNames, reasonToIgnore, sectionNames, sectionsWith } from './known-options.js';
import { HTTP_OPTIONS, KEYSTONE_SECTIONS } from './option-names.js';
import { type OsloConfig, problemOf, type Setting } from './oslo-config.js';
import { type OsloEntry, pathOf } from './oslo-file.js';

const KEYSTONE: readonly string[] = KEYSTONE_SECTIONS;
const HTTP: readonly string[] = HTTP_OPTIONS;
const OF_ITSELF =
  'certificates and time limits are read from the section with auth_section, not from the one it names';

/** What became of one option. */
export interface Outcome {
  readonly kind: 'used' | 'mapped' | 'ignored' | 'unknown';
  readonly entry: OsloEntry;
  /** Keys of Ratecat's configuration. */
  readonly targets: readonly string[];
  /** How it was converted, or why it has no effect. */
  readonly note: string | undefined;
}

/** A value that must not stand in the configuration itself. */
export class Secret {
  /** Of the file or variable that holds it, such as `ks_auth.password`. */
  readonly name: string;
  readonly #value: string;

  constructor(name: string, value: string) {
    this.name = name;
    this.#value = value;
  }

  reveal(): string {
    return this.#value;
  }
}

export type ConfigValue = string | number | boolean | Secret | readonly string[] | ConfigNode;
export interface ConfigNode {
  [key: string]: ConfigValue;
}

/** Key of the new configuration. */
type Target = readonly string[];

/** Collects the new configuration, and what became of each option of the old one. */
export class ImportSession {
  readonly config: OsloConfig;
  readonly root: ConfigNode = {};
  readonly problems: Problem[];
  readonly warnings: Problem[];
  /** For things that stand nowhere in the file. */
  readonly advice: string[] = [];
  readonly #outcomes = new Map<Setting, Outcome>();

  constructor(config: OsloConfig) {
    this.config = config;
    this.problems = [...config.problems];
    this.warnings = [...config.warnings];
  }

  set(target: Target, value: ConfigValue): void {
    let node = this.root;
    for (const key of target.slice(0, -1)) {
      node[key] ??= {};
      node = node[key] as ConfigNode;
    }
    node[target.at(-1)!] = value;
  }

  has(target: Target): boolean {
    let node: ConfigValue | undefined = this.root;
    for (const key of target) node = (node as ConfigNode | undefined)?.[key];
    return node !== undefined;
  }

  // ------------------------------------------------------------------------------------------------- what became of it

  used(setting: Setting, target: Target): void {
    this.#outcome(setting, 'used', target, undefined);
  }

  mapped(setting: Setting, target: Target, note: string): void {
    this.#outcome(setting, 'mapped', target, note);
  }

  ignored(setting: Setting | undefined, why: string): void {
    if (setting !== undefined) this.#outcome(setting, 'ignored', [], why);
  }

  problem(setting: Setting, message: string, hint?: string): void {
    addOnce(this.problems, problemOf(setting.entry, message, hint));
  }

  warn(setting: Setting, message: string, hint?: string): void {
    addOnce(this.warnings, problemOf(setting.entry, message, hint));
  }

  /** Of every option, in the order of the files. */
  outcomes(): readonly Outcome[] {
    const counting = this.config.settings.map(
      (setting) => this.#outcomes.get(setting) ?? this.#leftOver(setting),
    );
    const again = this.config.superseded.map(({ entry, by }): Outcome => {
      const note = `given again as ${pathOf(by.section, by.name)} in ${by.file}:${by.line}, which counts`;
      return { kind: 'ignored', entry, targets: [], note };
    });
    return [...counting, ...again];
  }

  #outcome(setting: Setting, kind: Outcome['kind'], target: Target, note: string | undefined): void {
    const before = this.#outcomes.get(setting);
    const targets = target.length === 0 ? [] : [target.join('.')];
    // Credentials are read for several places; what has an effect somewhere is not ignored.
    if (before !== undefined && before.kind !== 'ignored' && kind === 'ignored') return;
    const earlier = before?.targets.filter((name) => !targets.includes(name)) ?? [];
    const worst = before?.kind === 'mapped' ? 'mapped' : kind;
    this.#outcomes.set(setting, {
      kind: worst,
      entry: setting.entry,
      targets: [...earlier, ...targets],
      note: note ?? (kind === 'ignored' ? note : before?.note),
    });
  }

  #leftOver(setting: Setting): Outcome {
    const { entry, section, name, text } = setting;
    const outcome = (kind: Outcome['kind'], note: string | undefined) => ({ kind, entry, targets: [], note });
    const holdsCredentials = this.config.holdsCredentials(section);
    const why =
      reasonToIgnore(section, name, holdsCredentials) ?? reasonToIgnore(entry.section, entry.name, false);
    if (why !== undefined) return outcome('ignored', why);
    if (text === '' && optionNames(section, holdsCredentials).includes(name))
      return outcome('ignored', 'it is empty');
    const isPointedAt = this.config.isNamedByAuthSection(section) && !KEYSTONE.includes(section);
    if (isPointedAt && HTTP.includes(name)) return outcome('ignored', OF_ITSELF);
    if (optionNames(section, holdsCredentials).includes(name)) return outcome('ignored', notAsked(section));
    return outcome('unknown', this.#suggestion(section, name));
  }

  #suggestion(section: string, name: string): string | undefined {
    const elsewhere = sectionsWith(name);
    const isKnown = sectionNames().includes(section) || this.config.holdsCredentials(section);
    if (!isKnown) {
      const near = didYouMean(section, sectionNames());
      if (near !== undefined) return `the section is not known; ${near}`;
      return elsewhere.length === 1
        ? `the section is not known; it is an option of [${elsewhere[0]}]`
        : undefined;
    }
    const near = didYouMean(name, optionNames(section, this.config.holdsCredentials(section)));
    return near ?? (elsewhere.length === 1 ? `it is an option of [${elsewhere[0]}]` : undefined);
  }

  // -------------------------------------------------------------------------------------------------- values by their type

  text(section: string, name: string, target: Target): string | undefined {
    const setting = this.config.find(section, name);
    if (setting === undefined) return undefined;
    if (isSecretOption(setting.name)) {
      this.secret(setting, target);
      return undefined;
    }
    if (!this.isPlain(setting)) return undefined;
    this.set(target, setting.text);
    this.used(setting, target);
    return setting.text;
  }

  /** A URL with a password in it cannot be kept apart from the configuration, so it is a problem. */
  isPlain(setting: Setting): boolean {
    if (!/:\/\/[^\s/:@]*:[^\s@]*@/.test(setting.text)) return true;
    this.problem(setting, 'holds a password in a URL', 'write the URL without user and password');
    return false;
  }

  secret(setting: Setting, target: Target): void {
    if (setting.text.includes('\n')) {
      this.problem(
        setting,
        'a secret has one line',
        'remove the line breaks, or the blanks before the next option',
      );
      return;
    }
    this.set(target, new Secret(`${setting.entry.section}.${setting.entry.name}`, setting.text));
    this.mapped(setting, target, 'kept apart from the configuration');
  }

  boolean(section: string, name: string, target?: Target): boolean | undefined {
    const setting = this.config.find(section, name);
    if (setting === undefined) return undefined;
    const value = booleanOf(setting.text);
    if (value === undefined) {
      this.problem(setting, `must be true or false, got '${setting.text.slice(0, 60)}'`);
      return undefined;
    }
    if (target !== undefined) this.set(target, value);
    if (target !== undefined) this.used(setting, target);
    return value;
  }

  /** A whole number of a range; `clamp` says what to do with one beyond it: refuse or take the nearest. */
  whole(section: string, name: string, target: Target, range: Range): number | undefined {
    const setting = this.config.find(section, name);
    if (setting === undefined) return undefined;
    const value = /^[+-]?\d{1,15}$/.test(setting.text) ? Number(setting.text) : undefined;
    if (value === undefined || (range.beyond === 'refuse' && !isWithin(value, range))) {
      const message = `must be a whole number from ${range.least} to ${range.most}, got '${setting.text.slice(0, 60)}'`;
      this.problem(setting, message);
      return undefined;
    }
    const taken = Math.min(Math.max(value, range.least), range.most);
    this.set(target, taken);
    if (taken === value) this.used(setting, target);
    else this.mapped(setting, target, `${value} became ${taken}, the nearest that is possible`);
    return taken;
  }

  seconds(section: string, name: string, target: Target): void {
    const setting = this.config.find(section, name);
    if (setting === undefined) return;
    if (!/^\d{1,7}(\.\d{1,3})?$/.test(setting.text) || Number(setting.text) === 0) {
      this.problem(setting, `must be a number of seconds, got '${setting.text.slice(0, 60)}'`);
      return;
    }
    this.set(target, Number(setting.text));
    this.used(setting, target);
  }

  list(section: string, name: string, target?: Target): readonly string[] | undefined {
    const setting = this.config.find(section, name);
    if (setting === undefined) return undefined;
    const items = listOf(setting.text);
    if (target !== undefined && items.length > 0) {
      this.set(target, items);
      this.used(setting, target);
    }
    return items;
  }
}

/** Credentials are read for several places; what is wrong with them is said once. */
function addOnce(problems: Problem[], problem: Problem): void {
  const text = formatProblem(problem);
  if (problems.every((other) => formatProblem(other) !== text)) problems.push(problem);
}

export interface Range {
  readonly least: number;
  readonly most: number;
  readonly beyond: 'refuse' | 'take nearest';
}

/** oslo.config's lists: commas, also between lines. */
export function listOf(text: string): readonly string[] {
  return text
    .replace(/^\[([\s\S]*)\]$/, '$1')
    .split(/[,\n]/)
    .map((item) => item.trim().replace(/^(["'])(.*)\1$/, '$2'))
    .filter((item) => item !== '');
}

function isWithin(value: number, { least, most }: Range): boolean {
  return value >= least && value <= most;
}

function booleanOf(text: string): boolean | undefined {
  if (/^(true|1|on|yes)$/i.test(text)) return true;
  return /^(false|0|off|no)$/i.test(text) ? false : undefined;
}

function notAsked(section: string): string {
  if (/^(fetcher|collector|storage)_|_collector$/.test(section))
    return `[${section}] is not the backend that is configured`;
  return 'it has no effect beside the other options';
}

/** Whether a folder has files that a policy could be read from. */
export function holdsFiles(folder: string): boolean {
  try {
    return readdirSync(folder).length > 0;
  } catch {
    return false;
  }
}
