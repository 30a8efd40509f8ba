import type {
  HttpClientOptions,
  HttpFactory,
  HttpRequest,
  HttpResponse,
} from '../../core/plugin-api/index.js';

export type CannedAnswer = (request: HttpRequest, url: URL) => Partial<HttpResponse> | string;

/** Answers inside the process: for tests that need thousands of answers rather than a network. */
export class CannedHttp implements HttpFactory {
  readonly requests: HttpRequest[] = [];
  readonly clients: HttpClientOptions[] = [];
  answer: CannedAnswer;

  constructor(answer: CannedAnswer) {
    this.answer = answer;
  }

  client(options: HttpClientOptions) {
    this.clients.push(options);
    return {
      request: async (request: HttpRequest, signal: AbortSignal): Promise<HttpResponse> => {
        signal.throwIfAborted();
        this.requests.push(request);
        const answer = this.answer(request, new URL(request.url));
        const partial = typeof answer === 'string' ? { body: answer } : answer;
        return { status: 200, headers: {}, body: '', ...partial };
      },
      close: () => Promise.resolve(),
    };
  }

  /** The values of a query parameter, in the order of the requests. */
  asked(parameter: string): readonly (string | null)[] {
    return this.requests.map(({ url }) => new URL(url).searchParams.get(parameter));
  }
}
