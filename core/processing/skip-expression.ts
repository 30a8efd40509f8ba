import {
  Attributes,
  type AttributeValue,
  compareText,
  DataError,
  Decimal,
  isDecimal,
  type RatedPoint,
} from '../plugin-api/index.js';
import {
  type ArithmeticOperator,
  type Chain,
  type ComparisonOperator,
  describePosition,
  type Expression,
  type Method,
  parseSkipExpression,
} from './skip-expression-parser.js';

/** Whether a rated point is dropped before it is stored. */
export type SkipExpression = (point: RatedPoint) => boolean;

/**
 * Prepares a `skip_datapoints_expression`. The language is the harmless part of Python that such expressions use:
 *
 * - numbers (exact decimals), `'text'`, `True`, `False`, `None`, lists, tuples, sets, dictionaries with text keys;
 * - `and`, `or`, `not`, `== != < <= > >=` (also chained), `in`, `not in`, `is None`, and `+ - *` on numbers;
 * - `x["name"]`, `.get(name, default)`, `.startswith()`, `.endswith()`, `.lower()`, `.upper()`, `len()`;
 * - `datapoint`: `{"vol": {"unit", "qty"}, "rating": {"price"}, "groupby": {…}, "metadata": {…}}`.
 *
 * A point is dropped when the result is true in Python's sense. Unlike in Python, 0.1 is exactly one tenth; tuples, sets and
 * lists are the same and have no order; text cannot be added. Nothing outside the point can be reached, and the time is proportional to expression and point.
 *
 * The returned function throws DataError RATECAT_EXPRESSION_FAILED where Python would raise: a missing key, an order
 * between text and number.
 * @throws ConfigError RATECAT_EXPRESSION_INVALID when the text is not such an expression.
 */
export function compileSkipExpression(text: string): SkipExpression {
  const evaluate = new Compiler(text).compile(parseSkipExpression(text));
  return (point) => isTruthy(evaluate(point));
}

// -------------------------------------------------------------------------------------------------------- values

/** A value while evaluating. Plain objects are attributes as they came from the source; see `asDictionary`. */
type Value = AttributeValue | Dictionary | readonly Value[];

/** `Attributes` are dictionaries as they are. */
interface Dictionary {
  readonly names: readonly string[];
  get(name: string): Value | undefined;
}

class Entries implements Dictionary {
  readonly names: readonly string[];
  readonly #values: readonly Value[];

  constructor(names: readonly string[], values: readonly Value[]) {
    this.names = names;
    this.#values = values;
  }

  get(name: string): Value | undefined {
    return this.#values[this.names.indexOf(name)];
  }
}

const POINT_NAMES = ['vol', 'rating', 'groupby', 'metadata'];
const VOLUME_NAMES = ['unit', 'qty'];
const RATING_NAMES = ['price'];

function pointDictionary({ descriptor, quantity, price }: RatedPoint): Dictionary {
  return new Entries(POINT_NAMES, [
    new Entries(VOLUME_NAMES, [descriptor.unit, quantity]),
    new Entries(RATING_NAMES, [price]),
    descriptor.groupby,
    descriptor.metadata,
  ]);
}

/** The number that a value counts as in arithmetic and comparisons: True is 1. */
function asNumber(value: Value): Decimal | undefined {
  if (typeof value === 'boolean') return value ? Decimal.ONE : Decimal.ZERO;
  return isDecimal(value) ? value : undefined;
}

function asList(value: Value): readonly Value[] | undefined {
  return Array.isArray(value) ? value : undefined;
}

function asDictionary(value: Value): Dictionary | undefined {
  if (typeof value !== 'object' || value === null || isDecimal(value) || Array.isArray(value))
    return undefined;
  if (typeof (value as Dictionary).get === 'function') return value as Dictionary;
  return Attributes.from(value as Readonly<Record<string, AttributeValue>>);
}

function isTruthy(value: Value): boolean {
  if (typeof value === 'boolean') return value;
  if (value === null || value === '') return false;
  if (isDecimal(value)) return !value.isZero;
  return lengthOf(value) !== 0;
}

