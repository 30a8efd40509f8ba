import { Decimal } from '../plugin-api/index.js';
import { checkShape } from './check-shape.js';
import { type Mutation, metricSchema, type WrittenMetric } from './metrics-schema.js';
import { type ConfigPath, type Position, type Problem, TOP } from './problems.js';
import { folderOf, type OptionsSource, optionsSource } from './validate-options.js';
import { keyPositionOf, nodeAt, type YamlDocument } from './yaml-document.js';
import type { MapNode, ScalarNode } from './yaml-tree.js';

/** A number exactly as written. Whether it was a YAML number decides how the reference computed with it. */
export interface NumberText {
  readonly text: string;
  readonly written: 'number' | 'text';
}

/** One way to rate a metric. `extra_args` are unchecked until their collector is known. */
export interface MetricDefinition {
  /** Name in the data source. */
  readonly name: string;
  /** What frames, rules and reports call it: `alt_name`, or the name. No two definitions share it. */
  readonly ratedName: string;
  /** The reference's internal key: the name, or `name@#alt_name`. */
  readonly key: string;
  readonly unit: string;
  readonly factor: NumberText;
  readonly offset: NumberText;
  /** As written and without repetitions; scope key and collector's keys are not appended yet. */
  readonly groupby: readonly string[];
  readonly metadata: readonly string[];
  readonly mutate: Mutation;
  /** Present with `mutate: MAP` only; keys are numerically distinct. */
  readonly mutateMap: readonly { readonly from: Decimal; readonly to: Decimal }[] | undefined;
  readonly description: string | undefined;
  readonly skipExpression: string | undefined;
  readonly extraArgs: OptionsSource;
}

export interface MetricChecks {
  /** What is wrong with a skip expression, or undefined. Absent: not checked here. */
  readonly checkExpression?: ((text: string) => string | undefined) | undefined;
}

/** A definition and its path. */
export interface LocatedMetric {
  readonly metric: MetricDefinition;
  readonly path: ConfigPath;
}

const KEY_SEPARATOR = '@#';

/** A definition, or what is wrong with it. */
export interface ReadMetric {
  readonly definition: LocatedMetric | undefined;
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
}

/** Reads the definition at a path. */
export async function readMetric(
  document: YamlDocument,
  path: ConfigPath,
  checks: MetricChecks,
): Promise<ReadMetric> {
  const node = nodeAt(document.root, path);
  const name = String(path[1]);
  const at =
    typeof path.at(-1) === 'number' ? document.locate(path) : keyPositionOf(document.root, path, TOP);
  const named = namesSource(document, path, name, at);
  if (node?.kind !== 'map') {
    const message = 'must be a definition or a list of definitions';
    return failed([...named, document.problem(path, message, 'a definition needs at least `unit: …`')]);
  }
  const checked = await checkShape(
    metricSchema,
    { file: document.file, path, at, node },
    { number: exactNumber },
  );
  const problems = [...named, ...(checked.problems ?? []), ...contradictions(document, path, node, checks)];
  if (checked.value === undefined || problems.length > 0) return failed(problems);
  const metric = toDefinition(document, path, node, checked.value);
  return { definition: { metric, path }, problems: [], warnings: repetitions(document, path, checked.value) };
}

/** A literal that is no number has been reported already. */
function exactNumber(text: string): Decimal {
  return Decimal.tryParse(text) ?? Decimal.ZERO;
}

function failed(problems: readonly Problem[]): ReadMetric {
  return { definition: undefined, problems, warnings: [] };
}

/** The reference cuts the name at `@#`: such a metric would silently ask for another one. */
function namesSource(
  document: YamlDocument,
  path: ConfigPath,
  name: string,
  at: Position,
): readonly Problem[] {
  if (name !== '' && !name.includes(KEY_SEPARATOR)) return [];
  const message =
    name === '' ? 'a metric needs a name' : `a metric's name must not contain '${KEY_SEPARATOR}'`;
  return [{ ...document.problem(path, message, 'use alt_name to rate one metric in several ways'), ...at }];
}

/** Everything that takes more than one key to see. Read from the nodes, so that it appears beside other problems. */
function contradictions(
  document: YamlDocument,
  path: ConfigPath,
  node: MapNode,
  checks: MetricChecks,
): readonly Problem[] {
  return [
    ...inBothLists(document, path, node),
    ...mapMutation(document, path, node),
    ...mapKeys(document, path, node),
    ...skipExpression(document, path, node, checks),
  ];
}

