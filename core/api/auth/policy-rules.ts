import { didYouMean } from '../../config/nearest-key.js';
import type { UnjudgedIdentity } from './identity.js';
import type { PolicyTarget } from './policy.js';
import type { Rule, RuleFault, Template } from './policy-language.js';

/** What rules know about a caller, by oslo.context's names. `null`: the caller has none. */
export type Facts = ReadonlyMap<string, string | null | readonly string[]>;

/** A fault of a set of rules, and the rule that has it. */
export interface NamedFault extends RuleFault {
  readonly name: string;
}

/** Rules may lean on each other, but not in longer chains. */
const MAX_CHAIN = 50;

/** Rules by name, checked: every rule that another one names exists, and none leans on itself. */
export class PolicyRules {
  readonly #rules: ReadonlyMap<string, Rule>;

  private constructor(rules: ReadonlyMap<string, Rule>) {
    this.#rules = rules;
  }

  static from(
    rules: ReadonlyMap<string, Rule>,
  ):
    | { readonly rules: PolicyRules; readonly faults?: undefined }
    | { readonly faults: readonly NamedFault[]; readonly rules?: undefined } {
    const faults = [...missingRules(rules), ...circles(rules)];
    return faults.length > 0 ? { faults } : { rules: new PolicyRules(rules) };
  }

  has(name: string): boolean {
    return this.#rules.has(name);
  }

  /** False for a rule that does not exist, and whenever something is not known. */
  allows(name: string, facts: Facts, target: PolicyTarget): boolean {
    return new Evaluation(this.#rules, facts, target).passes(name);
  }
}

/** One question to the rules. Each rule is judged once, however often others name it. */
class Evaluation {
  readonly #rules: ReadonlyMap<string, Rule>;
  readonly #facts: Facts;
  readonly #target: PolicyTarget;
  readonly #judged = new Map<string, boolean>();

  constructor(rules: ReadonlyMap<string, Rule>, facts: Facts, target: PolicyTarget) {
    this.#rules = rules;
    this.#facts = facts;
    this.#target = target;
  }

  passes(name: string): boolean {
    const known = this.#judged.get(name);
    if (known !== undefined) return known;
    const rule = this.#rules.get(name);
    const result = rule !== undefined && this.#judge(rule);
    this.#judged.set(name, result);
    return result;
  }

  #judge(rule: Rule): boolean {
    switch (rule.kind) {
      case 'always':
        return true;
      case 'never':
        return false;
      case 'rule':
        return this.passes(rule.name);
      case 'role':
        return this.#hasRole(rule.role);
      case 'fact':
        return this.#isFact(rule.name, rule.text);
      case 'literal':
        return this.#fill(rule.text)?.text === rule.value;
      case 'not':
        return !this.#judge(rule.rule);
      case 'all':
        return rule.rules.every((part) => this.#judge(part));
      case 'any':
        return rule.rules.some((part) => this.#judge(part));
    }
  }

  #hasRole(template: Template): boolean {
    const wanted = this.#fill(template)?.text.toLowerCase();
    const roles = this.#facts.get('roles');
    return Array.isArray(roles) && roles.some((role) => role.toLowerCase() === wanted);
  }

  /**
   * Python compares texts, so the reference takes a caller without project for the owner of a target without project
   * (`None` is `None`). Here nothing equals what is absent, unless the rule itself says `None`.
   */
  #isFact(name: string, template: Template): boolean {
    const fact = this.#facts.get(name);
    const filled = this.#fill(template);
    if (fact === undefined || filled === undefined) return false;
    if (fact === null) return filled.text === 'None' && !filled.hasAbsent;
    if (filled.hasAbsent) return false;
    return typeof fact === 'string' ? fact === filled.text : fact.includes(filled.text);
  }

  /** Undefined when the target lacks a value that is asked for. */
  #fill(template: Template): { readonly text: string; readonly hasAbsent: boolean } | undefined {
    let text = '';
    let hasAbsent = false;
    for (const part of template) {
      if (typeof part === 'string') {
        text += part;
        continue;
      }
      if (!Object.hasOwn(this.#target, part.target)) return undefined;
      const value = this.#target[part.target] ?? null;
      if (value === null) hasAbsent = true;
      text += value ?? 'None';
    }
    return { text, hasAbsent };
  }
}

/** The caller as rules see it. `is_admin` is unknown to the rule that decides it. */
export function factsOf(identity: UnjudgedIdentity & { readonly isAdmin?: boolean }): Facts {
  const { userId = null, projectId = null, domainId = null, systemScope = null } = identity;
  const { userDomainId = null, projectDomainId = null } = identity;
  return new Map<string, string | null | readonly string[]>([
    ['user_id', userId],
    ['user_domain_id', userDomainId],
    ['project_id', projectId],
    ['project_domain_id', projectDomainId],
    ['domain_id', domainId],
    ['system_scope', systemScope],
    ['roles', identity.roles],
    ['is_admin_project', pythonBoolean(identity.isAdminProject)],
    ...(identity.isAdmin === undefined ? [] : [['is_admin', pythonBoolean(identity.isAdmin)] as const]),
  ]);
}

function pythonBoolean(value: boolean): string {
  return value ? 'True' : 'False';
}

function missingRules(rules: ReadonlyMap<string, Rule>): readonly NamedFault[] {
  return [...rules].flatMap(([name, rule]) =>
    namesIn(rule)
      .filter((other) => !rules.has(other))
      .map((other) => ({
        name,
        message: `leans on the rule '${other.slice(0, 80)}', which does not exist`,
        hint: didYouMean(other, rules.keys()) ?? 'define it in the same file',
      })),
  );
}

/** Rules that lean on themselves or in too long a chain; one fault per such chain. */
function circles(rules: ReadonlyMap<string, Rule>): readonly NamedFault[] {
  const faults: NamedFault[] = [];
  const lengths = new Map<string, number>();
  const chain: string[] = [];
  const lengthOf = (name: string): number => {
    const known = lengths.get(name);
    if (known !== undefined) return known;
    const begin = chain.indexOf(name);
    if (begin >= 0 || chain.length >= MAX_CHAIN) {
      faults.push(...faultsOf(chain, begin, name));
      return 0;
    }
    chain.push(name);
    const length = 1 + Math.max(0, ...namesIn(rules.get(name)).map(lengthOf));
    chain.pop();
    lengths.set(name, length);
    if (length > MAX_CHAIN) faults.push(tooLong(name));
    return length;
  };
  for (const name of rules.keys()) lengthOf(name);
  return faults;
}

function faultsOf(chain: readonly string[], begin: number, name: string): readonly NamedFault[] {
  if (begin < 0) return [tooLong(chain[0]!)];
  const circle = [...chain.slice(begin), name];
  return [...new Set(circle)].map((member) => ({
    name: member,
    message: `leans on itself (${circle.join(' → ').slice(0, 200)})`,
    hint: 'one of these rules must not name the next',
  }));
}

function tooLong(name: string): NamedFault {
  return { name, message: `leans on a chain of more than ${MAX_CHAIN} rules`, hint: 'write it out' };
}

/** Names of the rules that a rule leans on. */
function namesIn(rule: Rule | undefined): readonly string[] {
  switch (rule?.kind) {
    case 'rule':
      return [rule.name];
    case 'not':
      return namesIn(rule.rule);
    case 'all':
    case 'any':
      return rule.rules.flatMap(namesIn);
    default:
      return [];
  }
}