/** Characters of a text, members of a list or dictionary; undefined for the rest. */
function lengthOf(value: Value): number | undefined {
  if (typeof value === 'string') return [...value].length;
  return asList(value)?.length ?? asDictionary(value)?.names.length;
}

/** Attributes come from outside and may be nested at will. */
const MAX_COMPARED_DEPTH = 100;

function isEqual(left: Value, right: Value, depth = 0): boolean {
  if (left === right) return true;
  if (typeof left === 'string' || left === null) return false;
  const number = asNumber(left);
  if (number !== undefined) return asNumber(right)?.equals(number) === true;
  if (depth > MAX_COMPARED_DEPTH) {
    throw new DataError(
      'RATECAT_EXPRESSION_FAILED',
      `skip_datapoints_expression compares values that are nested deeper than ${MAX_COMPARED_DEPTH} levels.`,
    );
  }
  const list = asList(left);
  if (list !== undefined) return isEqualList(list, asList(right), depth + 1);
  return isEqualDictionary(asDictionary(left)!, asDictionary(right), depth + 1);
}

function isEqualList(left: readonly Value[], right: readonly Value[] | undefined, depth: number): boolean {
  if (right?.length !== left.length) return false;
  return left.every((item, index) => isEqual(item, right[index]!, depth));
}

function isEqualDictionary(left: Dictionary, right: Dictionary | undefined, depth: number): boolean {
  if (right?.names.length !== left.names.length) return false;
  const byName = new Map(right.names.map((name) => [name, right.get(name)!]));
  return left.names.every((name) => {
    const other = byName.get(name);
    return other !== undefined && isEqual(left.get(name)!, other, depth);
  });
}

// ---------------------------------------------------------------------------------------------------- evaluation

type Evaluate = (point: RatedPoint) => Value;
/** Operators take the offset to blame and the point for the message. */
type Compare = (left: Value, right: Value, offset: number, point: RatedPoint) => boolean;

/** Numbers beyond this size are a mistake, and would cost memory. */
const MAX_EXPONENT = 10_000;

/** Turns an expression into nested functions. */
class Compiler {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  compile(expression: Expression): Evaluate {
    switch (expression.kind) {
      case 'literal': {
        const { value } = expression;
        return () => value;
      }
      case 'datapoint':
        return pointDictionary;
      case 'list':
      case 'dictionary':
        return this.#collection(expression);
      case 'and':
        return shortCircuit(this.#all(expression.operands), false);
      case 'or':
        return shortCircuit(this.#all(expression.operands), true);
      case 'not': {
        const operand = this.compile(expression.operand);
        return (point) => !isTruthy(operand(point));
      }
      case 'comparison':
        return this.#comparison(expression);
      case 'arithmetic':
        return this.#arithmetic(expression);
      case 'negate':
        return this.#negate(expression.operand, expression.offset);
      case 'length':
        return this.#length(expression.operand, expression.offset);
      case 'index':
        return this.#index(expression.target, expression.key, expression.offset);
      case 'call':
        return this.#call(expression);
    }
  }

  #all(expressions: readonly Expression[]): readonly Evaluate[] {
    return expressions.map((expression) => this.compile(expression));
  }

  /** Constant collections are built once. */
  #collection(expression: Extract<Expression, { kind: 'list' | 'dictionary' }>): Evaluate {
    const evaluate =
      expression.kind === 'list' ? this.#list(expression.items) : this.#dictionary(expression.entries);
    if (!isConstant(expression)) return evaluate;
    let constant: Value | undefined;
    return (point) => {
      constant ??= evaluate(point);
      return constant;
    };
  }