function inBothLists(document: YamlDocument, path: ConfigPath, node: MapNode): readonly Problem[] {
  const groupby = new Set(textItems(node, 'groupby'));
  return textItems(node, 'metadata').flatMap((name, index) => {
    if (name === undefined || !groupby.has(name)) return [];
    const message = `'${name}' is in groupby and in metadata`;
    return [document.problem([...path, 'metadata', index], message, 'keep it in one of them')];
  });
}

function textItems(node: MapNode, key: string): readonly (string | undefined)[] {
  const list = node.entries.get(key)?.value;
  if (list?.kind !== 'list') return [];
  return list.items.map((item) => (item.kind === 'scalar' && item.type === 'string' ? item.text : undefined));
}

function mapMutation(document: YamlDocument, path: ConfigPath, node: MapNode): readonly Problem[] {
  const mutate = scalarOf(node, 'mutate')?.text;
  const hasMap = node.entries.has('mutate_map');
  if (mutate === 'MAP' && !hasMap) {
    const hint = 'without it every quantity would become 0';
    return [document.problem([...path, 'mutate'], 'MAP needs a mutate_map', hint)];
  }
  if (mutate === 'MAP' || !hasMap) return [];
  const problem = document.problem(
    [...path, 'mutate_map'],
    'is used with mutate: MAP only',
    'add mutate: MAP, or remove it',
  );
  return [problem];
}

/** Keys match by number, so `1` and `1.0` are the same key, and text would never match. */
function mapKeys(document: YamlDocument, path: ConfigPath, node: MapNode): readonly Problem[] {
  const map = node.entries.get('mutate_map')?.value;
  if (map?.kind !== 'map') return [];
  const seen: { key: string; number: Decimal }[] = [];
  return [...map.entries].flatMap(([key, { keyAt }]) => {
    const number = Decimal.tryParse(key);
    const same = number === undefined ? undefined : seen.find((entry) => entry.number.equals(number));
    if (number !== undefined) seen.push({ key, number });
    if (number !== undefined && same === undefined) return [];
    const message =
      number === undefined
        ? `the key '${key}' is not a number`
        : `'${key}' is the same number as '${same?.key}'`;
    return [
      { ...document.problem([...path, 'mutate_map', key], message, 'keys are measured values'), ...keyAt },
    ];
  });
}

function skipExpression(
  document: YamlDocument,
  path: ConfigPath,
  node: MapNode,
  checks: MetricChecks,
): readonly Problem[] {
  const expression = scalarOf(node, 'skip_datapoints_expression');
  if (expression?.type !== 'string' || expression.text === '') return [];
  const fault = checks.checkExpression?.(expression.text);
  return fault === undefined ? [] : [document.problem([...path, 'skip_datapoints_expression'], fault)];
}

function scalarOf(node: MapNode, key: string): ScalarNode | undefined {
  const value = node.entries.get(key)?.value;
  return value?.kind === 'scalar' ? value : undefined;
}

function repetitions(document: YamlDocument, path: ConfigPath, written: WrittenMetric): readonly Problem[] {
  return (['groupby', 'metadata'] as const).flatMap((key) =>
    written[key].flatMap((name, index) =>
      written[key].indexOf(name) === index
        ? []
        : [document.problem([...path, key, index], `'${name}' is listed twice`, 'the second one is ignored')],
    ),
  );
}

function toDefinition(
  document: YamlDocument,
  path: ConfigPath,
  node: MapNode,
  written: WrittenMetric,
): MetricDefinition {
  const name = String(path[1]);
  const { alt_name: altName, mutate_map: map } = written;
  const extraArgs = {
    file: document.file,
    path: [...path, 'extra_args'],
    at: keyPositionOf(document.root, [...path, 'extra_args'], document.locate(path)),
    node: node.entries.get('extra_args')?.value,
  };
  return {
    name,
    ratedName: altName ?? name,
    key: altName === undefined ? name : `${name}${KEY_SEPARATOR}${altName}`,
    unit: written.unit,
    factor: numberText(scalarOf(node, 'factor'), '1'),
    offset: numberText(scalarOf(node, 'offset'), '0'),
    groupby: [...new Set(written.groupby)],
    metadata: [...new Set(written.metadata)],
    mutate: written.mutate,
    mutateMap:
      map === undefined
        ? undefined
        : Object.entries(map).map(([from, to]) => ({ from: Decimal.parse(from), to })),
    description: written.description,
    skipExpression: written.skip_datapoints_expression,
    extraArgs: optionsSource(extraArgs, folderOf(document.file)),
  };
}

function numberText(node: ScalarNode | undefined, byDefault: string): NumberText {
  if (node === undefined) return { text: byDefault, written: 'number' };
  return node.type === 'number'
    ? { text: node.text, written: 'number' }
    : { text: node.text.trim(), written: 'text' };
}
