import { ConfigError, Decimal } from '../plugin-api/index.js';

/** Bounds that keep a hostile expression from costing memory or stack. */
const MAX_LENGTH = 10_000;
const MAX_DEPTH = 100;

/** `is` and `is not` compare with None, True or False only. */
export type ComparisonOperator = '==' | '!=' | '<' | '<=' | '>' | '>=' | 'in' | 'not in' | 'is' | 'is not';
export type ArithmeticOperator = '+' | '-' | '*';
export type Method = 'get' | 'startswith' | 'endswith' | 'lower' | 'upper';

/** An operator with the operand to its right. */
export interface Operation<Operator extends string> {
  readonly operator: Operator;
  readonly operand: Expression;
  readonly offset: number;
}

/** A parsed expression; `offset` is where in the text to point when its evaluation fails. */
export type Expression =
  | { readonly kind: 'literal'; readonly value: Decimal | string | boolean | null }
  | { readonly kind: 'datapoint' }
  | { readonly kind: 'list'; readonly items: readonly Expression[] }
  | { readonly kind: 'dictionary'; readonly entries: readonly (readonly [string, Expression])[] }
  | { readonly kind: 'and' | 'or'; readonly operands: readonly Expression[] }
  | { readonly kind: 'not'; readonly operand: Expression }
  | { readonly kind: 'negate' | 'length'; readonly operand: Expression; readonly offset: number }
  | Chain<'comparison', ComparisonOperator>
  | Chain<'arithmetic', ArithmeticOperator>
  | {
      readonly kind: 'index';
      readonly target: Expression;
      readonly key: Expression;
      readonly offset: number;
    }
  | {
      readonly kind: 'call';
      readonly method: Method;
      readonly target: Expression;
      readonly arguments: readonly Expression[];
      readonly offset: number;
    };

export interface Chain<Kind extends string, Operator extends string> {
  readonly kind: Kind;
  readonly first: Expression;
  readonly rest: readonly Operation<Operator>[];
}

/**
 * Reads the small part of Python's expressions that skip expressions are written in.
 * @throws ConfigError RATECAT_EXPRESSION_INVALID with the place of the mistake.
 */
export function parseSkipExpression(text: string): Expression {
  if (text.length > MAX_LENGTH) {
    throw invalid(text, MAX_LENGTH, `the expression is longer than ${MAX_LENGTH} characters`);
  }
  return new Parser(text, readTokens(text)).parse();
}

/** `column 5`, or with the line when there are several; counted from one. */
export function describePosition(text: string, offset: number): string {
  const before = text.slice(0, offset).split('\n');
  const column = before.at(-1)!.length + 1;
  return text.includes('\n') ? `line ${before.length}, column ${column}` : `column ${column}`;
}

function invalid(text: string, offset: number, problem: string): ConfigError {
  return new ConfigError(
    'RATECAT_EXPRESSION_INVALID',
    `skip_datapoints_expression is invalid at ${describePosition(text, offset)}: ${problem}.`,
    { details: { expression: text.slice(0, 500), offset } },
  );
}

// ------------------------------------------------------------------------------------------------------- tokens

interface Token {
  readonly kind: 'number' | 'string' | 'name' | 'operator' | 'end';
  /** What is written; for a string, what it means. */
  readonly text: string;
  readonly offset: number;
}