  #list(expressions: readonly Expression[]): Evaluate {
    const items = this.#all(expressions);
    return (point) => items.map((item) => item(point));
  }

  #dictionary(entries: readonly (readonly [string, Expression])[]): Evaluate {
    const names = entries.map(([name]) => name);
    const values = entries.map(([, value]) => this.compile(value));
    return (point) =>
      new Entries(
        names,
        values.map((value) => value(point)),
      );
  }

  #comparison({ first, rest }: Chain<'comparison', ComparisonOperator>): Evaluate {
    const start = this.compile(first);
    const steps = rest.map(({ operator, operand, offset }) => ({
      compare: this.#operator(operator),
      operand: this.compile(operand),
      offset,
    }));
    return (point) => {
      let left = start(point);
      for (const { compare, operand, offset } of steps) {
        const right = operand(point);
        if (!compare(left, right, offset, point)) return false;
        left = right;
      }
      return true;
    };
  }

  #operator(operator: ComparisonOperator): Compare {
    switch (operator) {
      case '==':
        return (left, right) => isEqual(left, right);
      case '!=':
        return (left, right) => !isEqual(left, right);
      case 'is':
        return (left, right) => left === right;
      case 'is not':
        return (left, right) => left !== right;
      case 'in':
        return (left, right, offset, point) => this.#contains(left, right, offset, point);
      case 'not in':
        return (left, right, offset, point) => !this.#contains(left, right, offset, point);
      case '<':
        return (left, right, offset, point) => this.#order(left, right, offset, point) < 0;
      case '<=':
        return (left, right, offset, point) => this.#order(left, right, offset, point) <= 0;
      case '>':
        return (left, right, offset, point) => this.#order(left, right, offset, point) > 0;
      case '>=':
        return (left, right, offset, point) => this.#order(left, right, offset, point) >= 0;
    }
  }

  #order(left: Value, right: Value, offset: number, point: RatedPoint): number {
    const [a, b] = [asNumber(left), asNumber(right)];
    if (a !== undefined && b !== undefined) return a.compare(b);
    if (typeof left === 'string' && typeof right === 'string') return compareText(left, right);
    throw this.#failure(offset, point, `${typeName(left)} and ${typeName(right)} have no order`);
  }

  #contains(item: Value, container: Value, offset: number, point: RatedPoint): boolean {
    const list = asList(container);
    if (list !== undefined) return list.some((member) => isEqual(item, member));
    if (typeof container === 'string' && typeof item === 'string') return container.includes(item);
    const dictionary = asDictionary(container);
    if (dictionary !== undefined) return typeof item === 'string' && dictionary.names.includes(item);
    throw this.#failure(offset, point, `'in' cannot look for ${typeName(item)} in ${typeName(container)}`);
  }

  #arithmetic({ first, rest }: Chain<'arithmetic', ArithmeticOperator>): Evaluate {
    const start = this.compile(first);
    const steps = rest.map(({ operator, operand, offset }) => ({
      operator,
      operand: this.compile(operand),
      offset,
    }));
    return (point) => {
      let left = start(point);
      for (const { operator, operand, offset } of steps) {
        left = this.#calculate(operator, left, operand(point), offset, point);
      }
      return left;
    };
  }

  /** With the digits of the reference's decimals. */
  #calculate(
    operator: ArithmeticOperator,
    left: Value,
    right: Value,
    offset: number,
    point: RatedPoint,
  ): Decimal {
    const [a, b] = [asNumber(left), asNumber(right)];
    if (a === undefined || b === undefined) {
      throw this.#failure(
        offset,
        point,
        `'${operator}' needs two numbers, not ${typeName(left)} and ${typeName(right)}`,
      );
    }
    const result = calculateExactly(operator, a, b).round();
    if (Math.abs(result.exponent) > MAX_EXPONENT)
      throw this.#failure(offset, point, 'the number becomes too large');
    return result;
  }

  #negate(expression: Expression, offset: number): Evaluate {
    const operand = this.compile(expression);
    return (point) => this.#calculate('-', Decimal.ZERO, operand(point), offset, point);
  }

  #length(expression: Expression, offset: number): Evaluate {
    const operand = this.compile(expression);
    return (point) => {
      const value = operand(point);
      const length = lengthOf(value);
      if (length === undefined) throw this.#failure(offset, point, `${typeName(value)} has no length`);
      return Decimal.fromInteger(length);
    };
  }

  #index(targetExpression: Expression, keyExpression: Expression, offset: number): Evaluate {
    const target = this.compile(targetExpression);
    const key = this.compile(keyExpression);
    return (point) => {
      const container = target(point);
      const name = key(point);
      const list = asList(container);
      const value = list === undefined ? memberOf(container, name) : itemOf(list, name);
      if (value !== undefined) return value;
      const problem = `${describeValue(name)} is missing in ${typeName(container)}`;
      throw this.#failure(offset, point, `${problem}; write .get(…) when it may be absent`);
    };
  }

  #call(expression: Extract<Expression, { kind: 'call' }>): Evaluate {
    const { method, offset } = expression;
    const target = this.compile(expression.target);
    const values = this.#all(expression.arguments);
    return (point) => {
      const self = target(point);
      const result = callMethod(
        method,
        self,
        values.map((value) => value(point)),
      );
      if (result === undefined) {
        throw this.#failure(offset, point, `.${method}() cannot be used like this on ${typeName(self)}`);
      }
      return result;
    };
  }

  #failure(offset: number, point: RatedPoint, problem: string): DataError {
    const place = describePosition(this.#text, offset);
    return new DataError(
      'RATECAT_EXPRESSION_FAILED',
      `skip_datapoints_expression failed at ${place} for a point of metric '${point.descriptor.metric}': ${problem}.`,
      { details: { expression: this.#text.slice(0, 500), offset } },
    );
  }
}

/** `and` and `or` give the operand that decides, as in Python. */
function shortCircuit(operands: readonly Evaluate[], deciding: boolean): Evaluate {
  return (point) => {
    let value: Value = null;
    for (const operand of operands) {
      value = operand(point);
      if (isTruthy(value) === deciding) return value;
    }
    return value;
  };
}

function calculateExactly(operator: ArithmeticOperator, left: Decimal, right: Decimal): Decimal {
  switch (operator) {
    case '+':
      return left.plus(right);
    case '-':
      return left.minus(right);
    case '*':
      return left.times(right);
  }
}

function memberOf(container: Value, name: Value): Value | undefined {
  return typeof name === 'string' ? asDictionary(container)?.get(name) : undefined;
}

function itemOf(list: readonly Value[], key: Value): Value | undefined {
  const index = asNumber(key)?.toString() ?? '';
  return /^-?\d{1,9}$/.test(index) ? list.at(Number(index)) : undefined;
}

/** Undefined when the value has no such method or the arguments do not fit. */
function callMethod(method: Method, self: Value, values: readonly Value[]): Value | undefined {
  if (method === 'get') {
    if (asDictionary(self) === undefined) return undefined;
    const found = memberOf(self, values[0]!);
    // A member that is None is found; the default is for absent ones.
    return found === undefined ? (values[1] ?? null) : found;
  }
  if (typeof self !== 'string') return undefined;
  switch (method) {
    case 'lower':
      return self.toLowerCase();
    case 'upper':
      return self.toUpperCase();
    case 'startswith':
      return matchesAny(values[0]!, (affix) => self.startsWith(affix));
    case 'endswith':
      return matchesAny(values[0]!, (affix) => self.endsWith(affix));
  }
}

/** One text, or a tuple of texts. */
function matchesAny(affixes: Value, matches: (affix: string) => boolean): boolean | undefined {
  const list = typeof affixes === 'string' ? [affixes] : asList(affixes);
  if (!list?.every((affix): affix is string => typeof affix === 'string')) return undefined;
  return list.some(matches);
}

function isConstant(expression: Expression): boolean {
  switch (expression.kind) {
    case 'literal':
      return true;
    case 'list':
      return expression.items.every(isConstant);
    case 'dictionary':
      return expression.entries.every(([, value]) => isConstant(value));
    default:
      return false;
  }
}

function typeName(value: Value): string {
  if (value === null) return 'None';
  if (typeof value === 'string') return 'text';
  if (typeof value === 'boolean') return 'a truth value';
  if (isDecimal(value)) return 'a number';
  return Array.isArray(value) ? 'a list' : 'a dictionary';
}

function describeValue(value: Value): string {
  return typeof value === 'string' ? `'${value.slice(0, 80)}'` : typeName(value);
}
