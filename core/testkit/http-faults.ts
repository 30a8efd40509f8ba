import {
  type HttpClient,
  type HttpClientOptions,
  type HttpFactory,
  type HttpRequest,
  type HttpResponse,
  UnavailableError,
} from '../plugin-api/index.js';

/** What can happen to one request. */
export const HTTP_FAULTS = [
  'unreachable',
  'status 503',
  'half an answer',
  'a web page',
  'empty object',
  'null',
] as const;
export type HttpFault = (typeof HTTP_FAULTS)[number] | 'silence';

/** Passes requests on to real clients, remembers them, and spoils the one it is told to. */
export class FaultyHttp implements HttpFactory {
  readonly requests: HttpRequest[] = [];
  /** Clients that were opened and not closed yet. */
  openClients = 0;
  readonly #real: HttpFactory;
  #fault: HttpFault | undefined;
  #spoilAt = 0;
  #silenced: () => void = () => undefined;

  constructor(real: HttpFactory) {
    this.#real = real;
  }

  client(options: HttpClientOptions): HttpClient {
    const client = this.#real.client(options);
    let open = true;
    this.openClients++;
    return {
      request: (request, signal) => this.#request(client, request, signal),
      close: async () => {
        if (open) this.openClients--;
        open = false;
        await client.close();
      },
    };
  }

  /** Spoils the n-th request from now on, counted from 1. Resolves when silence has begun. */
  spoil(fault: HttpFault, n: number): Promise<void> {
    this.requests.length = 0;
    this.#fault = fault;
    this.#spoilAt = n;
    return new Promise((resolve) => {
      this.#silenced = resolve;
    });
  }

  heal(): void {
    this.requests.length = 0;
    this.#fault = undefined;
  }

  async #request(client: HttpClient, request: HttpRequest, signal: AbortSignal): Promise<HttpResponse> {
    // As real clients do: what is aborted is not sent.
    signal.throwIfAborted();
    this.requests.push(request);
    const spoilt = this.requests.length === this.#spoilAt;
    if (this.#fault === undefined || !spoilt) return await client.request(request, signal);
    if (this.#fault === 'silence') return await this.#silence(signal);
    if (this.#fault === 'unreachable') {
      throw new UnavailableError('RATECAT_UPSTREAM_UNREACHABLE', 'The upstream is away (a test says so).');
    }
    const fault = this.#fault;
    return spoiltAnswer(fault, await client.request(request, signal));
  }

  #silence(signal: AbortSignal): Promise<never> {
    return new Promise((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
      this.#silenced();
    });
  }
}

function spoiltAnswer(
  fault: Exclude<HttpFault, 'silence' | 'unreachable'>,
  real: HttpResponse,
): HttpResponse {
  switch (fault) {
    case 'status 503':
      return { status: 503, headers: {}, body: 'Service Unavailable' };
    case 'half an answer':
      return { ...real, body: real.body.slice(0, Math.floor(real.body.length / 2)) };
    case 'a web page':
      return { ...real, body: '<html><body>Welcome to nginx!</body></html>' };
    case 'empty object':
      return { ...real, body: '{}' };
    case 'null':
      return { ...real, body: 'null' };
  }
}
