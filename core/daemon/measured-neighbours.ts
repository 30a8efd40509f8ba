import type { ClosableDatabase } from '../database/open-database.js';
import type { Clock, HttpFactory } from '../plugin-api/index.js';

/** Hears how long the neighbours took. */
export interface NeighbourMetrics {
  /** One request to an upstream: `2xx`, `4xx`, …, or `error` when there was no answer. */
  upstreamAsked(host: string, outcome: string, seconds: number): void;
  databaseAsked(kind: 'query' | 'transaction', outcome: 'ok' | 'error', seconds: number): void;
}

/** The same clients, each request measured. Hosts are those of the configuration: their number is bounded. */
export function measuredHttp(factory: HttpFactory, metrics: NeighbourMetrics, clock: Clock): HttpFactory {
  return {
    client(options) {
      const client = factory.client(options);
      return {
        async request(request, signal) {
          const begin = clock.monotonic();
          let outcome = 'error';
          try {
            const response = await client.request(request, signal);
            outcome = `${Math.floor(response.status / 100)}xx`;
            return response;
          } finally {
            metrics.upstreamAsked(hostOf(request.url), outcome, (clock.monotonic() - begin) / 1000);
          }
        },
        close: () => client.close(),
      };
    },
  };
}

/** The same database, each query and transaction measured; rows that are read one by one are not. */
export function measuredDatabase(
  database: ClosableDatabase,
  metrics: NeighbourMetrics,
  clock: Clock,
): ClosableDatabase {
  const measure = async <T>(kind: 'query' | 'transaction', work: () => Promise<T>): Promise<T> => {
    const begin = clock.monotonic();
    let outcome: 'ok' | 'error' = 'error';
    try {
      const result = await work();
      outcome = 'ok';
      return result;
    } finally {
      metrics.databaseAsked(kind, outcome, (clock.monotonic() - begin) / 1000);
    }
  };
  return {
    dialect: database.dialect,
    query: (sql, parameters) => measure('query', () => database.query(sql, parameters)),
    transaction: (work, signal) => measure('transaction', () => database.transaction(work, signal)),
    iterate: (sql, parameters, signal) => database.iterate(sql, parameters, signal),
    close: () => database.close(),
  };
}

function hostOf(url: string): string {
  return URL.canParse(url) ? new URL(url).host : 'invalid';
}
