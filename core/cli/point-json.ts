import {
  type Attributes,
  canonicalJson,
  type Period,
  type RatedPoint,
  type Scope,
} from '../plugin-api/index.js';
import { isoTime } from '../scopes/iso-time.js';

/** `name=value name=value`; text that could be mistaken is quoted. */
export function attributesText(...parts: readonly Attributes[]): string {
  return parts
    .flatMap((attributes) => [...attributes])
    .map(([name, value]) => {
      const text = typeof value === 'string' && /^[^\s"=]+$/.test(value) ? value : canonicalJson(value);
      return `${name}=${text}`;
    })
    .join(' ');
}

/** Facts of a frame that its points' JSON repeats. */
export interface PointPlace {
  readonly source?: string;
  readonly scope: Scope;
  readonly period: Period;
}

/**
 * A point as one line of JSON. Quantity and price are text with every digit; numbers among the attributes are literals with
 * every digit.
 */
export function pointJson({ source, scope, period }: PointPlace, point: RatedPoint, more = ''): string {
  const { metric, unit, groupby, metadata, description } = point.descriptor;
  const head = JSON.stringify({
    begin: isoTime(period.begin),
    end: isoTime(period.end),
    source,
    scope_key: scope.key,
    scope: scope.id,
    metric,
    unit,
    description,
    quantity: point.quantity.toString(),
    price: point.price.toString(),
  });
  return `${head.slice(0, -1)},"groupby":${groupby.canonical()},"metadata":${metadata.canonical()}${more}}`;
}
