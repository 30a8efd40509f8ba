/**
 * A Prometheus that answers the collector's queries with made-up series: a child process, so that its work does not count as
 * ours. Tells its parent the port, and when the first query came.
 */
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

const [scopes, series] = process.argv.slice(2).map(Number) as [number, number];

/** `max(max_over_time(bench_3{project_id="scope-7"}[3600s])) by (…)` */
const COLLECT = /\(bench_(\d+)\{project_id="([^"]+)"\}\[\d+s\]\)/;

let isFirst = true;

const server = createServer((request, response) => {
  const url = new URL(request.url ?? '/', 'http://bench');
  const query = url.searchParams.get('query') ?? '';
  if (isFirst) process.send?.({ firstQueryAt: Date.now() });
  isFirst = false;
  const time = Date.parse(url.searchParams.get('time') ?? '') / 1000;
  const wanted = COLLECT.exec(query);
  if (wanted !== null) answer(response, samples(Number(wanted[1]), wanted[2]!, time));
  else if (query.startsWith('max(bench_scopes)')) answer(response, scopeList());
  // Everything else asks how far back the data goes.
  else answer(response, element('', Date.now() / 1000, '1000'));
});

server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as AddressInfo).port }));
process.on('disconnect', () => process.exit());

function answer(response: ServerResponse, elements: string): void {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(`{"status":"success","data":{"resultType":"vector","result":[${elements}]}}`);
}

function element(labels: string, time: number, value: string): string {
  return `{"metric":{${labels}},"value":[${time},"${value}"]}`;
}

function scopeList(): string {
  const now = Date.now() / 1000;
  return Array.from({ length: scopes }, (_, i) => element(`"project_id":"scope-${i}"`, now, '1')).join(',');
}

/** The first three metrics are counts with a fraction, the others byte counters. */
function samples(metric: number, scope: string, time: number): string {
  const elements: string[] = [];
  const hour = time / 3600;
  for (let i = 0; i < series; i++) {
    const counter = (hour * 7919 + i * 104_729 + metric * 31) % 1_000_003;
    const value = metric < 3 ? `${counter % 64}.${counter % 10}` : String(counter * 65_537);
    const labels =
      `"id":"5f1c2a90-7b1e-4c36-9d2f-${String(i).padStart(12, '0')}","user_id":"user-${i % 50}",` +
      `"project_id":"${scope}","flavor":"m1.flavor-${i % 100}","image":"image-${i % 20}"`;
    elements.push(element(labels, time, value));
  }
  return elements.join(',');
}
