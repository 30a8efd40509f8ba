/**
 * The rule language of oslo.policy (its documentation: "Policy configuration", policy checks). A rule is text with `and`,
 * `or`, `not` and parentheses over checks, or in the older form a list of lists: any of the inner lists, all checks of it.
 */
export type Rule =
  | { readonly kind: 'always' }
  | { readonly kind: 'never' }
  /** Passes when the other rule passes. */
  | { readonly kind: 'rule'; readonly name: string }
  /** The caller has the role; case does not count. */
  | { readonly kind: 'role'; readonly role: Template }
  /** A fact about the caller equals the text. */
  | { readonly kind: 'fact'; readonly name: string; readonly text: Template }
  /** A literal equals the text. */
  | { readonly kind: 'literal'; readonly value: string; readonly text: Template }
  | { readonly kind: 'not'; readonly rule: Rule }
  | { readonly kind: 'all'; readonly rules: readonly Rule[] }
  | { readonly kind: 'any'; readonly rules: readonly Rule[] };

/** Text with places for the target's values: `%(project_id)s`. */
export type Template = readonly (string | { readonly target: string })[];

export interface RuleFault {
  readonly message: string;
  readonly hint: string | undefined;
}

export type ParsedRule =
  | { readonly rule: Rule; readonly fault?: undefined }
  | { readonly fault: RuleFault; readonly rule?: undefined };

/** A rule as a file holds it. */
export type WrittenRule = string | readonly (string | readonly string[])[];

/** Far above any rule that a person writes. */
const MAX_CHARACTERS = 20_000;
const MAX_NESTING = 50;

/**
 * Reads a rule. Never throws: text that is no rule gives a fault. The reference turns such text into a rule that nobody
 * passes and says so in its log only.
 */
export function parseRule(written: WrittenRule): ParsedRule {
  try {
    return { rule: typeof written === 'string' ? parseText(written) : parseList(written) };
  } catch (error) {
    if (error instanceof Unreadable) return { fault: { message: error.message, hint: error.hint } };
    throw error;
  }
}

/** Ends the parsing of one rule; never leaves this file. */
class Unreadable extends Error {
  readonly hint: string | undefined;

  constructor(message: string, hint?: string) {
    super(message);
    this.hint = hint;
  }
}

type Token = '(' | ')' | 'and' | 'or' | 'not' | { readonly check: string };

function parseText(text: string): Rule {
  if (text.length > MAX_CHARACTERS) throw new Unreadable(`is longer than ${MAX_CHARACTERS} characters`);
  if (text === '') return { kind: 'always' };
  const tokens = tokensOf(text);
  if (tokens.length === 0)
    throw new Unreadable('is blank', 'write "" to allow everybody, "!" to allow nobody');
  return new Parser(tokens).whole();
}

function parseList(list: readonly (string | readonly string[])[]): Rule {
  if (list.length === 0) return { kind: 'always' };
  const alternatives = list
    .filter((inner) => inner.length > 0)
    .map((inner) => group('all', (typeof inner === 'string' ? [inner] : inner).map(parseCheck)));
  return group('any', alternatives);
}

