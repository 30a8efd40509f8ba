import assert from 'node:assert/strict';
import {
  type Frame,
  isRatecatError,
  type PointQuery,
  type RatedPoint,
  type Storage,
} from '../../core/plugin-api/index.js';
import { sampleFrame } from '../../core/testkit/samples.js';

/** What tests of storages on other servers write and read. */
export const never = new AbortController().signal;
export const EVERYTHING: PointQuery = { visible: 'all', begin: 0, end: 4_102_444_800 };
export const WRITE = { fence: 1, generation: 1, snapshot: 'a'.repeat(64) };
export const ALPHA = [{ key: 'project_id', id: 'alpha' }] as const;

/** Some servers that all say in price and flavor which version of the period they are of. */
export function versionFrame(
  version: number,
  ids: readonly string[] = ['a', 'b', 'c'],
  hour = 0,
): Frame<RatedPoint> {
  const price = `${version}.1`;
  const points = ids.map((id) => ({
    groupby: { id, project_id: 'alpha' },
    metadata: { flavor: price },
    price,
  }));
  return sampleFrame({ points, hour });
}

export async function read(
  storage: Storage,
  query: Partial<PointQuery> & { offset?: number; limit?: number } = {},
): Promise<readonly Frame<RatedPoint>[]> {
  const frames: Frame<RatedPoint>[] = [];
  for await (const frame of storage.readPeriods({ ...EVERYTHING, ...query }, never)) frames.push(frame);
  return frames;
}

/** Prices of the only period; empty when there is none. */
export async function prices(storage: Storage): Promise<readonly string[]> {
  const frames = await read(storage);
  assert.ok(frames.length <= 1);
  return frames.flatMap(({ points }) => points.map(({ price }) => price.toString()));
}

export function isCode(code: string, ...words: readonly string[]) {
  return (error: unknown) => {
    assert.ok(isRatecatError(error), String(error));
    assert.equal(error.code, code, error.message);
    for (const word of words) assert.ok(error.message.includes(word), error.message);
    return true;
  };
}
