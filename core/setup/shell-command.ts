import { STEERING } from '../config/human-text.js';

/** Characters that no shell gives a meaning to, wherever in a word after the first one they stand. */
const PLAIN = /^[A-Za-z0-9_@%+=:,./-]+$/;

/** One word of a command line as a shell reads it back. What would steer the terminal is written as bash's `$'\x1b'`. */
export function shellWord(text: string): string {
  if (PLAIN.test(text)) return text;
  if (text.search(STEERING) < 0) return `'${text.replaceAll("'", `'\\''`)}'`;
  const escaped = text
    .replace(/[\\']/g, '\\$&')
    .replace(STEERING, (character) =>
      [...Buffer.from(character)].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join(''),
    );
  return `$'${escaped}'`;
}

export interface OpenstackCommand {
  /** `role add` */
  readonly command: string;
  /** In this order; `true` stands for an option without a value. */
  readonly options?: Readonly<Record<string, string | true>>;
  readonly values: readonly string[];
}

/** A line for the `openstack` client, safe to paste into a shell whatever the names in it are. */
export function openstackCommand({ command, options = {}, values }: OpenstackCommand): string {
  const words = Object.entries(options).flatMap(([name, value]) => optionWords(name, value));
  // The client would take a name that begins with a hyphen for an option.
  const separator = values.some((value) => value.startsWith('-')) ? ['--'] : [];
  return ['openstack', command, ...words, ...separator, ...values.map(shellWord)].join(' ');
}

/** `--name VALUE`, or one word where the value would be taken for an option itself. */
export function optionWords(name: string, value: string | true): readonly string[] {
  if (value === true) return [`--${name}`];
  return value.startsWith('-') ? [`--${name}=${shellWord(value)}`] : [`--${name}`, shellWord(value)];
}
