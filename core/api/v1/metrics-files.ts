import { stat } from 'node:fs/promises';
import { loadMetrics, type MetricDefinition } from '../../config/load-metrics.js';
import { inspectYamlText } from '../../config/yaml-document.js';
import { readText } from '../../config/yaml-text.js';
import type { SourceNode } from '../../config/yaml-tree.js';
import { Decimal } from '../../plugin-api/index.js';
import { type PythonValue, RawJson } from '../python-json.js';

const MAX_BYTES = 256 * 1024;

/** A metrics file as the API shows it. */
export interface ShownMetrics {
  /** As written: neither checked nor completed. */
  readonly document: () => Promise<PythonValue>;
  /** @throws ConfigError when the file is not valid. */
  readonly definitions: () => Promise<readonly MetricDefinition[]>;
}

interface Kept extends ShownMetrics {
  readonly stamp: string;
}

/** The metrics files of all pipelines, read again when they change. */
export class MetricsFiles {
  readonly #kept = new Map<string, Kept>();
  readonly #files: readonly string[];

  constructor(files: readonly string[]) {
    this.#files = [...new Set(files)];
  }

  /** In the order of the pipelines. */
  async all(): Promise<readonly ShownMetrics[]> {
    return Promise.all(this.#files.map((file) => this.#current(file)));
  }

  async #current(file: string): Promise<ShownMetrics> {
    const stamp = await stampOf(file);
    const known = this.#kept.get(file);
    if (known?.stamp === stamp) return known;
    const fresh: Kept = {
      stamp,
      document: once(() => readDocument(file)),
      definitions: once(async () => (await loadMetrics(file)).metrics),
    };
    this.#kept.set(file, fresh);
    return fresh;
  }
}

/** Changes whenever the file does; also while it is missing. */
async function stampOf(file: string): Promise<string> {
  try {
    const { ino, size, mtimeMs } = await stat(file);
    return `${ino} ${size} ${mtimeMs}`;
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code);
  }
}

/** An empty file is an empty object. @throws ConfigError when it is no YAML, or cannot be read. */
async function readDocument(file: string): Promise<PythonValue> {
  const text = await readText(file, MAX_BYTES);
  // A file of comments only is empty, too.
  if (/^(?:\s|#.*|---|\.\.\.)*$/.test(text)) return new Map();
  return plainJson(inspectYamlText(text, file).document.root);
}

/** Keys in the order of the file, whole numbers whole. */
function plainJson(node: SourceNode): PythonValue {
  if (node.kind === 'list') return node.items.map(plainJson);
  if (node.kind === 'map') {
    return new Map([...node.entries].map(([name, { value }]) => [name, plainJson(value)]));
  }
  if (node.type === 'null') return null;
  if (node.type === 'boolean') return node.text === 'true';
  return node.type === 'number' ? numberJson(node.text) : node.text;
}

function numberJson(text: string): PythonValue {
  if (/^[+-]?\d+$/.test(text)) return new RawJson(BigInt(text).toString());
  return Decimal.tryParse(text) ?? text;
}

function once<T>(read: () => Promise<T>): () => Promise<T> {
  let result: Promise<T> | undefined;
  return () => {
    result ??= read();
    return result;
  };
}
