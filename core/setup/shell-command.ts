/** Characters that no shell gives a meaning to, wherever in a word after the first one they stand. */
const PLAIN = /^[A-Za-z0-9_@%+=:,./-]+$/;
/** Would steer the terminal, or make the line read differently from what it does. */
const STEERING = /[\p{Cc}\u200e\u200f\u2028-\u202e\u2066-\u2069]/u;
const STEERING_BYTES = new RegExp(STEERING.source, 'gu');

/** One word of a command line as a shell reads it back. Control characters are written as bash's `$'\x1b'`. */
export function shellWord(text: string): string {
  if (PLAIN.test(text)) return text;
  if (!STEERING.test(text)) return `'${text.replaceAll("'", `'\\''`)}'`;
  const escaped = text
    .replace(/[\\']/g, '\\$&')
    .replace(STEERING_BYTES, (character) =>
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

function optionWords(name: string, value: string | true): readonly string[] {
  if (value === true) return [`--${name}`];
  return value.startsWith('-') ? [`--${name}=${shellWord(value)}`] : [`--${name}`, shellWord(value)];
}
