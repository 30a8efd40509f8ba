/** Digits that a decimal may have to survive single precision, and those that tell every single apart. */
const SURVIVING_DIGITS = 6;
const TELLING_DIGITS = 9;

/**
 * The shortest decimal text that is read as this number of single precision: 0.1 for 0.10000000149011612. What was written
 * with up to six digits comes out as it was written.
 */
export function shortestSingle(value: number): string {
  for (let digits = SURVIVING_DIGITS; digits < TELLING_DIGITS; digits++) {
    const text = value.toPrecision(digits);
    if (Math.fround(Number(text)) === value) return String(Number(text));
  }
  return String(Number(value.toPrecision(TELLING_DIGITS)));
}
