/** The arithmetic alone: two numbers read, multiplied, added and printed, as for one price. */
import { Decimal } from '../core/plugin-api/index.js';
import { type Figure, median } from './figures.js';

const ROUNDS = 5;

export function benchDecimals(count: number): readonly Figure[] {
  const quantities = Array.from({ length: count }, (_, i) => `${i % 977}.${String(i).padStart(9, '3')}`);
  const costs = Array.from({ length: 1000 }, (_, i) => `0.0${i}7`);
  let characters = 0;
  const rates = Array.from({ length: ROUNDS + 1 }, () => {
    const begin = performance.now();
    let sum = Decimal.ZERO;
    for (let i = 0; i < count; i++) {
      const price = Decimal.parse(quantities[i]!).times(Decimal.parse(costs[i % 1000]!));
      sum = sum.plus(price);
      characters += price.toString().length;
    }
    characters += sum.toString().length;
    return count / ((performance.now() - begin) / 1000);
  }).slice(1);
  return [
    {
      id: 'decimals.perSecond',
      what: 'parse, parse, times, plus, print',
      value: Math.round(median(rates)),
      unit: 'decimals/s',
      note: `${count.toLocaleString('en')} distinct texts, ${Math.round(characters / count / (ROUNDS + 1))} characters each`,
    },
  ];
}
