/** An answer that is an error: what a caller is told, with a stable code. */
export class OwnFault extends Error {
  readonly status: number;
  readonly code: string;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, code: string, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message);
    this.name = 'OwnFault';
    this.status = status;
    this.code = code;
    this.headers = headers;
  }
}

export function invalid(message: string): OwnFault {
  return new OwnFault(400, 'RATECAT_REQUEST_INVALID', message);
}

export function forbidden(): OwnFault {
  return new OwnFault(
    403,
    'RATECAT_REQUEST_FORBIDDEN',
    'The policy does not allow this to your roles in this project.',
  );
}

/** For what the transport refuses, by status. */
const CODES: ReadonlyMap<number, string> = new Map([
  [401, 'RATECAT_REQUEST_UNAUTHENTICATED'],
  [404, 'RATECAT_REQUEST_UNKNOWN_PATH'],
  [405, 'RATECAT_REQUEST_METHOD'],
  [413, 'RATECAT_REQUEST_TOO_LARGE'],
  [415, 'RATECAT_REQUEST_TYPE'],
  [429, 'RATECAT_REQUEST_RATE_LIMITED'],
]);

export function codeOfStatus(status: number): string {
  return CODES.get(status) ?? (status < 500 ? 'RATECAT_REQUEST_INVALID' : 'RATECAT_REQUEST_FAILED');
}

/** The body of every error below `/ratecat/v1`. */
export function faultBody(code: string, message: string, requestId: string): string {
  return JSON.stringify({ error: { code, message, request_id: requestId } });
}
