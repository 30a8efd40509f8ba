/** Values that `${NAME}` refers to. */
export type Environment = Readonly<Record<string, string | undefined>>;

export interface Expansion {
  readonly text: string;
  readonly expanded: boolean;
  readonly problems: readonly { readonly message: string; readonly hint: string }[];
}

const REFERENCE = /\$\$\{|\$\{([^}]*)(\}?)/g;
const NAME = /^([A-Za-z_][A-Za-z0-9_]*)(?::-([\s\S]*))?$/;
const LITERAL_HINT = 'write $${ for a literal ${';

/**
 * Replaces `${NAME}` and `${NAME:-default}`; `$${` stands for a literal `${`. As in a shell, the default also takes the
 * place of an empty value. Values are put in as they are: they cannot add YAML structure.
 */
export function expandEnvironment(text: string, environment: Environment): Expansion {
  if (!text.includes('${')) return { text, expanded: false, problems: [] };
  const problems: { message: string; hint: string }[] = [];
  let expanded = false;
  const result = text.replace(REFERENCE, (match: string, inside: string | undefined, end: string) => {
    if (match === '$${') return '${';
    const answer = lookUp(inside ?? '', end === '}', environment);
    if (typeof answer !== 'string') {
      problems.push(answer);
      return match;
    }
    expanded = true;
    return answer;
  });
  return { text: result, expanded, problems };
}

function lookUp(
  inside: string,
  closed: boolean,
  environment: Environment,
): string | { message: string; hint: string } {
  const parts = closed ? NAME.exec(inside) : null;
  const name = parts?.[1];
  const fallback = parts?.[2];
  if (name === undefined || fallback?.includes('${')) {
    return {
      message: `'\${${inside}${closed ? '}' : ''}' is not a reference like \${NAME} or \${NAME:-default}`,
      hint: LITERAL_HINT,
    };
  }
  const value = Object.hasOwn(environment, name) ? environment[name] : undefined;
  if (fallback !== undefined) return value === undefined || value === '' ? fallback : value;
  if (value !== undefined) return value;
  return {
    message: `environment variable ${name} is not set`,
    hint: `set it, or give a default: \${${name}:-…}`,
  };
}
