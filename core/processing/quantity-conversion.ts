import { DataError, Decimal, SIGNIFICANT_DIGITS, type StrictArithmetic } from '../plugin-api/index.js';

/** Longest text of a factor: bounds what a mistyped configuration can ask of every conversion. */
const MAX_TEXT_LENGTH = 1000;
const FRACTION = /^([+-]?\d+)\/(\d+)$/;

/** An exact fraction in lowest terms; the sign is in the numerator. */
export class Rational {
  readonly numerator: bigint;
  readonly denominator: bigint;

  static readonly ZERO = new Rational(0n, 1n);
  static readonly ONE = new Rational(1n, 1n);

  private constructor(numerator: bigint, denominator: bigint) {
    this.numerator = numerator;
    this.denominator = denominator;
  }

  /** @throws DataError RATECAT_NUMBER_MALFORMED when the denominator is zero. */
  static of(numerator: bigint, denominator = 1n): Rational {
    if (denominator === 0n) {
      throw new DataError('RATECAT_NUMBER_MALFORMED', `${numerator}/0 divides by zero.`);
    }
    const divisor = greatestCommonDivisor(numerator, denominator);
    const signed = denominator < 0n ? -divisor : divisor;
    return new Rational(numerator / signed, denominator / signed);
  }

  /**
   * Reads `integer/integer` or a decimal number: `1/1048576`, `0.5`, `-3`, `1e-3`.
   * @throws DataError RATECAT_NUMBER_MALFORMED when the text is anything else or longer than 1,000 characters.
   */
  static parse(text: string): Rational {
    const trimmed = text.length > MAX_TEXT_LENGTH ? '' : text.trim();
    const fraction = FRACTION.exec(trimmed);
    if (fraction !== null) return Rational.of(BigInt(fraction[1]!), BigInt(fraction[2]!));
    const decimal = Decimal.tryParse(trimmed);
    if (decimal !== undefined) return Rational.fromDecimal(decimal);
    throw new DataError(
      'RATECAT_NUMBER_MALFORMED',
      `'${text.slice(0, 80)}' is not a number. Write a fraction like 1/1048576 or a decimal like 0.5.`,
    );
  }

  static fromDecimal(value: Decimal): Rational {
    if (value.exponent >= 0) return new Rational(value.scaled(0), 1n);
    return Rational.of(value.coefficient, 10n ** BigInt(-value.exponent));
  }

  get isInteger(): boolean {
    return this.denominator === 1n;
  }

  equals(other: Rational): boolean {
    return this.numerator === other.numerator && this.denominator === other.denominator;
  }

  /** The same value as a decimal, or undefined when it has no end (1/3). */
  toDecimal(): Decimal | undefined {
    const [twos, withoutTwos] = removeFactor(this.denominator, 2n);
    const [fives, rest] = removeFactor(withoutTwos, 5n);
    if (rest !== 1n) return undefined;
    const places = Math.max(twos, fives);
    return Decimal.of((this.numerator * 10n ** BigInt(places)) / this.denominator, -places);
  }

  /**
   * The exact value of the nearest binary float, as the reference reads fractions.
   * @throws DataError when it is beyond the largest float.
   */
  throughBinary(): Decimal {
    const magnitude = this.numerator < 0n ? -this.numerator : this.numerator;
    // 64 bits, but nothing below the smallest float: always more than a float keeps.
    const missing = 64 - (bitLength(magnitude) - bitLength(this.denominator));
    const shift = BigInt(Math.min(Math.max(missing, 2), 1076));
    const scaled = magnitude << shift;
    const quotient = scaled / this.denominator;
    // A lost remainder stays visible in the last bit, so that a value just above a tie is not taken for the tie.
    const sticky = scaled % this.denominator === 0n ? quotient : quotient | 1n;
    const bits = this.numerator < 0n ? -sticky : sticky;
    return Decimal.of(bits * 5n ** shift, -Number(shift)).throughBinary();
  }

  toString(): string {
    return this.isInteger ? `${this.numerator}` : `${this.numerator}/${this.denominator}`;
  }
}

/** What happens to a quantity after factor and offset. */
export type Mutation = 'NONE' | 'NUMBOOL' | 'NOTNUMBOOL' | 'FLOOR' | 'CEIL' | 'MAP';

export interface ConversionSpec {
  readonly factor: Rational;
  readonly offset: Rational;
  /** Written as text or as a float, not as an integer: the reference reads such a number as a binary float. */
  readonly factorIsText?: boolean | undefined;
  readonly offsetIsText?: boolean | undefined;
  readonly mutate: Mutation;
  /** For `MAP`: the last of equal `from` counts; a quantity without an entry becomes zero. */
  readonly mutateMap?: readonly MutateMapEntry[] | undefined;
}

export interface MutateMapEntry {
  readonly from: Decimal;
  readonly to: Decimal;
}

type Conversion = (value: Decimal) => Decimal;

/**
 * How the samples of one metric become quantities: `mutate(value × factor + offset)`.
 *
 * `fixed` computes exactly and rounds once, half-even to 28 significant digits, before the mutation. `strict` takes the
 * steps of the reference with the arithmetic of the collector; a collector that declares none has no reference to follow
 * and is computed as `fixed`.
 */
export function compileConversion(
  spec: ConversionSpec,
  compat: 'strict' | 'fixed',
  strict?: StrictArithmetic | undefined,
): Conversion {
  if (compat === 'strict' && strict !== undefined) {
    return andThen(strictScaling(spec, strict), strictMutation(spec));
  }
  return andThen(exactScaling(spec), exactMutation(spec));
}

