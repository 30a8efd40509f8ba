import { DataError } from './errors.js';

/** How a value that lies exactly between two neighbours is rounded. */
export type RoundingMode = 'half-even' | 'half-up';

/** Significant digits of every rating operation: the default decimal context of the reference. */
export const SIGNIFICANT_DIGITS = 28;
/** Decimal places kept by every storage. */
export const STORED_PLACES = 28;
/** Digits before the point that a stored value may have (DECIMAL(58,28) has 58 − 28). */
export const STORED_INTEGER_DIGITS = 30;

const POWERS: bigint[] = [1n];
const MAX_KEPT_POWER = 1024;

/** 10^n; small powers are computed once. */
function powerOfTen(n: number): bigint {
  if (n > MAX_KEPT_POWER) return 10n ** BigInt(n);
  for (let i = POWERS.length; i <= n; i++) POWERS.push(POWERS[i - 1]! * 10n);
  return POWERS[n]!;
}

/** Longest exponent and text that are accepted: they bound the memory and time that hostile input can ask for. */
const MAX_EXPONENT = 6144;
const MAX_TEXT_LENGTH = 16_384;
const NUMBER = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d+))?$/;

/** Digits that a JavaScript number always holds exactly. */
const SAFE_DIGITS = 15;

/** Character codes. */
const MINUS = 45;
const PLUS = 43;
const POINT = 46;
const DIGIT_ZERO = 48;
const DIGIT_NINE = 57;

/**
 * An exact decimal number: coefficient × 10^exponent, immutable.
 *
 * `plus`, `minus` and `times` are exact. Rounding happens only where `round` or `quantize` is written. The scale is kept
 * (2.50 stays 2.50 until it is printed), as the decimals of the reference do; `toString` prints the canonical form.
 * There is one zero: -0 reads as 0.
 */
export class Decimal {
  readonly coefficient: bigint;
  readonly exponent: number;

  static readonly ZERO = new Decimal(0n, 0);
  static readonly ONE = new Decimal(1n, 0);

  private constructor(coefficient: bigint, exponent: number) {
    this.coefficient = coefficient;
    // Minus zero becomes zero, so that equal decimals are deeply equal.
    this.exponent = exponent + 0;
  }

  /**
   * Reads `[+-]digits[.digits][e[+-]digits]` of up to 16,384 characters with an exponent of up to ±6144.
   * @throws DataError RATECAT_NUMBER_MALFORMED when the text is anything else (NaN and infinities included).
   */
  static parse(text: string): Decimal {
    const value = Decimal.tryParse(text);
    if (value === undefined) {
      throw new DataError('RATECAT_NUMBER_MALFORMED', `'${text.slice(0, 80)}' is not a decimal number.`);
    }
    return value;
  }

  /** Like `parse`, but answers undefined. */
  static tryParse(text: string): Decimal | undefined {
    const first = text.charCodeAt(0);
    // Nearly all numbers are a few plain digits: they are gathered in two halves that a JavaScript number holds exactly.
    let high = 0;
    let low = 0;
    let digits = 0;
    let point = -1;
    for (let i = first === MINUS || first === PLUS ? 1 : 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      if (code >= DIGIT_ZERO && code <= DIGIT_NINE) {
        if (digits < SAFE_DIGITS) high = high * 10 + code - DIGIT_ZERO;
        else if (digits < 2 * SAFE_DIGITS) low = low * 10 + code - DIGIT_ZERO;
        else return Decimal.#tryParseAny(text);
        digits++;
      } else if (code === POINT && point < 0) point = i;
      else return Decimal.#tryParseAny(text);
    }
    if (digits === 0) return undefined;
    let coefficient = BigInt(first === MINUS ? -high : high);
    if (digits > SAFE_DIGITS) {
      coefficient = coefficient * powerOfTen(digits - SAFE_DIGITS) + BigInt(first === MINUS ? -low : low);
    }
    return new Decimal(coefficient, point < 0 ? 0 : point + 1 - text.length);
  }

