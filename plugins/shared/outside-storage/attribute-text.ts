import {
  type AttributeFilter,
  type AttributeValue,
  canonicalJson,
  type Descriptor,
  describedAttribute,
  isDecimal,
} from '../../../core/plugin-api/index.js';

/** How an attribute is grouped, filtered and shown: text as it is, numbers with their scale, all else as JSON. */
export function attributeText(value: AttributeValue | undefined): string {
  if (value === undefined) return '';
  if (typeof value === 'string') return value;
  return isDecimal(value) ? value.toFixedScale() : canonicalJson(value);
}

export type DescriptorTest = (descriptor: Descriptor) => boolean;

/** All metrics and all filters of a query; undefined when every point matches. */
export function descriptorTest(
  metrics: readonly string[] | undefined,
  filters: readonly AttributeFilter[] = [],
): DescriptorTest | undefined {
  const tests: DescriptorTest[] = filters.map((filter) => {
    const texts = new Set(filter.values);
    return (descriptor) => texts.has(filteredText(descriptor, filter));
  });
  if (metrics !== undefined) {
    const names = new Set(metrics);
    tests.unshift(({ metric }) => names.has(metric));
  }
  return tests.length === 0 ? undefined : (descriptor) => tests.every((test) => test(descriptor));
}

function filteredText(descriptor: Descriptor, filter: AttributeFilter): string {
  if (filter.in === 'any') return attributeText(describedAttribute(descriptor, filter.name));
  return attributeText(descriptor[filter.in].get(filter.name));
}
