/** Which field rules apply to a descriptor. */
import {
  type AttributeValue,
  DataError,
  type Descriptor,
  describedAttribute,
  type Logger,
} from '../../../core/plugin-api/index.js';
import { type FieldNumber, fieldNumber, fieldText } from './field-value.js';
import type { Charge, FieldTable, LevelCharge } from './rule-table.js';

/** Reads the number of a field that has thresholds; undefined when the value reaches none. */
export type NumberReader = (field: string, value: AttributeValue, metric: string) => FieldNumber | undefined;

/** Which rules of a field apply, as one number: equal selections of a field mean equal rules. 0: none. */
export type Selection = number;

/** The rules of one field that apply. */
export interface FieldMatch {
  readonly charges: readonly Charge[];
  /** Per group the highest threshold reached. */
  readonly reached: readonly LevelCharge[];
}

export function selectRules(field: FieldTable, descriptor: Descriptor, readNumber: NumberReader): Selection {
  const value = describedAttribute(descriptor, field.name);
  if (value === undefined) return 0;
  const choice = field.choices.size === 0 ? 0 : (field.choices.get(fieldText(value)) ?? 0);
  return choice * (field.thresholds.size + 1) + countLevels(field, value, descriptor.metric, readNumber);
}

export function selectedRules(field: FieldTable, selection: Selection): FieldMatch {
  const width = field.thresholds.size + 1;
  return {
    charges: field.charges[Math.floor(selection / width)]!,
    reached: field.thresholds.reached(selection % width),
  };
}

/** The conversion is only tried where there is a threshold: a value without number is no fault elsewhere. */
function countLevels(
  field: FieldTable,
  value: AttributeValue,
  metric: string,
  readNumber: NumberReader,
): number {
  if (field.thresholds.size === 0) return 0;
  const number = readNumber(field.name, value, metric);
  return number === undefined ? 0 : field.thresholds.countReached(number);
}

/** As CloudKitty: the first value that is no number fails the whole frame. */
export const readNumberStrictly: NumberReader = (field, value, metric) => {
  const number = fieldNumber(value, 'binary');
  if (number !== undefined) return number;
  throw new DataError(
    'RATECAT_HASHMAP_FIELD_NOT_NUMERIC',
    `Metric '${metric}': field '${field}' has thresholds, but its value ${quoted(value)} is not a number. ` +
      `Correct the data, remove the thresholds of '${field}', or set compat to 'fixed' to skip such values.`,
    { details: { metric, field, value: fieldText(value).slice(0, 80) } },
  );
};

/** Most values are few and known; a source that sends ever new ones must not fill the memory. */
const REMEMBERED_VALUES = 1000;

/** A value that is no number reaches no threshold; it is reported once per field and value. */
export function numberReaderThatReports(logger: Logger): NumberReader {
  const reported = new Set<string>();
  return (field, value, metric) => {
    const number = fieldNumber(value, 'literal');
    if (number !== undefined) return number;
    const key = JSON.stringify([field, fieldText(value)]);
    if (reported.has(key)) return undefined;
    if (reported.size >= REMEMBERED_VALUES) reported.clear();
    reported.add(key);
    logger.warn('field with thresholds has a value that is not a number: no threshold reached', {
      metric,
      field,
      value: fieldText(value).slice(0, 80),
    });
    return undefined;
  };
}

function quoted(value: AttributeValue): string {
  return `'${fieldText(value).slice(0, 80)}'`;
}
