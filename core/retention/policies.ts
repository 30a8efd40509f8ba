import type { RetentionPolicy } from '../config/config.js';

/** The first policy that fits a scope and metric; undefined: everything is kept. */
export function policyOf(
  policies: readonly RetentionPolicy[],
  scope: string,
  metric: string,
): RetentionPolicy | undefined {
  return policies.find((policy) => fits(policy.scopes, scope) && fits(policy.metrics, metric));
}

function fits(patterns: readonly string[] | undefined, text: string): boolean {
  return patterns === undefined || patterns.some((pattern) => matches(pattern, text));
}

/** `*` stands for any run of characters, everything else for itself. */
function matches(pattern: string, text: string): boolean {
  const [first = '', ...rest] = pattern.split('*');
  const last = rest.pop();
  if (last === undefined) return pattern === text;
  if (!text.startsWith(first) || !text.endsWith(last) || text.length < first.length + last.length)
    return false;
  const end = text.length - last.length;
  let at = first.length;
  for (const part of rest) {
    const found = text.indexOf(part, at);
    if (found < 0 || found + part.length > end) return false;
    at = found + part.length;
  }
  return true;
}
