import { Decimal } from '../plugin-api/index.js';

const LIMB_DIGITS = 10;
const LIMB = 10_000_000_000n;
const MAX_FRACTION_DIGITS = 3 * LIMB_DIGITS;
/** 2^53 / 10^10 values fit a limb without loss; half of that is a safe margin. */
const MAX_UNSPILLED = 450_000;
const POWERS = Array.from({ length: LIMB_DIGITS + 1 }, (_, exponent) => 10 ** exponent);

/**
 * Exact sum of decimals given as text. Values with up to 10 digits before and 30 after the point are added as four
 * integers of ten digits each, which a double holds exactly; anything else takes the slower way through BigInt.
 */
export class ExactSum {
  #whole = 0;
  #high = 0;
  #middle = 0;
  #low = 0;
  #unspilled = 0;
  #rest: Decimal | undefined;
  #isEmpty = true;

  /** @throws DataError RATECAT_NUMBER_MALFORMED when the text is not a decimal number. */
  add(text: string): void {
    this.#isEmpty = false;
    if (!this.#addLimbs(text)) this.#rest = (this.#rest ?? Decimal.ZERO).plus(Decimal.parse(text));
    else if (++this.#unspilled === MAX_UNSPILLED) this.#spill();
  }

  addInteger(value: bigint | number): void {
    this.add(String(value));
  }

  /** Canonical text, or null when nothing was added. */
  result(): string | null {
    if (this.#isEmpty) return null;
    this.#spill();
    return this.#rest!.toString();
  }

  #addLimbs(text: string): boolean {
    const negative = text.charCodeAt(0) === 45;
    const start = negative ? 1 : 0;
    const point = text.indexOf('.');
    const end = point === -1 ? text.length : point;
    const fraction = point === -1 ? text.length : point + 1;
    if (end === start || end - start > LIMB_DIGITS || text.length - fraction > MAX_FRACTION_DIGITS)
      return false;

    const whole = digits(text, start, end);
    const high = limb(text, fraction);
    const middle = limb(text, fraction + LIMB_DIGITS);
    const low = limb(text, fraction + 2 * LIMB_DIGITS);
    if (Number.isNaN(whole + high + middle + low)) return false;
    const sign = negative ? -1 : 1;
    this.#whole += sign * whole;
    this.#high += sign * high;
    this.#middle += sign * middle;
    this.#low += sign * low;
    return true;
  }

  #spill(): void {
    const upper = BigInt(this.#whole) * LIMB + BigInt(this.#high);
    const coefficient = (upper * LIMB + BigInt(this.#middle)) * LIMB + BigInt(this.#low);
    const sum = Decimal.of(coefficient, -MAX_FRACTION_DIGITS);
    this.#rest = this.#rest === undefined ? sum : this.#rest.plus(sum);
    this.#whole = this.#high = this.#middle = this.#low = this.#unspilled = 0;
  }
}

/** Ten digits from `start`, filled up with zeros where the text ends. */
function limb(text: string, start: number): number {
  if (start >= text.length) return 0;
  const end = Math.min(start + LIMB_DIGITS, text.length);
  return digits(text, start, end) * POWERS[LIMB_DIGITS - (end - start)]!;
}

/** The integer between the two places; NaN when something else than digits stands there. */
function digits(text: string, start: number, end: number): number {
  let value = 0;
  for (let index = start; index < end; index++) {
    const digit = text.charCodeAt(index) - 48;
    if (digit < 0 || digit > 9) return Number.NaN;
    value = value * 10 + digit;
  }
  return value;
}

/**
 * The exact sum of two decimals as canonical text.
 * @throws DataError RATECAT_NUMBER_OVERFLOW when it has more digits before the point than storages keep.
 */
export function addDecimalText(left: string, right: string): string {
  return Decimal.parse(left).plus(Decimal.parse(right)).toStored().toString();
}
