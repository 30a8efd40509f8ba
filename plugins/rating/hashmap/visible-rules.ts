import type { JsonValue } from '../../../core/plugin-api/index.js';

/** Names of groups say what tenants were promised; those that matter to the caller stand in the rules. */
const LIST_OF_GROUPS = 'groups';

/** A document of rules without those for other tenants than this one. */
export function rulesVisibleTo(document: JsonValue, tenant: string | undefined): JsonValue {
  if (!isObject(document)) return {};
  const rest = Object.entries(document).filter(([name]) => name !== LIST_OF_GROUPS);
  return without(Object.fromEntries(rest), tenant) ?? {};
}

/** Undefined for what is another tenant's, or holds nothing any more. */
function without(value: JsonValue, tenant: string | undefined): JsonValue | undefined {
  if (Array.isArray(value)) {
    const kept = (value as readonly JsonValue[]).flatMap((item) => without(item, tenant) ?? []);
    return kept.length === 0 ? undefined : kept;
  }
  if (!isObject(value)) return value;
  if (Object.hasOwn(value, 'tenant') && !isRuleFor(value, tenant)) return undefined;
  const kept = Object.entries(value).flatMap(([name, item]) => {
    const rest = item === undefined ? undefined : without(item, tenant);
    return rest === undefined ? [] : [[name, rest] as const];
  });
  return kept.length === 0 || kept.every(([name]) => name === 'name') ? undefined : Object.fromEntries(kept);
}

/** A service or field may be called `tenant`; its body is no text. */
function isRuleFor({ tenant: owner }: JsonObject, tenant: string | undefined): boolean {
  return typeof owner === 'object' || (typeof owner === 'string' && owner === tenant);
}

type JsonObject = { readonly [name: string]: JsonValue | undefined };

function isObject(value: JsonValue): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
