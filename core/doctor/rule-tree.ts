import type { Instant, JsonValue } from '../plugin-api/index.js';

/**
 * Rules in the form that hashmap and modules like it give: rules below services (rated names of metrics) and their fields.
 * Rules of another form cannot be compared with metrics.
 */
export interface RuleTree {
  readonly services: readonly ServiceNode[];
}

export interface ServiceNode extends RuleNode {
  readonly fields?: readonly RuleNode[];
}

export interface RuleNode {
  readonly name: string;
  readonly mappings?: readonly RuleLeaf[];
  readonly thresholds?: readonly RuleLeaf[];
}

export interface RuleLeaf {
  readonly type?: string;
  readonly cost?: string;
  readonly value?: string;
  readonly tenant?: string;
  readonly start?: number;
  readonly end?: number;
}

export function ruleTreeOf(rules: JsonValue): RuleTree | undefined {
  if (typeof rules !== 'object' || rules === null || Array.isArray(rules)) return undefined;
  const { services } = rules as { readonly services?: unknown };
  if (!Array.isArray(services)) return undefined;
  const named = services.every(
    (service: { readonly name?: unknown } | null) => typeof service?.name === 'string',
  );
  return named ? (rules as unknown as RuleTree) : undefined;
}

/** True for rules without content, of whatever form. */
export function isBare(rules: JsonValue): boolean {
  if (rules === null) return true;
  if (Array.isArray(rules)) return rules.length === 0;
  return (
    typeof rules === 'object' && Object.values(rules).every((value) => value === undefined || isBare(value))
  );
}

export function leavesOf({ mappings = [], thresholds = [] }: RuleNode): readonly RuleLeaf[] {
  return [...mappings, ...thresholds];
}

export function allLeavesOf(service: ServiceNode): readonly RuleLeaf[] {
  return [...leavesOf(service), ...(service.fields ?? []).flatMap(leavesOf)];
}

export function isValidAt({ start = 0, end }: RuleLeaf, instant: Instant): boolean {
  return start <= instant && (end === undefined || instant < end);
}
