// @ts-check

/** Weather is made of slots; a slot belongs to the period in which it begins, so that no drop falls twice. */
const SLOT_SECONDS = 10;

/**
 * What a slot can hold at most, in thousandths of the metric's unit: millimetres of rain, seconds of sunshine.
 * @type {ReadonlyMap<string, { readonly salt: string, readonly most: bigint }>}
 */
export const METRICS = new Map([
  ['rain', { salt: 'rain', most: 50n }],
  ['sunshine', { salt: 'sun', most: BigInt(SLOT_SECONDS) * 1000n }],
]);

/**
 * Thousandths of the metric's unit in a period. The same question always has the same answer: a daemon that rates a period
 * again, after a crash or for late data, must find what it found before.
 *
 * @param {object} question
 * @param {{ readonly salt: string, readonly most: bigint }} question.kind
 * @param {string} question.seed
 * @param {string} question.station
 * @param {{ readonly begin: number, readonly end: number }} question.period
 * @param {'all' | 'heavy'} question.intensity
 */
export function measure({ kind, seed, station, period, intensity }) {
  const least = intensity === 'heavy' ? (kind.most * 4n) / 5n : 0n;
  let sum = 0n;
  for (let slot = Math.ceil(period.begin / SLOT_SECONDS); slot * SLOT_SECONDS < period.end; slot++) {
    const amount = BigInt(hash(`${seed}/${kind.salt}/${station}/${slot}`)) % (kind.most + 1n);
    if (amount >= least) sum += amount;
  }
  return sum;
}

/**
 * FNV-1a, stirred once more: neighbouring slots must not look alike.
 * @param {string} text
 */
function hash(text) {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  return (value ^ (value >>> 13)) >>> 0;
}
