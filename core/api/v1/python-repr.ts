import { isDecimal } from '../../plugin-api/index.js';
import type { JsonInput } from '../exact-body.js';
import { pythonFloat } from '../python-json.js';
import { badRequest, type V1Fault } from './faults.js';

/** Longer texts of callers are cut when an error repeats them. */
const LONGEST_ECHO = 1000;

/** What is wrong with one attribute or argument, in the reference's words (spec: generic argument errors). */
export function invalidInput(name: string, value: JsonInput | undefined, reason: string): V1Fault {
  const text = typeof value === 'string' ? value : pythonRepr(value ?? null);
  return badRequest(
    `Invalid input for field/attribute ${name}. Value: '${shortened(text)}'. ${shortened(reason)}`,
  );
}

export function mandatoryMissing(name: string): V1Fault {
  return invalidInput(name, 'None', 'Mandatory field missing.');
}

export function wrongType(name: string, value: JsonInput, expected: string): V1Fault {
  const reason = `Wrong type. Expected '<class '${expected}'>', got '<class '${pythonType(value)}'>'`;
  return invalidInput(name, value, reason);
}

/** A JSON value as Python shows it. */
export function pythonRepr(value: JsonInput): string {
  if (value === null) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value === 'string') return quoted(value);
  if (isDecimal(value)) return value.exponent === 0 ? value.toString() : pythonFloat(value);
  if (Array.isArray(value)) return `[${value.map(pythonRepr).join(', ')}]`;
  const members = Object.entries(value).map(([name, item]) => `${quoted(name)}: ${pythonRepr(item)}`);
  return `{${members.join(', ')}}`;
}

export function pythonType(value: JsonInput): string {
  if (value === null) return 'NoneType';
  if (typeof value === 'boolean') return 'bool';
  if (typeof value === 'string') return 'str';
  if (isDecimal(value)) return value.exponent === 0 ? 'int' : 'float';
  return Array.isArray(value) ? 'list' : 'dict';
}

function shortened(text: string): string {
  return text.length <= LONGEST_ECHO
    ? text
    : `${text.slice(0, LONGEST_ECHO).replace(/[\ud800-\udbff]$/, '')}…`;
}

/** Single quotes, unless only they occur in the text. */
function quoted(text: string): string {
  const mark = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escaped = text.replace(/[\\'\p{Cc}]/gu, (character) => {
    if (character === "'") return mark === "'" ? "\\'" : "'";
    const known = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' }[character];
    return known ?? `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
  });
  return `${mark}${escaped}${mark}`;
}
