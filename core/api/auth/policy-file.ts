import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { configError, type Problem, TOP } from '../../config/problems.js';
import { parseYaml, type YamlDocument } from '../../config/yaml-document.js';
import type { SourceNode } from '../../config/yaml-tree.js';
import { type Clock, isRatecatError, type Logger } from '../../plugin-api/index.js';
import type { Identity, UnjudgedIdentity } from './identity.js';
import type { Policy, PolicyTarget } from './policy.js';
import { DEFAULT_RULES, defaultRules } from './policy-defaults.js';
import { parseRule, type Rule, type WrittenRule } from './policy-language.js';
import { type Facts, factsOf, type NamedFault, PolicyRules } from './policy-rules.js';

export interface PolicyFiles {
  /** Absent: the defaults apply. */
  readonly file: string | undefined;
  /** Their files come after `file`, folder by folder in the order of their names. */
  readonly folders: readonly string[];
}

export interface FilePolicyParts {
  readonly clock: Clock;
  readonly logger: Logger;
}

const CHECK_EVERY_MS = 1000;
const MAX_BYTES = 1024 * 1024;

/**
 * The reference's rules with what files of the operator say instead (spec: policy; oslo.policy's `policy_file` and
 * `policy_dirs`). Changed files count within a second, without a restart. Every rule is for tokens of projects: the
 * reference's rules have scope type `project`.
 */
export class FilePolicy implements Policy {
  readonly #files: PolicyFiles;
  readonly #clock: Clock;
  readonly #logger: Logger;
  #rules: PolicyRules;
  /** Of the files, when they were looked at last. */
  #state: string;
  #checkedAt: number;

  private constructor(files: PolicyFiles, { clock, logger }: FilePolicyParts) {
    this.#files = files;
    this.#clock = clock;
    this.#logger = logger;
    this.#checkedAt = clock.monotonic();
    this.#state = stateOf(files);
    this.#rules = this.#read();
  }

  /** @throws ConfigError RATECAT_CONFIG_INVALID with file, line and column of everything that is wrong. */
  static open(files: PolicyFiles, parts: FilePolicyParts): FilePolicy {
    return new FilePolicy(files, parts);
  }

  allows(rule: string, identity: Identity, target: PolicyTarget = {}): boolean {
    if (identity.isAnonymous || !isOfProject(identity)) return false;
    return this.#current().allows(rule, factsFor(identity), target);
  }

  /** Rule `context_is_admin`; the scope of the token plays no role in it (spec: identity that reaches the app). */
  isAdmin(identity: UnjudgedIdentity): boolean {
    if (identity.isAnonymous) return false;
    const { userId = null, projectId = null } = identity;
    const target = { user_id: userId, project_id: projectId };
    return this.#current().allows('context_is_admin', factsOf(identity), target);
  }

  /** Looks at the files at most once a second; the look is a `stat` of each, the reading of a changed one comes on top. */
  #current(): PolicyRules {
    const now = this.#clock.monotonic();
    if (now - this.#checkedAt < CHECK_EVERY_MS) return this.#rules;
    this.#checkedAt = now;
    const state = stateOf(this.#files);
    if (state !== this.#state) this.#reread(state);
    return this.#rules;
  }

  /** A broken edit leaves the last good rules in force and is told once: its state counts as seen. */
  #reread(state: string): void {
    this.#state = state;
    try {
      this.#rules = this.#read();
      this.#logger.info('policy files were read again', { file: this.#files.file });
    } catch (error) {
      if (!isRatecatError(error)) throw error;
      this.#logger.error('changed policy files are not used: the rules read before stay in force', {
        code: error.code,
        reason: error.message,
      });
    }
  }

  #read(): PolicyRules {
    const { file, folders } = this.#files;
    const paths = [...(file === undefined ? [] : [file]), ...folders.flatMap(filesOf)];
    const { rules, unasked } = readRules(paths);
    if (unasked.length > 0) {
      this.#logger.warn('policy files hold rules that nothing asks for', { rules: unasked.join(', ') });
    }
    return rules;
  }
}

const FACTS = new WeakMap<Identity, Facts>();

/** An identity is judged by several rules, and one that is cached by those of many requests. */
function factsFor(identity: Identity): Facts {
  const known = FACTS.get(identity);
  if (known !== undefined) return known;
  const facts = factsOf(identity);
  FACTS.set(identity, facts);
  return facts;
}

/** Tokens without any scope count as a project's: they lack the roles (spec: policy, engine settings). */
function isOfProject({ systemScope, domainId }: Identity): boolean {
  return systemScope === undefined && domainId === undefined;
}

/** Changes whenever a file is changed, replaced, added or removed. */
function stateOf({ file, folders }: PolicyFiles): string {
  const paths = [
    ...(file === undefined ? [] : [file]),
    ...folders.flatMap((folder) => [folder, ...namesIn(folder)]),
  ];
  return paths.map((path) => `${path}\0${fileState(path)}`).join('\0');
}

function fileState(path: string): string {
  try {
    const { mtimeNs, ctimeNs, size, ino } = statSync(path, { bigint: true });
    return `${mtimeNs} ${ctimeNs} ${size} ${ino}`;
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code);
  }
}

