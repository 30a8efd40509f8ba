import { type Behaviour, HttpDouble, json, type ReceivedRequest } from '../../support/http-double.js';

/** A time series with a sample every `interval` seconds. */
export interface FakeSeries {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value?: string;
  /** Seconds between samples; default 60. */
  readonly interval?: number;
  /** No sample after this instant. */
  readonly until?: number;
}

/** Enough of the HTTP API of Prometheus for the queries that the fetcher and the collector send. */
export class FakePrometheus {
  readonly double: HttpDouble;
  series: FakeSeries[] = [];
  /** `user:password` that requests must bring. */
  credentials: string | undefined;
  /** The oldest instant that it says it has data for; undefined: it does not say. */
  begins: number | undefined;

  private constructor(double: HttpDouble) {
    this.double = double;
    double.handler = (request) => this.#answer(request);
  }

  static async start(): Promise<FakePrometheus> {
    return new FakePrometheus(await HttpDouble.start());
  }

  get url(): string {
    return `${this.double.url}/api/v1`;
  }

  stop(): Promise<void> {
    return this.double.stop();
  }

  #answer(request: ReceivedRequest): Behaviour {
    const { authorization } = request.headers;
    const wanted =
      this.credentials === undefined ? undefined : Buffer.from(this.credentials).toString('base64');
    if (wanted !== undefined && authorization !== `Basic ${wanted}`) return json({}, 401);
    if (request.path !== '/api/v1/query') return json({ status: 'success', data: [] });
    const time = request.query.get('time');
    const at = time === null ? Math.floor(Date.now() / 1000) : Date.parse(time) / 1000;
    const result = this.#query(request.query.get('query') ?? '', at);
    if (result !== undefined) return json({ status: 'success', data: { resultType: 'vector', result } });
    return json({ status: 'error', errorType: 'bad_data', error: 'not a query that this double knows' }, 400);
  }

  #query(query: string, at: number): readonly object[] | undefined {
    const one = (metric: object, value: string) => ({ metric, value: [at, value] });
    if (query === 'count(up)') return [one({}, '1')];
    if (query.startsWith('min(prometheus_tsdb'))
      return this.begins === undefined ? [] : [one({}, String(this.begins))];
    const counted = /^count\(count_over_time\((\w+)(?:\{\})?\[(\d+)s\]\)\)$/.exec(query);
    if (counted !== null) {
      const found = counted[1] === 'up' ? 1 : this.#alive(counted[1]!, {}, at, Number(counted[2])).length;
      return found === 0 ? [] : [one({}, String(found))];
    }
    const ranged = /^\w+\(\w+\((\w+)\{(\w+)="([^"]*)"\}\[(\d+)s\]\)\) by \((.*)\)$/.exec(query);
    const current = /^max\((\w+)(?:\{\})?\) by \((\w+)\)$/.exec(query);
    if (ranged === null && current === null) return undefined;
    const found =
      ranged === null
        ? this.#alive(current![1]!, {}, at, 300)
        : this.#alive(ranged[1]!, { [ranged[2]!]: ranged[3]! }, at, Number(ranged[4]));
    const by = (ranged?.[5] ?? current![2]!).split(', ');
    return found.map(({ labels, value = '1' }) =>
      one(
        Object.fromEntries(by.flatMap((name) => (labels[name] === undefined ? [] : [[name, labels[name]]]))),
        value,
      ),
    );
  }

  /** Series with a sample in the `range` seconds before the instant. A label that is missing counts as empty. */
  #alive(
    name: string,
    wanted: Readonly<Record<string, string>>,
    at: number,
    range: number,
  ): readonly FakeSeries[] {
    return this.series.filter((series) => {
      const { interval = 60, until = at } = series;
      const last = Math.floor(Math.min(at, until) / interval) * interval;
      const fits = Object.entries(wanted).every(([label, value]) => (series.labels[label] ?? '') === value);
      return series.name === name && fits && last > at - range;
    });
  }
}