function andThen(scale: Conversion, mutate: Conversion | undefined): Conversion {
  return mutate === undefined ? scale : (value) => mutate(scale(value));
}

// -------------------------------------------------------------------------------------------------------- fixed

function exactScaling(spec: ConversionSpec): Conversion {
  const factor = spec.factor.toDecimal();
  const offset = spec.offset.toDecimal();
  if (factor === undefined || offset === undefined) return rationalScaling(spec.factor, spec.offset);
  if (!offset.isZero) return (value) => value.times(factor).plus(offset).round();
  if (!factor.equals(Decimal.ONE)) return (value) => value.times(factor).round();
  return (value) => value.round();
}

/** value × factor + offset over the common denominator. */
function rationalScaling(factor: Rational, offset: Rational): Conversion {
  const denominator = factor.denominator * offset.denominator;
  const multiplier = factor.numerator * offset.denominator;
  const addend = offset.numerator * factor.denominator;
  return (value) => {
    if (value.exponent >= 0) return quotient(value.scaled(0) * multiplier + addend, denominator);
    const scale = 10n ** BigInt(-value.exponent);
    return quotient(value.coefficient * multiplier + addend * scale, denominator * scale);
  };
}

/** The quotient to 28 significant digits, half-even. The divisor is positive. */
function quotient(dividend: bigint, divisor: bigint): Decimal {
  if (dividend === 0n) return Decimal.ZERO;
  const magnitude = dividend < 0n ? -dividend : dividend;
  // Two digits more than are kept, and one below them for whatever remains: rounding sees a tie only where there is one.
  const places = Math.max(0, SIGNIFICANT_DIGITS + 2 + digitCount(divisor) - digitCount(magnitude));
  const scaled = magnitude * 10n ** BigInt(places);
  const remains = scaled % divisor === 0n ? 0n : 1n;
  const digits = (scaled / divisor) * 10n + remains;
  const rounded = Decimal.of(dividend < 0n ? -digits : digits, -places - 1).round();
  const [zeros, coefficient] = removeFactor(rounded.coefficient, 10n);
  return Decimal.of(coefficient, rounded.exponent + zeros);
}

function exactMutation(spec: ConversionSpec): Conversion | undefined {
  switch (spec.mutate) {
    case 'NONE':
      return undefined;
    case 'NUMBOOL':
      return (value) => (value.isZero ? Decimal.ZERO : Decimal.ONE);
    case 'NOTNUMBOOL':
      return (value) => (value.isZero ? Decimal.ONE : Decimal.ZERO);
    case 'FLOOR':
      return (value) => Decimal.of(value.floor(), 0);
    case 'CEIL':
      return (value) => Decimal.of(value.ceil(), 0);
    case 'MAP':
      return lookUp(spec.mutateMap ?? [], Decimal.ZERO);
  }
}

function lookUp(entries: readonly MutateMapEntry[], absent: Decimal): Conversion {
  const byText = new Map(entries.map(({ from, to }) => [from.toString(), to]));
  return (value) => byText.get(value.toString()) ?? absent;
}

// ------------------------------------------------------------------------------------------------------- strict

/** The reference makes the floats 1.0 and 0.0 where it answers yes and no, and prints them so. */
const FLOAT_ONE = Decimal.of(10n, -1);
const FLOAT_ZERO = Decimal.of(0n, -1);

function strictScaling(spec: ConversionSpec, arithmetic: StrictArithmetic): Conversion {
  const { significantDigits, rounding, roundsSample, binarySample } = arithmetic;
  const factor = strictConstant(spec.factor, spec.factorIsText);
  const offset = strictConstant(spec.offset, spec.offsetIsText);
  const round: Conversion = (value) => value.round(significantDigits, rounding);
  return (value) => {
    const read = binarySample ? value.throughBinary() : value;
    const sample = roundsSample ? round(read) : read;
    return round(round(sample.times(factor)).plus(offset));
  };
}

/** The reference reads integers exactly and everything else as a binary float. */
function strictConstant(value: Rational, isText: boolean | undefined): Decimal {
  return value.isInteger && isText !== true ? Decimal.of(value.numerator, 0) : value.throughBinary();
}

function strictMutation(spec: ConversionSpec): Conversion | undefined {
  switch (spec.mutate) {
    case 'NUMBOOL':
      return (value) => (value.isZero ? FLOAT_ZERO : FLOAT_ONE);
    case 'NOTNUMBOOL':
      return (value) => (value.isZero ? FLOAT_ONE : FLOAT_ZERO);
    case 'MAP':
      return lookUp((spec.mutateMap ?? []).map(strictEntry), FLOAT_ZERO);
    default:
      return exactMutation(spec);
  }
}

/** Keys of the reference's map are floats where they are not integers: the key 0.1 is not the decimal 0.1. */
function strictEntry({ from, to }: MutateMapEntry): MutateMapEntry {
  return { from: from.exponent < 0 ? from.throughBinary() : from, to };
}

// ------------------------------------------------------------------------------------------------------ integers

function greatestCommonDivisor(left: bigint, right: bigint): bigint {
  let [a, b] = [left < 0n ? -left : left, right < 0n ? -right : right];
  while (b !== 0n) [a, b] = [b, a % b];
  return a;
}

/** How often the factor divides the value, which is not zero, and what is left. */
function removeFactor(value: bigint, factor: bigint): [number, bigint] {
  let times = 0;
  let rest = value;
  for (; rest % factor === 0n; times++) rest /= factor;
  return [times, rest];
}

function bitLength(value: bigint): number {
  return value.toString(2).length;
}

function digitCount(value: bigint): number {
  return value.toString().length;
}