const SPACE = /[ \t\r\n\f]+/y;
const NUMBER = /(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?/y;
const NAME = /[A-Za-z_][A-Za-z0-9_]*/y;
const OPERATOR = /==|!=|<=|>=|[<>()[\]{},:.+*-]/y;
const ESCAPED = /\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|([\\'"nrt]))/y;
const ESCAPES: ReadonlyMap<string, string> = new Map([
  ['n', '\n'],
  ['r', '\r'],
  ['t', '\t'],
]);

function readTokens(text: string): readonly Token[] {
  const tokens: Token[] = [];
  let offset = matchAt(SPACE, text, 0).length;
  while (offset < text.length) {
    const { token, end } = readToken(text, offset);
    tokens.push(token);
    offset = end + matchAt(SPACE, text, end).length;
  }
  tokens.push({ kind: 'end', text: '', offset });
  return tokens;
}

function readToken(text: string, offset: number): { token: Token; end: number } {
  const first = text[offset]!;
  if (first === '"' || first === "'") return readString(text, offset);
  const number = matchAt(NUMBER, text, offset);
  const name = matchAt(NAME, text, offset);
  if (number !== '') {
    const end = offset + number.length;
    if (matchAt(NAME, text, end) !== '') throw invalid(text, end, 'a number is followed by a letter');
    return { token: { kind: 'number', text: number, offset }, end };
  }
  if (name !== '') return { token: { kind: 'name', text: name, offset }, end: offset + name.length };
  const operator = matchAt(OPERATOR, text, offset);
  if (operator !== '') {
    return { token: { kind: 'operator', text: operator, offset }, end: offset + operator.length };
  }
  const hint = first === '=' ? '; write == to compare' : '';
  throw invalid(text, offset, `${quote(first)} has no meaning here${hint}`);
}

function readString(text: string, offset: number): { token: Token; end: number } {
  const delimiter = text[offset];
  let value = '';
  let position = offset + 1;
  while (text[position] !== delimiter) {
    const character = text[position];
    if (character === undefined || character === '\n')
      throw invalid(text, offset, 'the text has no closing quote');
    const part = character === '\\' ? readEscape(text, position) : { value: character, length: 1 };
    value += part.value;
    position += part.length;
  }
  return { token: { kind: 'string', text: value, offset }, end: position + 1 };
}

function readEscape(text: string, offset: number): { value: string; length: number } {
  ESCAPED.lastIndex = offset;
  const match = ESCAPED.exec(text);
  if (match === null) throw invalid(text, offset, 'unknown escape; write \\\\ for a backslash');
  const hexadecimal = match[1] ?? match[2];
  const letter = match[3] ?? '';
  const value =
    hexadecimal === undefined
      ? (ESCAPES.get(letter) ?? letter)
      : String.fromCharCode(Number.parseInt(hexadecimal, 16));
  return { value, length: match[0].length };
}

function matchAt(pattern: RegExp, text: string, offset: number): string {
  pattern.lastIndex = offset;
  return pattern.exec(text)?.[0] ?? '';
}

function quote(text: string): string {
  return `'${text.slice(0, 40)}'`;
}

// ------------------------------------------------------------------------------------------------------- grammar

const COMPARISONS: ReadonlySet<string> = new Set(['==', '!=', '<', '<=', '>', '>=']);
const CONSTANTS: ReadonlyMap<string, boolean | null> = new Map<string, boolean | null>([
  ['True', true],
  ['False', false],
  ['None', null],
]);
/** Least and greatest number of arguments. */
const METHODS: ReadonlyMap<string, readonly [number, number]> = new Map([
  ['get', [1, 2]],
  ['startswith', [1, 1]],
  ['endswith', [1, 1]],
  ['lower', [0, 0]],
  ['upper', [0, 0]],
]);
const RESERVED: ReadonlySet<string> = new Set(
  'and or not in is if else for lambda await async yield from import'.split(' '),
);

/** Recursive descent, one method per precedence, loosest first. */
class Parser {
  readonly #text: string;
  readonly #tokens: readonly Token[];
  #position = 0;
  #depth = 0;

  constructor(text: string, tokens: readonly Token[]) {
    this.#text = text;
    this.#tokens = tokens;
  }

  parse(): Expression {
    const expression = this.#disjunction();
    const { kind, text, offset } = this.#token;
    if (kind !== 'end') throw this.#invalid(offset, `unexpected ${quote(text)} after a complete expression`);
    return expression;
  }

  #disjunction(): Expression {
    const operands = [this.#conjunction()];
    while (this.#accept('or')) operands.push(this.#conjunction());
    return operands.length === 1 ? operands[0]! : { kind: 'or', operands };
  }

  #conjunction(): Expression {
    const operands = [this.#negation()];
    while (this.#accept('and')) operands.push(this.#negation());
    return operands.length === 1 ? operands[0]! : { kind: 'and', operands };
  }

  #negation(): Expression {
    if (!this.#accept('not')) return this.#comparison();
    return { kind: 'not', operand: this.#nested(() => this.#negation()) };
  }

  #comparison(): Expression {
    const first = this.#sum();
    const rest: Operation<ComparisonOperator>[] = [];
    for (;;) {
      const { offset } = this.#token;
      const operator = this.#comparisonOperator();
      if (operator === undefined) break;
      const operandOffset = this.#token.offset;
      const operand = this.#sum();
      if (operator.startsWith('is') && !isNamedConstant(operand)) {
        throw this.#invalid(
          operandOffset,
          `'${operator}' compares with None, True or False only; write == or !=`,
        );
      }
      rest.push({ operator, operand, offset });
    }
    return rest.length === 0 ? first : { kind: 'comparison', first, rest };
  }

  #comparisonOperator(): ComparisonOperator | undefined {
    const { kind, text } = this.#token;
    if (kind === 'operator' && COMPARISONS.has(text)) {
      this.#position++;
      return text as ComparisonOperator;
    }
    if (this.#accept('in')) return 'in';
    if (this.#accept('is')) return this.#accept('not') ? 'is not' : 'is';
    if (!this.#accept('not')) return undefined;
    this.#expect('in');
    return 'not in';
  }

  #sum(): Expression {
    return this.#arithmetic(['+', '-'], () => this.#product());
  }

  #product(): Expression {
    return this.#arithmetic(['*'], () => this.#signed());
  }

  #arithmetic(operators: readonly ArithmeticOperator[], operand: () => Expression): Expression {
    const first = operand();
    const rest: Operation<ArithmeticOperator>[] = [];
    for (;;) {
      const { offset } = this.#token;
      const operator = operators.find((candidate) => this.#accept(candidate));
      if (operator === undefined) break;
      rest.push({ operator, operand: operand(), offset });
    }
    return rest.length === 0 ? first : { kind: 'arithmetic', first, rest };
  }

  #signed(): Expression {
    const { offset } = this.#token;
    if (!this.#accept('-')) return this.#postfix();
    const operand = this.#nested(() => this.#signed());
    if (operand.kind === 'literal' && operand.value instanceof Decimal) {
      return { kind: 'literal', value: operand.value.negated() };
    }
    return { kind: 'negate', operand, offset };
  }

  #postfix(): Expression {
    let target = this.#primary();
    for (;;) {
      const { offset } = this.#token;
      if (this.#accept('[')) {
        const key = this.#nested(() => this.#disjunction());
        this.#expect(']');
        target = { kind: 'index', target, key, offset };
      } else if (this.#accept('.')) target = this.#call(target);
      else return target;
    }
  }

  #call(target: Expression): Expression {
    const { kind, text, offset } = this.#token;
    const arity = kind === 'name' ? METHODS.get(text) : undefined;
    if (arity === undefined) {
      const known = [...METHODS.keys()].map((name) => `.${name}()`).join(', ');
      throw this.#invalid(offset, `${quote(text)} is not known; there are ${known} and ["name"]`);
    }
    this.#position++;
    this.#expect('(');
    const values = this.#items(')');
    if (values.length < arity[0] || values.length > arity[1]) {
      const expected = arity[0] === arity[1] ? `${arity[0]}` : `${arity[0]} to ${arity[1]}`;
      throw this.#invalid(offset, `.${text}() takes ${expected} arguments, not ${values.length}`);
    }
    return { kind: 'call', method: text as Method, target, arguments: values, offset };
  }

  #primary(): Expression {
    const token = this.#token;
    switch (token.kind) {
      case 'number':
        return this.#number(token);
      case 'string':
        this.#position++;
        return { kind: 'literal', value: token.text };
      case 'name':
        return this.#name(token);
      default:
        if (this.#accept('(')) return this.#parenthesised();
        if (this.#accept('[')) return { kind: 'list', items: this.#items(']') };
        if (this.#accept('{')) return this.#braces();
        throw this.#unexpected();
    }
  }

  #number(token: Token): Expression {
    const value = Decimal.tryParse(token.text);
    if (value === undefined) throw this.#invalid(token.offset, 'the number is too large');
    this.#position++;
    return { kind: 'literal', value };
  }

  #name(token: Token): Expression {
    const { text, offset } = token;
    const constant = CONSTANTS.get(text);
    if (RESERVED.has(text)) throw this.#unexpected();
    if (text !== 'datapoint' && text !== 'len' && constant === undefined) {
      const hint = 'there are datapoint, len(), True, False and None; text is written in quotes';
      throw this.#invalid(offset, `${quote(text)} is not known; ${hint}`);
    }
    this.#position++;
    if (constant !== undefined) return { kind: 'literal', value: constant };
    if (text === 'datapoint') return { kind: 'datapoint' };
    this.#expect('(');
    const operand = this.#nested(() => this.#disjunction());
    this.#expect(')');
    return { kind: 'length', operand, offset };
  }

  /** A parenthesis groups; with a comma, or empty, it is a tuple, which is a list here. */
  #parenthesised(): Expression {
    if (this.#accept(')')) return { kind: 'list', items: [] };
    const first = this.#nested(() => this.#disjunction());
    if (this.#accept(')')) return first;
    this.#expect(',');
    return { kind: 'list', items: [first, ...this.#items(')')] };
  }

  /** A dictionary, or a set, which is a list here. */
  #braces(): Expression {
    if (this.#accept('}')) return { kind: 'dictionary', entries: [] };
    const second = this.#tokens[this.#position + 1];
    if (this.#token.kind === 'string' && second?.kind === 'operator' && second.text === ':') {
      return { kind: 'dictionary', entries: this.#entries() };
    }
    return { kind: 'list', items: this.#items('}') };
  }

  #entries(): readonly (readonly [string, Expression])[] {
    const entries = new Map<string, Expression>();
    while (!this.#accept('}')) {
      const { kind, text } = this.#token;
      if (kind !== 'string') throw this.#unexpected('a key in quotes');
      this.#position++;
      this.#expect(':');
      entries.set(
        text,
        this.#nested(() => this.#disjunction()),
      );
      if (this.#accept('}')) break;
      this.#expect(',');
    }
    return [...entries];
  }

  /** Expressions up to the closing sign; a comma may follow the last one. */
  #items(close: string): readonly Expression[] {
    const items: Expression[] = [];
    while (!this.#accept(close)) {
      items.push(this.#nested(() => this.#disjunction()));
      if (this.#accept(close)) break;
      this.#expect(',');
    }
    return items;
  }

  #nested<T>(parse: () => T): T {
    if (++this.#depth > MAX_DEPTH) {
      throw this.#invalid(this.#token.offset, `the expression is nested deeper than ${MAX_DEPTH} levels`);
    }
    const result = parse();
    this.#depth--;
    return result;
  }

  get #token(): Token {
    return this.#tokens[this.#position]!;
  }

  /** Takes a keyword or operator if it comes next. */
  #accept(text: string): boolean {
    const { kind, text: found } = this.#token;
    if (found !== text || (kind !== 'operator' && kind !== 'name')) return false;
    this.#position++;
    return true;
  }

  #expect(text: string): void {
    if (!this.#accept(text)) throw this.#unexpected(quote(text));
  }

  #unexpected(expected = 'a value'): ConfigError {
    const { kind, text, offset } = this.#token;
    const found = kind === 'end' ? 'the expression ends' : `${quote(text)} stands`;
    return this.#invalid(offset, `${found} where ${expected} is expected`);
  }

  #invalid(offset: number, problem: string): ConfigError {
    return invalid(this.#text, offset, problem);
  }
}

function isNamedConstant(expression: Expression): boolean {
  return (
    expression.kind === 'literal' && (expression.value === null || typeof expression.value === 'boolean')
  );
}
