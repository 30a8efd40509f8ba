import type { Descriptor, RatedPoint, StoredFrame } from '../../plugin-api/index.js';
import { isoTime } from '../../scopes/iso-time.js';

/** Points as JSON; of a descriptor that comes again, only the numbers are written anew. */
export class PointJson {
  readonly #known = new WeakMap<Descriptor, readonly [head: string, tail: string]>();

  /** An object without its closing brace: callers may add members. */
  open({ source, scope, period }: StoredFrame, { descriptor, quantity, price }: RatedPoint): string {
    const [head, tail] = this.#parts(descriptor);
    const place = JSON.stringify({
      begin: isoTime(period.begin),
      end: isoTime(period.end),
      source,
      scope_key: scope.key,
      scope: scope.id,
    });
    return `${place.slice(0, -1)},${head},"quantity":"${quantity}","price":"${price}",${tail}`;
  }

  #parts(descriptor: Descriptor): readonly [head: string, tail: string] {
    const known = this.#known.get(descriptor);
    if (known !== undefined) return known;
    const { metric, unit, description, groupby, metadata } = descriptor;
    const head = JSON.stringify({ metric, unit, description: description ?? null }).slice(1, -1);
    const parts = [head, `"groupby":${groupby.canonical()},"metadata":${metadata.canonical()}`] as const;
    this.#known.set(descriptor, parts);
    return parts;
  }
}