/** Words, with the parentheses around them cut off. Parentheses inside a word belong to it: `%(project_id)s`. */
function tokensOf(text: string): readonly Token[] {
  return text.split(/\s+/).flatMap((word) => {
    const opened = word.replace(/^\(+/, '');
    const bare = trimClosing(opened);
    return [
      ...repeated('(', word.length - opened.length),
      ...(bare === '' ? [] : [tokenOf(bare)]),
      ...repeated(')', opened.length - bare.length),
    ];
  });
}

function trimClosing(word: string): string {
  let end = word.length;
  while (end > 0 && word[end - 1] === ')') end--;
  return word.slice(0, end);
}

function repeated(token: '(' | ')', times: number): readonly Token[] {
  return Array.from({ length: times }, () => token);
}

function tokenOf(word: string): Token {
  const lower = word.toLowerCase();
  return lower === 'and' || lower === 'or' || lower === 'not' ? lower : { check: word };
}

class Parser {
  readonly #tokens: readonly Token[];
  #next = 0;
  #nesting = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  whole(): Rule {
    const rule = this.#any();
    if (this.#next < this.#tokens.length) {
      const token = this.#tokens[this.#next]!;
      if (token === ')') throw new Unreadable("has a ')' too many");
      throw new Unreadable(`has no 'and' or 'or' before '${shown(token)}'`, 'join checks with and, or, not');
    }
    return rule;
  }

  #any(): Rule {
    const rules = [this.#all()];
    while (this.#take('or')) rules.push(this.#all());
    return group('any', rules);
  }

  #all(): Rule {
    const rules = [this.#one()];
    while (this.#take('and')) rules.push(this.#one());
    return group('all', rules);
  }

  #one(): Rule {
    if (++this.#nesting > MAX_NESTING) throw new Unreadable(`is nested more than ${MAX_NESTING} deep`);
    const rule = this.#unnested();
    this.#nesting--;
    return rule;
  }

  #unnested(): Rule {
    const token = this.#tokens[this.#next++];
    if (token === undefined) throw new Unreadable('ends where a check is expected');
    if (token === 'not') return { kind: 'not', rule: this.#one() };
    if (token === '(') {
      const rule = this.#any();
      if (!this.#take(')')) throw new Unreadable("lacks a ')'");
      return rule;
    }
    if (typeof token === 'string') throw new Unreadable(`has '${token}' where a check is expected`);
    return parseCheck(token.check);
  }

  #take(wanted: Token): boolean {
    if (this.#tokens[this.#next] !== wanted) return false;
    this.#next++;
    return true;
  }
}

function group(kind: 'all' | 'any', rules: readonly Rule[]): Rule {
  if (rules.length === 1) return rules[0]!;
  return rules.length === 0 ? { kind: 'never' } : { kind, rules };
}

function parseCheck(check: string): Rule {
  if (check === '@') return { kind: 'always' };
  if (check === '!') return { kind: 'never' };
  const colon = check.indexOf(':');
  if (colon <= 0) {
    const example = "write for example 'role:reader', 'rule:context_is_admin', '@' or '!'";
    throw new Unreadable(`has the check '${shown({ check })}', which is not of the form kind:value`, example);
  }
  const [kind, value] = [check.slice(0, colon), check.slice(colon + 1)];
  if (kind === 'http' || kind === 'https') {
    throw new Unreadable(
      `asks another server ('${shown({ check })}'), which Ratecat does not do`,
      'express the rule with roles and ids',
    );
  }
  if (kind === 'rule') return { kind: 'rule', name: value };
  if (kind === 'role') return { kind: 'role', role: templateOf(value) };
  const literal = literalOf(kind);
  if (literal !== undefined) return { kind: 'literal', value: literal, text: templateOf(value) };
  if (!/^(?!(?:and|or|not)$)[\w.-]+$/i.test(kind)) {
    throw new Unreadable(
      `has the check '${shown({ check })}', whose part before the colon is no name`,
      "put blanks around and, or, not and outside of parentheses; quote texts as in 'member':%(role)s",
    );
  }
  return { kind: 'fact', name: kind, text: templateOf(value) };
}

/** What Python prints for a literal of its own; undefined for a name. */
function literalOf(kind: string): string | undefined {
  const quoted = /^'([^'\\]*)'$|^"([^"\\]*)"$/.exec(kind);
  if (quoted !== null) return quoted[1] ?? quoted[2] ?? '';
  return /^(True|False|None|0|-?[1-9]\d*)$/.test(kind) ? kind : undefined;
}

function templateOf(text: string): Template {
  const parts: (string | { readonly target: string })[] = [];
  let end = 0;
  for (const match of text.matchAll(/%%|%\(([^()]*)\)s|%/g)) {
    if (match.index > end) parts.push(text.slice(end, match.index));
    end = match.index + match[0].length;
    if (match[0] === '%%') parts.push('%');
    else if (match[1] !== undefined) parts.push({ target: match[1] });
    else throw new Unreadable("has a '%' that begins no %(name)s", "write '%%' for the sign itself");
  }
  if (end < text.length) parts.push(text.slice(end));
  return parts;
}

function shown(token: Token): string {
  const text = typeof token === 'string' ? token : token.check;
  return text.length > 60 ? `${text.slice(0, 59)}…` : text;
}
