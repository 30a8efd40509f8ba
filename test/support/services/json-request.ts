const TIMEOUT_MS = 30_000;

export interface JsonRequest {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly url: string;
  readonly token?: string;
  readonly body?: unknown;
}

export interface JsonResponse<Body> {
  readonly headers: Headers;
  /** `undefined` when the answer has no body. */
  readonly body: Body;
}

/** Sends and receives JSON; an answer outside 2xx becomes an error that quotes it. */
export async function requestJson<Body>(request: JsonRequest): Promise<JsonResponse<Body>> {
  const { method = 'GET', url, token, body } = request;
  const response = await fetch(url, {
    method,
    headers: {
      accept: 'application/json',
      ...(token === undefined ? {} : { 'x-auth-token': token }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  const text = await response.text();
  if (!response.ok)
    throw new HttpError(`${method} ${url} answered ${response.status}: ${text}`, response.status);
  return { headers: response.headers, body: (text === '' ? undefined : JSON.parse(text)) as Body };
}

export class HttpError extends Error {
  readonly status: number;

  constructor(message: string, status: number) {
    super(message);
    this.status = status;
  }
}
