/** Answers of a running CloudKitty and how to compare ours with them: ids and current times differ from run to run. */
import { readFileSync } from 'node:fs';

export interface Exchange {
  readonly name: string;
  /** `admin`, `demo` and `other` with a token; `none` without, `bad` with a wrong one. */
  readonly as: string;
  readonly method: string;
  /** `${name}` stands for an id that an earlier answer gave. */
  readonly path: string;
  readonly body?: unknown;
  /** Sent as it is, instead of `body`. */
  readonly raw?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Names for values of the answer: a path in its JSON, or `@location`. */
  readonly capture?: Readonly<Record<string, string>>;
  readonly status: number;
  readonly responseHeaders: Readonly<Record<string, string>>;
  readonly text: string;
}

export interface Recording {
  /** Ids of the recorded run by name. */
  readonly names: Readonly<Record<string, string>>;
  readonly exchanges: readonly Exchange[];
}

export function readRecording(file: URL): Recording {
  const [first, ...lines] = readFileSync(file, 'utf8').trim().split('\n');
  return {
    names: (JSON.parse(first!) as { vars: Record<string, string> }).vars,
    exchanges: lines.map((line) => JSON.parse(line) as Exchange),
  };
}

/** The status, the headers that clients read, and the body with numbers as written. */
export interface ComparedAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly text: string;
}

const HEADERS = ['content-type', 'location', 'www-authenticate', 'allow', 'access-control-allow-origin'];
const UUID = /\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/gi;
const HEX_ID = /\b[0-9a-f]{32}\b/gi;
const ORIGIN = /http:\/\/(127\.0\.0\.1|localhost)(:\d+)?/g;
/** Times other than those that the exchanges themselves send, which lie in the first two months of 2026. */
const NOW = /\b(?!2026-0[12])\d{4}-\d\d-\d\d([T ])\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)?/g;
/** The order of these lists is that of random ids, or of the series of InfluxDB, in the reference. */
const UNORDERED = /\.(services|fields|groups|mappings|thresholds|scripts|resources|dataframes|usage\.\w+)$/;
/** Attributes of mappings and scripts that releases after the recorded one added. */
const NEWER = new Set([
  'created_at',
  'start',
  'end',
  'name',
  'description',
  'deleted',
  'created_by',
  'updated_by',
  'deleted_by',
]);
/** The sums of the reference are those of binary floats. */
const FLOAT_NOISE = 1e-12;

/** Differences between two answers, one line each, ids named by `names`. */
export function differences(
  expected: ComparedAnswer,
  expectedNames: Readonly<Record<string, string>>,
  actual: ComparedAnswer,
  actualNames: Readonly<Record<string, string>>,
): readonly string[] {
  const found: string[] = [];
  if (expected.status !== actual.status) found.push(`status ${expected.status} became ${actual.status}`);
  const [ours, theirs] = [masker(actualNames), masker(expectedNames)];
  for (const name of HEADERS) {
    const [was, is] = [headerText(name, expected, theirs), headerText(name, actual, ours)];
    if (was !== is) found.push(`header ${name}: ${was} became ${is}`);
  }
  compare(bodyOf(expected.text, theirs), bodyOf(actual.text, ours), 'body', found);
  return found;
}

type Mask = (text: string) => string;

function headerText(name: string, { headers }: ComparedAnswer, mask: Mask): string | undefined {
  const value = headers[name];
  if (value === undefined) return undefined;
  return name === 'allow' ? value.split(/,\s*/).sort().join(', ') : mask(value);
}

function masker(names: Readonly<Record<string, string>>): Mask {
  const known = new Map(Object.entries(names).map(([name, id]) => [id.toLowerCase(), `<${name}>`]));
  const id = (text: string) => known.get(text.toLowerCase()) ?? '<id>';
  return (text) =>
    text
      .replace(UUID, id)
      .replace(HEX_ID, id)
      .replace(ORIGIN, '<origin>')
      .replace(/(Value should be one of: )(.*)$/, (_all, head: string, list: string) =>
        head.concat(list.split(', ').sort().join(', ')),
      )
      .replace(NOW, (_all, separator: string, fraction?: string, offset?: string) =>
        ['<time', separator, fraction === undefined ? '' : 'fraction', offset ?? '', '>'].join(''),
      );
}

/** JSON with each number as `#` and its text, so that 1 and 1.0 differ; other text as it is. */
function bodyOf(text: string, mask: Mask): unknown {
  const marked = text.replace(
    /("(?:\\.|[^"\\])*")|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)/g,
    (_all, string: string | undefined, number: string) => string ?? `"#${number}"`,
  );
  try {
    return masked(JSON.parse(marked), mask);
  } catch {
    return mask(text);
  }
}

function masked(value: unknown, mask: Mask): unknown {
  if (typeof value === 'string') return mask(value);
  if (Array.isArray(value)) return value.map((item) => masked(item, mask));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [mask(key), masked(item, mask)]));
}

function compare(was: unknown, is: unknown, path: string, found: string[]): void {
  if (Array.isArray(was) && Array.isArray(is)) {
    compareLists(was, is, path, found);
  } else if (isObject(was) && isObject(is)) {
    for (const key of new Set([...Object.keys(was), ...Object.keys(is)])) {
      if (!(key in was) && NEWER.has(key) && ('mapping_id' in is || 'script_id' in is)) continue;
      if (!(key in was)) found.push(`${path}.${key}: is new (${stable(is[key])})`);
      else if (!(key in is)) found.push(`${path}.${key}: is missing (${stable(was[key])})`);
      else compare(was[key], is[key], `${path}.${key}`, found);
    }
  } else if (was !== is && !isNoise(was, is)) found.push(`${path}: ${stable(was)} became ${stable(is)}`);
}

/** Whether two sums differ by no more than the rounding of the reference's. */
function isNoise(was: unknown, is: unknown): boolean {
  if (!isSum(was) || !isSum(is)) return false;
  const [expected, actual] = [Number(was.replace('#', '')), Number(is.replace('#', ''))];
  return Math.abs(expected - actual) <= FLOAT_NOISE * Math.abs(expected);
}

function compareLists(was: readonly unknown[], is: readonly unknown[], path: string, found: string[]): void {
  // Lists of plain words are sets in the reference, but for rows and their columns.
  const isSet = UNORDERED.test(path) || (!/columns$|results/.test(path) && [...was, ...is].every(isText));
  const order = (list: readonly unknown[]) =>
    isSet ? [...list].sort((a, b) => (stable(a) < stable(b) ? -1 : 1)) : list;
  if (was.length !== is.length) found.push(`${path}: ${was.length} items became ${is.length}`);
  const [expected, actual] = [order(was), order(is)];
  for (let index = 0; index < Math.min(was.length, is.length); index++)
    compare(expected[index], actual[index], `${path}[${index}]`, found);
}

/** A number, or a text that is one, with a fraction. */
function isSum(value: unknown): value is string {
  return typeof value === 'string' && /^#?\d+\.\d+$/.test(value);
}

function isText(value: unknown): boolean {
  return typeof value === 'string';
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function stable(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(stable).join(',')}]`;
  if (!isObject(value)) return JSON.stringify(value);
  const entries = Object.keys(value)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${stable(value[key])}`);
  return `{${entries.join(',')}}`;
}
