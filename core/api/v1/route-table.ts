/** Finding the method of an address, with the reference's answers where there is none (spec: unmatched routes). */
import { compareText } from '../../plugin-api/index.js';

export interface Addressed {
  readonly method: string;
  /** `/groups/:group_id/mappings`. */
  readonly path: string;
}

export type Found<R> =
  | { readonly kind: 'found'; readonly route: R; readonly parameters: ReadonlyMap<string, string> }
  /** Segments that no method takes, behind an id: 404. */
  | { readonly kind: 'surplus' }
  /** Anything else that is not there: 405. */
  | { readonly kind: 'unmatched' };

interface Entry<R> {
  readonly route: R;
  readonly segments: readonly string[];
}

export class RouteTable<R extends Addressed> {
  readonly #entries: readonly Entry<R>[];

  constructor(routes: readonly R[]) {
    // Where two routes fit, fixed words win over parameters, from the left.
    this.#entries = routes
      .map((route) => ({ route, segments: segmentsOf(route.path) }))
      .sort((left, right) => compareText(fixedness(left), fixedness(right)));
  }

  find(method: string, segments: readonly string[]): Found<R> {
    const fits = ({ segments: pattern, route }: Entry<R>) =>
      route.method === method && pattern.length === segments.length && isPrefix(pattern, segments);
    const entry = this.#entries.find(fits);
    if (entry !== undefined) {
      return { kind: 'found', route: entry.route, parameters: parametersOf(entry.segments, segments) };
    }
    const isSurplus = this.#entries.some(
      ({ segments: pattern }) =>
        pattern.length < segments.length &&
        pattern.at(-1)?.startsWith(':') === true &&
        isPrefix(pattern, segments),
    );
    const isKnown = this.#entries.some(
      ({ segments: pattern }) => pattern.length === segments.length && isPrefix(pattern, segments),
    );
    return isSurplus && !isKnown ? { kind: 'surplus' } : { kind: 'unmatched' };
  }
}

export function segmentsOf(path: string): readonly string[] {
  return path.split('/').slice(1);
}

/** Sorts patterns with a fixed word before those with a parameter in the same place. */
function fixedness({ segments }: Entry<unknown>): string {
  return segments.map((segment) => (segment.startsWith(':') ? '1' : '0')).join('');
}

function isPrefix(pattern: readonly string[], segments: readonly string[]): boolean {
  return pattern.every((part, place) =>
    part.startsWith(':') ? segments[place] !== '' : part === segments[place],
  );
}

function parametersOf(pattern: readonly string[], segments: readonly string[]): ReadonlyMap<string, string> {
  const entries = pattern.flatMap((part, place) =>
    part.startsWith(':') ? [[part.slice(1), segments[place]!] as const] : [],
  );
  return new Map(entries);
}
