import { type AttributeValue, type Decimal, isDecimal } from '../plugin-api/index.js';

/** Text that is JSON already and goes into the answer as it is. */
export class RawJson {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/**
 * What answers are made of. Numbers are whole: counts, priorities. Decimals become floats. Maps keep the order of keys
 * that look like numbers, which objects do not.
 */
export type PythonValue =
  | string
  | number
  | boolean
  | null
  | undefined
  | Decimal
  | RawJson
  | readonly PythonValue[]
  | ReadonlyMap<string, PythonValue>
  | { readonly [name: string]: PythonValue };

/**
 * JSON as Python's `json.dumps` writes it: `", "` and `": "` between the parts, everything but printable ASCII escaped,
 * floats in their shortest form. Members that are undefined are left out.
 */
export function pythonJson(value: PythonValue): string {
  if (value === null || value === undefined) return 'null';
  if (typeof value === 'string') return quoted(value);
  if (typeof value === 'boolean') return String(value);
  if (typeof value === 'number') return Number.isSafeInteger(value) ? String(value) : floatText(value);
  if (value instanceof RawJson) return value.text;
  if (isDecimal(value)) return pythonFloat(value);
  if (Array.isArray(value)) return `[${value.map(pythonJson).join(', ')}]`;
  const entries =
    value instanceof Map
      ? [...(value as ReadonlyMap<string, PythonValue>)]
      : Object.entries(value as { readonly [name: string]: PythonValue });
  const members = entries
    .filter(([, item]) => item !== undefined)
    .map(([name, item]) => `${quoted(name)}: ${pythonJson(item)}`);
  return `{${members.join(', ')}}`;
}

/** A decimal as Python prints the nearest binary float: 1.0, 0.1, 1e-07, 1e+16. */
export function pythonFloat(value: Decimal): string {
  const float = Number(value.toString());
  // What no float can hold stays a number that JSON readers understand.
  return Number.isFinite(float) ? floatText(float) : value.toString();
}

/** An attribute with its JSON type: a whole literal stays an integer, any other number becomes a float. */
export function attributeJson(value: AttributeValue): PythonValue {
  if (isDecimal(value)) return value.exponent === 0 ? new RawJson(value.toString()) : value;
  if (Array.isArray(value)) return value.map(attributeJson);
  if (typeof value !== 'object' || value === null) return value as string | boolean | null;
  return new Map(Object.entries(value).map(([name, item]) => [name, attributeJson(item)]));
}

/** JSON of a text: the escapes of JavaScript and Python differ only beyond printable ASCII. */
function quoted(text: string): string {
  return JSON.stringify(text).replace(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** Python turns to exponents below 1e-4 and from 1e16 on; both languages find the same shortest digits. */
function floatText(value: number): string {
  if (value === 0) return Object.is(value, -0) ? '-0.0' : '0.0';
  const [mantissa, power] = value.toExponential().split('e') as [string, string];
  const exponent = Number(power);
  if (exponent < -4 || exponent >= 16) {
    return `${mantissa}e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`;
  }
  const sign = value < 0 ? '-' : '';
  const digits = mantissa.replace('-', '').replace('.', '');
  if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${digits}`;
  const whole = digits.slice(0, exponent + 1).padEnd(exponent + 1, '0');
  return `${sign}${whole}.${digits.slice(exponent + 1) || '0'}`;
}
