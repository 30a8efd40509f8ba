import type { Attributes, Descriptor, Instant, RatedPoint, StoredFrame } from '../../plugin-api/index.js';
import { attributeJson, pythonFloat, pythonJson } from '../python-json.js';
import { offsetTime } from './iso-time.js';

/** Points by period end, then by metric, as JSON. */
type OpenPeriods = Map<Instant, Map<string, string[]>>;

/**
 * The answer of `GET /v2/dataframes` in parts. Points of one period are one frame, whatever scopes and sources they are of,
 * so that the points of one begin are in memory together.
 */
export async function* framesJson(
  total: number,
  frames: AsyncIterable<StoredFrame>,
): AsyncGenerator<string, void, void> {
  yield `{"total": ${total}, "dataframes": [`;
  const points = new PointJson();
  let begin: Instant | undefined;
  let open: OpenPeriods = new Map();
  let isFirst = true;
  for await (const frame of frames) {
    if (begin !== undefined && frame.period.begin !== begin) {
      yield* periodsJson(begin, open, isFirst);
      isFirst = false;
      open = new Map();
    }
    begin = frame.period.begin;
    addPoints(open, frame, points);
  }
  if (begin !== undefined) yield* periodsJson(begin, open, isFirst);
  yield ']}';
}

function addPoints(open: OpenPeriods, { period, points }: StoredFrame, json: PointJson): void {
  let usage = open.get(period.end);
  if (usage === undefined) {
    usage = new Map();
    open.set(period.end, usage);
  }
  for (const point of points) {
    const { metric } = point.descriptor;
    const list = usage.get(metric);
    if (list === undefined) usage.set(metric, [json.of(point)]);
    else list.push(json.of(point));
  }
}

/** The frames of one begin, the shortest first; a part for each metric. */
function* periodsJson(begin: Instant, open: OpenPeriods, isFirst: boolean): Generator<string, void, void> {
  const periods = [...open].sort(([left], [right]) => left - right);
  for (const [place, [end, usage]] of periods.entries()) {
    const period = pythonJson({ begin: offsetTime(begin), end: offsetTime(end) });
    yield `${isFirst && place === 0 ? '' : ', '}{"period": ${period}, "usage": {`;
    let separator = '';
    for (const [metric, points] of usage) {
      yield `${separator}${pythonJson(metric)}: [${points.join(', ')}]`;
      separator = ', ';
    }
    yield '}}';
  }
}

/** Points as JSON; of a descriptor that comes again, only the numbers are written anew. */
class PointJson {
  readonly #known = new WeakMap<Descriptor, readonly [string, string]>();

  of({ descriptor, quantity, price }: RatedPoint): string {
    let parts = this.#known.get(descriptor);
    if (parts === undefined) {
      const { unit, groupby, metadata } = descriptor;
      parts = [
        pythonJson(unit),
        `"groupby": ${attributesJson(groupby)}, "metadata": ${attributesJson(metadata)}`,
      ];
      this.#known.set(descriptor, parts);
    }
    const [unit, attributes] = parts;
    const vol = `{"unit": ${unit}, "qty": ${pythonFloat(quantity)}}`;
    return `{"vol": ${vol}, "rating": {"price": ${pythonFloat(price)}}, ${attributes}}`;
  }
}

function attributesJson(attributes: Attributes): string {
  return pythonJson(new Map([...attributes].map(([name, value]) => [name, attributeJson(value)])));
}
