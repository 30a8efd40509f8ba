import type { JsonValue } from '../plugin-api/index.js';
import { isoTime } from '../scopes/iso-time.js';
import type { Column } from './table.js';

/** The rules of hashmap-like modules, as their snapshots hold them. */
interface RuleTree {
  readonly services: readonly Service[];
}

interface Service extends Parent {
  readonly fields?: readonly Parent[];
}

interface Parent {
  readonly name: string;
  readonly mappings?: readonly Rule[];
  readonly thresholds?: readonly Rule[];
}

interface Rule {
  readonly type: string;
  readonly cost: string;
  readonly value?: string;
  readonly level?: string;
  readonly group?: string;
  readonly tenant?: string;
  readonly start?: number;
  readonly end?: number;
}

export const RULE_COLUMNS: readonly Column[] = [
  { title: 'service' },
  { title: 'field' },
  { title: 'applies to' },
  { title: 'type' },
  { title: 'cost', isNumber: true },
  { title: 'group' },
  { title: 'tenant' },
  { title: 'valid' },
];

export function isRuleTree(rules: JsonValue): rules is JsonValue & RuleTree {
  if (typeof rules !== 'object' || rules === null || Array.isArray(rules)) return false;
  const { services } = rules as { readonly services?: unknown };
  return Array.isArray(services) && services.every((service) => typeof service?.name === 'string');
}

/** One row per rule; a service or field without rules has one as well. */
export function ruleRows({ services }: RuleTree): readonly (readonly string[])[] {
  return services.flatMap((service) => {
    const own = parentRows(service, service.name, '');
    const fields = (service.fields ?? []).flatMap((field) => {
      const rows = parentRows(field, service.name, field.name);
      return rows.length > 0 ? rows : [emptyRow(service.name, field.name)];
    });
    return own.length + fields.length > 0 ? [...own, ...fields] : [emptyRow(service.name, '')];
  });
}

function emptyRow(service: string, field: string): readonly string[] {
  return [service, field, 'no rules', '', '', '', '', ''];
}

function parentRows({ mappings, thresholds }: Parent, service: string, field: string) {
  const row = (rule: Rule, appliesTo: string) => [
    service,
    field,
    appliesTo,
    rule.type,
    rule.cost,
    rule.group ?? '',
    rule.tenant ?? '',
    validity(rule),
  ];
  return [
    ...(mappings ?? []).map((rule) => row(rule, rule.value ?? 'every point')),
    ...(thresholds ?? []).map((rule) => row(rule, `from ${rule.level ?? ''} on`)),
  ];
}

function validity({ start, end }: Rule): string {
  const from = start === undefined || start === 0 ? '' : `from ${isoTime(start)}`;
  const until = end === undefined ? '' : `until ${isoTime(end)}`;
  return [from, until].filter((part) => part !== '').join(' ');
}
