import type { RatedPoint } from '../../../core/plugin-api/index.js';
import { expectedPoints } from '../../shared/outside-storage/committed.js';
import { ownerKey } from '../../shared/outside-storage/owner.js';
import { type PointRecord, readRecord } from '../../shared/outside-storage/point-record.js';
import type { InfluxClient } from './client.js';
import { damaged } from './damaged.js';
import {
  anyOf,
  equals,
  ownerCondition,
  ownerOf,
  POINT_FIELD,
  POINTS,
  SCOPE_TAG,
  SOURCE_TAG,
} from './layout.js';
import type { Committed, Marker } from './marker.js';
import { range } from './marker-reader.js';
import { MAX_CONDITIONS } from './visible.js';
import { identifier, tagText } from './wire-text.js';

const PAGE = 10_000;
/** A period as its marker says it. */
export type Period = Marker & { readonly committed: Committed };

/** Reads the points of periods. */
export class PointReader {
  readonly #client: InfluxClient;
  readonly #select: string;

  constructor(client: InfluxClient) {
    this.#client = client;
    const columns = [POINT_FIELD, SOURCE_TAG, SCOPE_TAG].map(identifier).join(',');
    this.#select = `SELECT ${columns} FROM ${client.source(POINTS)} WHERE `;
  }

  /**
   * The points of each period in their order; undefined for a period whose points are not all there.
   * @param metrics gives the points of these metrics alone.
   */
  async read(
    periods: readonly Period[],
    metrics: readonly string[] | undefined,
    signal: AbortSignal,
  ): Promise<readonly (readonly RatedPoint[] | undefined)[]> {
    const wanted = new Map(periods.map((period) => [periodKey(period), new Map<number, PointRecord>()]));
    const versions = new Map(periods.map((period) => [periodKey(period), period.committed.version]));
    const names = metrics === undefined ? undefined : new Set(metrics);
    const filled = periods.filter(({ committed }) => expectedPoints(committed, metrics) > 0);
    if (filled.length > 0) {
      for await (const [key, record] of this.#records(filled, metrics, signal)) {
        if (versions.get(key) !== record.version) continue;
        if (names !== undefined && !names.has(record.point.descriptor.metric)) continue;
        wanted.get(key)!.set(record.ordinal, record);
      }
    }
    return periods.map((period) => {
      const records = [...wanted.get(periodKey(period))!.values()];
      if (records.length !== expectedPoints(period.committed, metrics)) return undefined;
      return records.sort((left, right) => left.ordinal - right.ordinal).map(({ point }) => point);
    });
  }

  async *#records(
    periods: readonly Period[],
    metrics: readonly string[] | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<readonly [string, PointRecord]> {
    const begins = periods.map(({ begin }) => begin);
    const owners = new Map(periods.map((period) => [ownerKey(period), ownerCondition(period)]));
    const conditions = [
      ...range(Math.min(...begins), Math.max(...begins) + 1),
      anyOf([...owners.values()]),
      ...metricConditions(metrics),
    ];
    const statement = `${this.#select}${conditions.join(' AND ')}`;
    for (let offset = 0; ; offset += PAGE) {
      const [rows] = await this.#client.query([`${statement} LIMIT ${PAGE} OFFSET ${offset}`], signal);
      for (const [time, text, source, scope] of rows!.values) {
        if (typeof time !== 'number' || typeof text !== 'string')
          throw damaged(`a point of ${POINTS} is no text`);
        yield [`${time} ${ownerKey(ownerOf(source!, scope!))}`, readRecord(text, damaged)];
      }
      if (rows!.values.length < PAGE) return;
    }
  }
}

/** The tag holds the metric as it is, unless line protocol cannot: then every point is looked at. */
function metricConditions(metrics: readonly string[] | undefined): readonly string[] {
  if (metrics === undefined || metrics.length > MAX_CONDITIONS) return [];
  if (metrics.some((metric) => metric === '' || tagText(metric) !== metric)) return [];
  return [anyOf(metrics.map((metric) => equals('type', metric)))];
}

function periodKey(period: Period): string {
  return `${period.begin} ${ownerKey(period)}`;
}
