import { Decimal, divideRounded, STORED_PLACES } from '../plugin-api/index.js';

/** A value divided by a whole number above zero, half-even at 28 places (or those it has) where it does not come out even. */
export function quotient(dividend: Decimal, divisor: number): Decimal {
  const places = Math.max(STORED_PLACES, -dividend.exponent);
  const scaled = dividend.scaled(places);
  const magnitude = divideRounded(scaled < 0n ? -scaled : scaled, BigInt(divisor));
  return Decimal.of(scaled < 0n ? -magnitude : magnitude, -places);
}
