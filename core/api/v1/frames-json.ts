import type { Descriptor, Period, RatedPoint, StoredFrame } from '../../plugin-api/index.js';
import { attributeJson, pythonFloat, pythonJson } from '../python-json.js';
import { nakedTime } from '../utc-time.js';

/** Parts of an answer are sent together from this length on. */
const CHUNK = 64 * 1024;

export interface FramesOptions {
  /**
   * The reference keeps the points of a period together, whosever they are, and calls them by the scope of the first one.
   * Otherwise each scope has its own frames.
   */
  readonly joinsScopes: boolean;
}

/** What is shown together: one stored frame, or all of one period. */
interface Usage {
  readonly period: Period;
  readonly tenant: string;
  readonly points: Map<string, RatedPoint[]>;
}

/** The answer of `GET /v1/storage/dataframes` in parts: a frame for each metric of each period. */
export async function* framesJson(
  frames: AsyncIterable<StoredFrame>,
  { joinsScopes }: FramesOptions,
): AsyncGenerator<string, void, void> {
  const json = new ResourceJson();
  let text = '{"dataframes": [';
  let separator = '';
  for await (const usage of usages(frames, joinsScopes)) {
    for (const part of usageJson(usage, json, separator)) {
      text += part;
      if (text.length < CHUNK) continue;
      yield text;
      text = '';
    }
    if (usage.points.size > 0) separator = ', ';
  }
  yield `${text}]}`;
}

/** Stored frames come in order of their begin. */
async function* usages(
  frames: AsyncIterable<StoredFrame>,
  joinsScopes: boolean,
): AsyncGenerator<Usage, void, void> {
  let open: Usage[] = [];
  for await (const frame of frames) {
    const { period, scope, points } = frame;
    if (!joinsScopes || (open[0] !== undefined && open[0].period.begin !== period.begin)) {
      yield* open;
      open = [];
    }
    let usage = open.find((candidate) => candidate.period.end === period.end);
    if (usage === undefined) {
      usage = { period, tenant: scope.id, points: new Map() };
      open.push(usage);
    }
    for (const point of points) {
      const known = usage.points.get(point.descriptor.metric);
      if (known === undefined) usage.points.set(point.descriptor.metric, [point]);
      else known.push(point);
    }
  }
  yield* open;
}

function* usageJson(
  { period, tenant, points }: Usage,
  json: ResourceJson,
  before: string,
): Generator<string, void, void> {
  const head = pythonJson({
    begin: nakedTime(period.begin),
    end: nakedTime(period.end),
    tenant_id: tenant,
  }).slice(0, -1);
  let separator = before;
  for (const resources of points.values()) {
    yield `${separator}${head}, "resources": [`;
    for (const [place, point] of resources.entries()) yield `${place === 0 ? '' : ', '}${json.of(point)}`;
    yield ']}';
    separator = ', ';
  }
}

/** Points as JSON; of a descriptor that comes again, only the numbers are written anew. */
class ResourceJson {
  readonly #known = new WeakMap<Descriptor, string>();

  of({ descriptor, quantity, price }: RatedPoint): string {
    let described = this.#known.get(descriptor);
    if (described === undefined) {
      described = pythonJson({ service: descriptor.metric, desc: descJson(descriptor) }).slice(1, -1);
      this.#known.set(descriptor, described);
    }
    return `{"rating": "${pythonFloat(price)}", ${described}, "volume": "${pythonFloat(quantity)}"}`;
  }
}

/** All metadata, overlaid by groupby. */
function descJson({ groupby, metadata }: Descriptor) {
  return new Map([...metadata, ...groupby].map(([name, value]) => [name, attributeJson(value)]));
}