function namesIn(folder: string): readonly string[] {
  try {
    return filesOf(folder);
  } catch {
    return [];
  }
}

/** As oslo.policy: every file but hidden ones. Copies that editors leave behind would undo what was edited. */
function filesOf(folder: string): readonly string[] {
  try {
    return readdirSync(folder)
      .filter((name) => !name.startsWith('.') && !name.endsWith('~'))
      .sort()
      .map((name) => join(folder, name))
      .filter((path) => statSync(path, { throwIfNoEntry: false })?.isFile());
  } catch (error) {
    throw unreadable(folder, error);
  }
}

interface ReadRules {
  readonly rules: PolicyRules;
  /** Names like those of the API's checks that no check has. */
  readonly unasked: readonly string[];
}

/** @throws ConfigError RATECAT_CONFIG_INVALID */
function readRules(paths: readonly string[]): ReadRules {
  const rules = defaultRules();
  const sources = new Map<string, YamlDocument>();
  const problems: Problem[] = [];
  for (const path of paths) {
    const document = readDocument(path);
    if (document === undefined) continue;
    for (const name of ruleNames(document)) {
      const { rule, problem } = readRule(document, name);
      if (problem !== undefined) problems.push(problem);
      sources.set(name, document);
      rules.set(name, rule ?? { kind: 'never' });
    }
  }
  const checked = PolicyRules.from(rules);
  problems.push(...(checked.faults ?? []).map((fault) => located(fault, sources)));
  if (checked.rules === undefined || problems.length > 0) throw configError(problems);
  const unasked = [...sources.keys()].filter(
    (name) => name.includes(':') && !Object.hasOwn(DEFAULT_RULES, name),
  );
  return { rules: checked.rules, unasked };
}

/** A fault at its rule; that of a default rule can only come from what the first file says. */
function located({ name, message, hint }: NamedFault, sources: ReadonlyMap<string, YamlDocument>): Problem {
  const document = sources.get(name);
  if (document !== undefined) return document.problem([name], message, hint);
  const [first] = sources.values();
  return { file: first?.file ?? '', ...TOP, path: name, message, hint };
}

function ruleNames({ root, problem }: YamlDocument): readonly string[] {
  if (root.kind === 'map') return [...root.entries.keys()];
  const hint = 'write one rule a line, such as "rating:get_module": "role:admin"';
  throw configError([problem([], 'must be a mapping of rules', hint)]);
}

type ReadRule =
  | { readonly rule: Rule; readonly problem?: undefined }
  | { readonly problem: Problem; readonly rule?: undefined };

function readRule(document: YamlDocument, name: string): ReadRule {
  const node = document.root.kind === 'map' ? document.root.entries.get(name)?.value : undefined;
  const written = node === undefined ? undefined : writtenRule(node);
  if (written === undefined) {
    const hint = 'put the rule in quotes; "" allows everybody, "!" nobody';
    return { problem: document.problem([name], 'must be text, or a list of lists of checks', hint) };
  }
  const { rule, fault } = parseRule(written);
  return rule === undefined ? { problem: document.problem([name], fault.message, fault.hint) } : { rule };
}

/** Undefined when it has no form of a rule. */
function writtenRule(node: SourceNode): WrittenRule | undefined {
  if (node.kind === 'scalar') return node.type === 'string' ? node.text : undefined;
  if (node.kind !== 'list') return undefined;
  const items = node.items.map((item) => {
    if (item.kind !== 'list') return textOf(item);
    const checks = item.items.map(textOf);
    return checks.every((check) => check !== undefined) ? (checks as readonly string[]) : undefined;
  });
  return items.every((item) => item !== undefined) ? (items as WrittenRule) : undefined;
}

function textOf(node: SourceNode): string | undefined {
  return node.kind === 'scalar' && node.type === 'string' ? node.text : undefined;
}

/** Undefined for a file without content: generated samples hold comments only. */
function readDocument(path: string): YamlDocument | undefined {
  const text = readText(path);
  return isBlank(text) ? undefined : parseYaml(text, path);
}

function isBlank(text: string): boolean {
  return text.split('\n').every((line) => /^\s*(#|(---)?\s*$)/.test(line));
}

function readText(path: string): string {
  try {
    const facts = statSync(path);
    if (!facts.isFile()) throw fileProblem(path, 'is not a regular file');
    if (facts.size > MAX_BYTES) throw fileProblem(path, `has ${facts.size} bytes, more than ${MAX_BYTES}`);
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(readFileSync(path));
  } catch (error) {
    throw unreadable(path, error);
  }
}

function unreadable(path: string, error: unknown): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (isRatecatError(error)) return error;
  if (code === 'ERR_ENCODING_INVALID_ENCODED_DATA') return fileProblem(path, 'is not valid UTF-8');
  if (code === 'ENOENT')
    return fileProblem(path, 'does not exist', 'check api.policy_file and api.policy_dirs');
  if (code === 'EACCES')
    return fileProblem(path, 'cannot be read: permission denied', 'let the daemon read it');
  return fileProblem(path, `cannot be read (${code ?? String(error)})`);
}

function fileProblem(file: string, message: string, hint?: string): Error {
  return configError([{ file, ...TOP, path: '', message: `the policy file or folder ${message}`, hint }]);
}
