import type { Attributes, Descriptor } from '../plugin-api/index.js';
import { canonicalJson } from '../plugin-api/index.js';

/**
 * Gives equal descriptors of a scope the same object, period after period, so that rules and storage can remember what they
 * know about a descriptor by identity. Descriptors that were not seen for a whole generation are forgotten.
 */
export class DescriptorDictionary {
  #current = new Map<string, Descriptor>();
  #previous = new Map<string, Descriptor>();

  /** `facts` names metric, unit and description: equal text, equal facts. */
  intern(facts: MetricFacts, groupby: Attributes, metadata: Attributes): Descriptor {
    const key = `${facts.key}${attributesKey(groupby)}|${attributesKey(metadata)}`;
    const known = this.#current.get(key);
    if (known !== undefined) return known;
    const descriptor = this.#previous.get(key) ?? {
      metric: facts.metric,
      unit: facts.unit,
      groupby,
      metadata,
      description: facts.description,
    };
    this.#current.set(key, descriptor);
    return descriptor;
  }

  get size(): number {
    return Math.max(this.#current.size, this.#previous.size);
  }

  /** Ends a generation: call it after each period. */
  turn(): void {
    this.#previous = this.#current;
    this.#current = new Map();
  }
}

export interface MetricFacts {
  readonly key: string;
  readonly metric: string;
  readonly unit: string;
  readonly description: string | undefined;
}

export function metricFacts(metric: string, unit: string, description: string | undefined): MetricFacts {
  return { key: JSON.stringify([metric, unit, description ?? null]), metric, unit, description };
}

/** Name lists are shared by all points of a metric, so their text is made once per list. */
const NAMES_KEY = new WeakMap<readonly string[], string>();

function attributesKey({ names, values }: Attributes): string {
  let key = NAMES_KEY.get(names);
  if (key === undefined) {
    key = JSON.stringify(names);
    NAMES_KEY.set(names, key);
  }
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    // Length first: no value can pretend to be two.
    if (typeof value === 'string') key += `${value.length}:${value}`;
    else {
      const json = canonicalJson(value);
      key += `j${json.length}:${json}`;
    }
  }
  return key;
}
