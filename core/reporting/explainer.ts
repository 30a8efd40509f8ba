import {
  DataError,
  Decimal,
  type ExplanationStep,
  type Frame,
  type RatedPoint,
  type Storage,
  type StoredFrame,
} from '../plugin-api/index.js';
import type { CompiledModule, RuleSets } from '../rating/rule-sets.js';

export interface ExplainedModule {
  readonly module: string;
  readonly steps: readonly ExplanationStep[];
  /** Price after this module. */
  readonly price: Decimal;
}

export interface ExplainedPoint {
  readonly point: RatedPoint;
  readonly modules: readonly ExplainedModule[];
  /** Price computed now from the stored quantity and the period's snapshot. */
  readonly recomputed: Decimal;
  readonly agrees: boolean;
}

export interface ExplainedFrame {
  readonly frame: StoredFrame;
  readonly points: readonly ExplainedPoint[];
}

/** Recomputes stored prices from the stored quantity and the rule snapshot of their period, step by step. */
export class Explainer {
  readonly #storage: Storage;
  readonly #rules: RuleSets;

  constructor(storage: Storage, rules: RuleSets) {
    this.#storage = storage;
    this.#rules = rules;
  }

  async *explain(
    query: Parameters<Storage['readPeriods']>[0],
    signal: AbortSignal,
  ): AsyncIterable<ExplainedFrame> {
    let compiledFor = '';
    let compiled: readonly CompiledModule[] = [];
    for await (const frame of this.#storage.readPeriods(query, signal)) {
      const key = `${frame.snapshot}${frame.scope.key}=${frame.scope.id}`;
      if (key !== compiledFor) {
        compiled = await this.#compile(frame);
        compiledFor = key;
      }
      const points: ExplainedPoint[] = [];
      for (const point of frame.points) points.push(await explainPoint(frame, point, compiled, signal));
      yield { frame, points };
    }
  }

  /** @throws DataError RATECAT_SNAPSHOT_MISSING for frames that were pushed from outside or imported without rules. */
  async #compile(frame: StoredFrame): Promise<readonly CompiledModule[]> {
    const snapshot = frame.snapshot === '' ? undefined : await this.#rules.byHash(frame.snapshot);
    if (snapshot === undefined) {
      throw new DataError(
        'RATECAT_SNAPSHOT_MISSING',
        `The period that begins at ${new Date(frame.period.begin * 1000).toISOString()} was not rated by this installation, so there are no rules to explain it with.`,
      );
    }
    return this.#rules.compileFresh(snapshot, frame.scope);
  }
}

async function explainPoint(
  frame: StoredFrame,
  point: RatedPoint,
  modules: readonly CompiledModule[],
  signal: AbortSignal,
): Promise<ExplainedPoint> {
  const explained: ExplainedModule[] = [];
  let current: RatedPoint = { ...point, price: Decimal.ZERO };
  for (const { name, rating } of modules) {
    const steps = rating.explain?.(current, frame.period) ?? [];
    const single: Frame<RatedPoint> = { ...frame, points: [current], gaps: [] };
    const rated = await rating.rate(single, signal);
    const price = rated.points.reduce((sum, part) => sum.plus(part.price), Decimal.ZERO);
    explained.push({ module: name, steps, price });
    current = { ...current, price };
  }
  const recomputed = current.price.toStored();
  return { point, modules: explained, recomputed, agrees: recomputed.equals(point.price) };
}