  /** Long numbers, exponents, and everything that is no number. */
  static #tryParseAny(text: string): Decimal | undefined {
    if (text.length > MAX_TEXT_LENGTH) return undefined;
    const match = NUMBER.exec(text);
    if (match === null) return undefined;
    const whole = match[2]!;
    const fraction = match[3] ?? '';
    if (whole.length + fraction.length === 0) return undefined;
    const exponent = match[4] === undefined ? 0 : Number(match[4]);
    if (Math.abs(exponent) > MAX_EXPONENT) return undefined;
    const digits = BigInt(whole + fraction);
    return new Decimal(match[1] === '-' ? -digits : digits, exponent - fraction.length);
  }

  /** The decimal of an integer. @throws DataError when a number is not a safe integer. */
  static fromInteger(value: number | bigint): Decimal {
    if (typeof value === 'number' && !Number.isSafeInteger(value)) {
      throw new DataError('RATECAT_NUMBER_MALFORMED', `${value} is not an exact integer.`);
    }
    return new Decimal(BigInt(value), 0);
  }

  /** coefficient × 10^exponent. */
  static of(coefficient: bigint, exponent: number): Decimal {
    return new Decimal(coefficient, exponent);
  }

  /** The exact value of the binary float nearest to this decimal: how the reference reads JSON and YAML numbers. */
  throughBinary(): Decimal {
    const float = Number(this.toString());
    if (!Number.isFinite(float)) {
      throw new DataError(
        'RATECAT_NUMBER_MALFORMED',
        `${this.toString().slice(0, 40)} does not fit a binary float.`,
      );
    }
    if (float === 0) return new Decimal(0n, 0);
    let mantissa = float;
    let shift = 0;
    while (!Number.isInteger(mantissa)) {
      mantissa *= 2;
      shift++;
    }
    // mantissa × 2^-shift = mantissa × 5^shift × 10^-shift
    return new Decimal(BigInt(mantissa) * 5n ** BigInt(shift), -shift);
  }

  get isZero(): boolean {
    return this.coefficient === 0n;
  }

  get isNegative(): boolean {
    return this.coefficient < 0n;
  }

  plus(other: Decimal): Decimal {
    if (this.exponent === other.exponent)
      return new Decimal(this.coefficient + other.coefficient, this.exponent);
    if (this.exponent > other.exponent) {
      const scaled = this.coefficient * powerOfTen(this.exponent - other.exponent);
      return new Decimal(scaled + other.coefficient, other.exponent);
    }
    const scaled = other.coefficient * powerOfTen(other.exponent - this.exponent);
    return new Decimal(this.coefficient + scaled, this.exponent);
  }

  minus(other: Decimal): Decimal {
    return this.plus(other.negated());
  }

  times(other: Decimal): Decimal {
    return new Decimal(this.coefficient * other.coefficient, this.exponent + other.exponent);
  }

  negated(): Decimal {
    return new Decimal(-this.coefficient, this.exponent);
  }

  /** Negative, zero or positive as this is less than, equal to or greater than `other`; scale does not matter. */
  compare(other: Decimal): number {
    let left = this.coefficient;
    let right = other.coefficient;
    if (this.exponent > other.exponent) left *= powerOfTen(this.exponent - other.exponent);
    else if (this.exponent < other.exponent) right *= powerOfTen(other.exponent - this.exponent);
    return left < right ? -1 : left > right ? 1 : 0;
  }

  equals(other: Decimal): boolean {
    return this.compare(other) === 0;
  }

  /** Rounds to at most `digits` significant digits. */
  round(digits: number = SIGNIFICANT_DIGITS, mode: RoundingMode = 'half-even'): Decimal {
    const magnitude = this.coefficient < 0n ? -this.coefficient : this.coefficient;
    if (magnitude < powerOfTen(digits)) return this;
    let drop = countDigits(magnitude) - digits;
    let rounded = divideRounded(magnitude, powerOfTen(drop), mode);
    if (rounded === powerOfTen(digits)) {
      rounded /= 10n;
      drop += 1;
    }
    return new Decimal(this.coefficient < 0n ? -rounded : rounded, this.exponent + drop);
  }

  /** Rounds to at most `places` digits after the point; a coarser value stays as it is. */
  quantize(places: number = STORED_PLACES, mode: RoundingMode = 'half-even'): Decimal {
    if (this.exponent >= -places) return this;
    const negative = this.coefficient < 0n;
    const magnitude = negative ? -this.coefficient : this.coefficient;
    const rounded = divideRounded(magnitude, powerOfTen(-places - this.exponent), mode);
    return new Decimal(negative ? -rounded : rounded, -places);
  }

  /**
   * The value as storages keep it: half-even at 28 places.
   * @throws DataError RATECAT_NUMBER_OVERFLOW with more than 30 digits before the point.
   */
  toStored(): Decimal {
    const value = this.quantize(STORED_PLACES);
    if (!value.isZero) {
      const magnitude = value.coefficient < 0n ? -value.coefficient : value.coefficient;
      // Only a coefficient or an exponent of this size can reach 30 integer digits.
      if (value.exponent > 0 || magnitude >= powerOfTen(STORED_INTEGER_DIGITS)) {
        const integer = Decimal.of(magnitude, value.exponent).floor();
        if (integer >= powerOfTen(STORED_INTEGER_DIGITS)) {
          throw new DataError(
            'RATECAT_NUMBER_OVERFLOW',
            `${this.toString().slice(0, 60)} has more than ${STORED_INTEGER_DIGITS} digits before the point.`,
          );
        }
      }
    }
    return value;
  }

  /** Greatest integer not above the value. */
  floor(): bigint {
    if (this.exponent >= 0) return this.coefficient * powerOfTen(this.exponent);
    const divisor = powerOfTen(-this.exponent);
    const quotient = this.coefficient / divisor;
    return this.coefficient < 0n && this.coefficient % divisor !== 0n ? quotient - 1n : quotient;
  }

  /** Least integer not below the value. */
  ceil(): bigint {
    return -this.negated().floor();
  }

  /** Coefficient at the given number of places; exact, so `places` must be enough. */
  scaled(places: number): bigint {
    const shift = this.exponent + places;
    if (shift >= 0) return this.coefficient * powerOfTen(shift);
    const divisor = powerOfTen(-shift);
    if (this.coefficient % divisor !== 0n)
      throw new RangeError(`${this.toString()} needs more than ${places} places`);
    return this.coefficient / divisor;
  }

  /** Canonical plain notation: no exponent, no trailing zeros, `0` for zero. */
  toString(): string {
    if (this.coefficient === 0n) return '0';
    const text = this.toFixedScale();
    if (this.exponent >= 0) return text;
    let end = text.length;
    while (text.charCodeAt(end - 1) === DIGIT_ZERO) end--;
    if (text.charCodeAt(end - 1) === POINT) end--;
    return end === text.length ? text : text.slice(0, end);
  }

  /** Plain notation with the scale kept: 2.50 prints as `2.50`. */
  toFixedScale(): string {
    const negative = this.coefficient < 0n;
    const digits = (negative ? -this.coefficient : this.coefficient).toString();
    let text: string;
    if (this.exponent >= 0) text = this.coefficient === 0n ? '0' : digits + '0'.repeat(this.exponent);
    else if (digits.length > -this.exponent) {
      const point = digits.length + this.exponent;
      text = `${digits.slice(0, point)}.${digits.slice(point)}`;
    } else text = `0.${'0'.repeat(-this.exponent - digits.length)}${digits}`;
    return negative ? `-${text}` : text;
  }

  /** The reference's decimal notation: scale kept, scientific below 1E-6 (`0E-28`, `1.5E-7`). */
  toReferenceNotation(): string {
    const negative = this.coefficient < 0n;
    const digits = (negative ? -this.coefficient : this.coefficient).toString();
    const adjusted = this.exponent + digits.length - 1;
    if (this.exponent <= 0 && adjusted >= -6) return this.toFixedScale();
    const mantissa = digits.length === 1 ? digits : `${digits[0]}.${digits.slice(1)}`;
    const sign = adjusted < 0 ? '-' : '+';
    return `${negative ? '-' : ''}${mantissa}E${sign}${Math.abs(adjusted)}`;
  }

  /** Exact text, so that a decimal never becomes a JSON float by accident. */
  toJSON(): string {
    return this.toString();
  }
}

/** Decimal digits of a positive integer. */
function countDigits(value: bigint): number {
  const float = Number(value);
  if (!Number.isFinite(float)) return value.toString().length;
  // The float of 99…9 may be that of the next power of ten; it is never too small.
  const exponent = Math.floor(Math.log10(float));
  return value < powerOfTen(exponent) ? exponent : exponent + 1;
}

/** Divides two non-negative integers, rounding the quotient. */
export function divideRounded(dividend: bigint, divisor: bigint, mode: RoundingMode = 'half-even'): bigint {
  const quotient = dividend / divisor;
  const twice = (dividend - quotient * divisor) * 2n;
  if (twice < divisor) return quotient;
  if (twice > divisor || mode === 'half-up') return quotient + 1n;
  return quotient & 1n ? quotient + 1n : quotient;
}
