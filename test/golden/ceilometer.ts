/** Exchanges with a real Ceilometer 9.0.7, and what CloudKitty 5.0.0's collector made of them. */
import { readFileSync } from 'node:fs';
import type { Collector, HttpResponse } from '../../core/plugin-api/index.js';
import { createPlugin } from '../../core/testkit/definition.js';
import { fakeContext } from '../../core/testkit/fakes.js';
import type { CeilometerMetricOptions } from '../../plugins/collectors/ceilometer/metric-options.js';
import ceilometer from '../../plugins/collectors/ceilometer.js';
import { type CannedAnswer, CannedHttp } from '../support/canned-http.js';
import { FIXTURES } from '../support/fake-ceilometer.js';

export interface Exchange {
  readonly name: string;
  /** What was stored at the time: the samples up to 01:00:07.25, or all of them. */
  readonly data: 'first-hour' | 'full' | 'full + posted sample' | 'none';
  /** `collector` (a call of CloudKitty's collector) or `plain`. */
  readonly client: string;
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly status: number;
  readonly raw: string;
}

export interface ExpectedEntries {
  readonly data: Exchange['data'];
  readonly project: string | null;
  readonly service: string;
  readonly begin: string;
  readonly end: string;
  readonly filter?: unknown;
  /** Absent: no data. */
  readonly entries?: readonly Entry[];
  /** Names of the exchanges. */
  readonly requests: readonly string[];
}

export interface Entry {
  readonly desc: Readonly<Record<string, unknown>>;
  readonly qty: string;
  readonly unit: string;
}

export function exchanges(): readonly Exchange[] {
  return lines('exchanges.ndjson') as readonly Exchange[];
}

export function expectedEntries(): readonly ExpectedEntries[] {
  return lines('expected-entries.ndjson') as readonly ExpectedEntries[];
}

function lines(file: string): readonly unknown[] {
  const text = readFileSync(new URL(file, FIXTURES), 'utf8').trim();
  return text.split('\n').map((line) => JSON.parse(line) as unknown);
}

export const LOGIN = {
  auth_url: 'http://keystone.test:5000/v3',
  username: 'ratecat',
  password: 's3cret',
  project_name: 'service',
};

const CATALOG = [
  {
    type: 'metering',
    endpoints: [{ interface: 'public', region_id: 'RegionOne', url: 'http://ceilometer.test:8777' }],
  },
];

/** A collector inside the process: a log-in always succeeds, and Ceilometer's API answers as told. */
export async function collectorOver(
  answer: CannedAnswer,
  context: Parameters<typeof fakeContext>[0] = {},
  more: object = {},
): Promise<{
  readonly collector: Collector<CeilometerMetricOptions>;
  readonly http: CannedHttp;
  /** Path and query of what Ceilometer was asked. */
  asked(): readonly string[];
}> {
  const http = new CannedHttp((request, url) => (url.port === '5000' ? loggedIn() : answer(request, url)));
  const collector = (await createPlugin({
    definition: ceilometer,
    options: { ...LOGIN, ...more },
    context: fakeContext({ http, ...context }),
  })) as Collector<CeilometerMetricOptions>;
  const asked = () =>
    http.requests.map(({ url }) => url).filter((url) => url.startsWith('http://ceilometer.test:8777/'));
  return {
    collector,
    http,
    asked: () => asked().map((url) => url.slice('http://ceilometer.test:8777'.length)),
  };
}

function loggedIn(): Partial<HttpResponse> {
  const token = { user: { id: 'user-1', name: 'ratecat' }, catalog: CATALOG };
  return { status: 201, headers: { 'x-subject-token': 'token-1' }, body: JSON.stringify({ token }) };
}

/** The metrics file of the documentation. */
export function documentedMetrics(): string {
  const page = readFileSync(new URL('../../docs/plugins/collector-ceilometer.md', import.meta.url), 'utf8');
  const blocks = [...page.matchAll(/^```yaml\n(metrics:\n.*?)^```/gms)];
  if (blocks.length !== 1)
    throw new Error('docs/plugins/collector-ceilometer.md has not exactly one metrics file');
  return blocks[0]![1]!;
}
