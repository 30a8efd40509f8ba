import { stringify } from 'yaml';
import { maskUrls } from '../config/secret-names.js';
import { type ConfigNode, type ConfigValue, Secret } from './import-session.js';

/** How the configuration refers to a secret: by the path of a file, or by a variable of the environment. */
export interface SecretReference {
  /** Added to the key: `password_file`. */
  readonly suffix: '_file' | '';
  readonly text: string;
}

/** The configuration as YAML, each secret by its reference. */
export function renderConfig(root: ConfigNode, reference: (secret: Secret) => SecretReference): string {
  return stringify(plain(root, reference), { lineWidth: 0 });
}

function plain(node: ConfigNode, reference: (secret: Secret) => SecretReference): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(node).map(([key, value]) => {
      if (!(value instanceof Secret)) return [key, plainValue(value, reference)];
      const { suffix, text } = reference(value);
      return [`${key}${suffix}`, text];
    }),
  );
}

function plainValue(
  value: Exclude<ConfigValue, Secret>,
  reference: (secret: Secret) => SecretReference,
): unknown {
  if (typeof value === 'string') return literal(value);
  if (typeof value !== 'object') return value;
  if (isList(value)) return value.map(literal);
  return plain(value, reference);
}

function isList(value: readonly string[] | ConfigNode): value is readonly string[] {
  return Array.isArray(value);
}

/** `${` would be taken for a variable. */
function literal(text: string): string {
  return maskUrls(text).replaceAll('${', () => '$${');
}

/** A name for each secret by its value: the same password in several places is one. */
export function secretNames(
  root: ConfigNode,
  spelling: (name: string) => string,
): ReadonlyMap<string, string> {
  const names = new Map<string, string>();
  const taken = new Set<string>();
  for (const secret of secretsIn(root)) {
    if (names.has(secret.reveal())) continue;
    const base = spelling(secret.name);
    let name = base;
    for (let count = 2; taken.has(name); count++) name = `${base}_${count}`;
    taken.add(name);
    names.set(secret.reveal(), name);
  }
  return names;
}

function secretsIn(node: ConfigNode): readonly Secret[] {
  return Object.values(node).flatMap((value) => {
    if (value instanceof Secret) return [value];
    return typeof value === 'object' && !isList(value) ? secretsIn(value) : [];
  });
}
