/** The API's questions asked of a running CloudKitty, on the same points in the same run. */
import { Client, request } from 'undici';
import type { Frame, RatedPoint } from '../core/plugin-api/index.js';
import { type ApiLoad, descriptor, frame, measure, questions } from './api.js';
import type { BenchEngine } from './engines.js';
import type { Figure } from './figures.js';

/** A running CloudKitty with version 2 storage and without authentication, to be asked the same beside Ratecat. */
export interface Reference {
  readonly url: string;
  /** Its InfluxDB: `http://HOST:PORT/write?db=DATABASE`. What the database holds must not matter. */
  readonly influx: string;
}

/** The same questions over the same points; the figures carry its name. */
export async function benchReference({ url, influx }: Reference, load: ApiLoad): Promise<readonly Figure[]> {
  await fillReference(influx, load);
  const client = new Client(new URL(url).origin, { headersTimeout: 600_000, bodyTimeout: 600_000 });
  const asked = questions(load, '').filter(({ key }) => !OWN_QUESTIONS.has(key));
  const figures: Figure[] = [];
  try {
    for (const { key, what, path } of asked) {
      const plain = { key, what, path };
      figures.push(...(await measure({ id: 'reference', label: 'CloudKitty' }, client, plain, load)));
    }
  } finally {
    await client.close();
  }
  return figures;
}

/** Ratios of what was measured in the same run. */
export function besideReference(
  own: readonly Figure[],
  reference: readonly Figure[],
  { id }: BenchEngine,
): readonly Figure[] {
  return reference.flatMap((theirs) => {
    const ours = own.find((figure) => figure.id === theirs.id.replace('reference', id));
    if (ours?.value === undefined || theirs.value === undefined || theirs.unit !== 'requests/s') return [];
    return {
      id: `${ours.id}.ratio`,
      what: `${ours.what}, against CloudKitty`,
      value: ours.value / theirs.value,
      unit: '×',
    };
  });
}

/** Rules are only made in Ratecat; CloudKitty has no groups by calendar. */
const OWN_QUESTIONS = new Set(['mappings', 'day', 'month'].flatMap((key) => [key, `summary.${key}`]));

/** As CloudKitty's storage driver writes points. */
async function fillReference(influx: string, { scopes, resources, periods }: ApiLoad): Promise<void> {
  const target = new URL(influx);
  target.searchParams.set('precision', 's');
  for (let scope = 0; scope < scopes; scope++) {
    const descriptors = Array.from({ length: resources }, (_, index) => descriptor(scope, index));
    for (let period = 0; period < periods; period += PERIODS_PER_WRITE) {
      const count = Math.min(PERIODS_PER_WRITE, periods - period);
      const frames = Array.from({ length: count }, (_, index) => frame(scope, period + index, descriptors));
      const response = await request(target, {
        method: 'POST',
        body: frames.flatMap(lineProtocol).join('\n'),
      });
      const text = await response.body.text();
      if (response.statusCode !== 204) throw new Error(`${influx}: ${response.statusCode} ${text}`);
    }
  }
}

const PERIODS_PER_WRITE = 50;

function lineProtocol({ period, points }: Frame<RatedPoint>): readonly string[] {
  return points.map(({ descriptor: { metric, unit, groupby, metadata }, quantity, price }) => {
    const tags = groupby.names.map((name) => `${name}=${groupby.get(name)}`).join(',');
    const labels = metadata.names.map((name) => `${name}="${metadata.get(name)}"`).join(',');
    const lists = `groupby="${groupby.names.join('|')}",metadata="${metadata.names.join('|')}"`;
    const values = `period=${period.end - period.begin}i,price=${price},qty=${quantity},unit="${unit}"`;
    return `dataframes,${tags},type=${metric} ${labels},${lists},${values} ${period.begin}`;
  });
}
