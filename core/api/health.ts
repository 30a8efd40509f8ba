import { stat } from 'node:fs/promises';
import { type ApiArea, type ApiRequest, type ApiResponse, JSON_TYPE } from './exchange.js';
import { preferredType } from './faults.js';

/** Answers below `/healthcheck`, without authentication. */
export type HealthCheck = ApiArea;

const TYPES = ['text/plain', 'text/html', JSON_TYPE];

/**
 * oslo.middleware's health check with its `disable_by_file` backend, the only one that CloudKitty configures (spec: health
 * check). It says that the process answers, not that what it needs does: a load balancer reads it.
 */
export class OsloHealthCheck implements HealthCheck {
  readonly #disableFile: string;

  /** While the file exists the answer is 503, so that a load balancer sends nobody here any more. */
  constructor(disableFile: string) {
    this.#disableFile = disableFile;
  }

  async handle({ method, headers }: ApiRequest): Promise<ApiResponse> {
    const isDisabled = await exists(this.#disableFile);
    const route = '/healthcheck';
    if (method === 'HEAD') {
      return {
        status: isDisabled ? 503 : 204,
        headers: { 'content-type': 'text/plain; charset=UTF-8' },
        route,
      };
    }
    const reason = isDisabled ? 'DISABLED BY FILE' : 'OK';
    return { status: isDisabled ? 503 : 200, ...answer(reason, headers.accept), route };
  }
}

function answer(reason: string, accept: string | undefined): Pick<ApiResponse, 'headers' | 'body'> {
  switch (preferredType(accept, TYPES)) {
    case 'text/html':
      return { headers: { 'content-type': 'text/html; charset=UTF-8' }, body: page(reason) };
    case JSON_TYPE:
      return {
        headers: { 'content-type': JSON_TYPE },
        body: JSON.stringify({ detailed: false, reasons: [reason] }, undefined, 4),
      };
    default:
      return { headers: { 'content-type': 'text/plain; charset=UTF-8' }, body: reason };
  }
}

function page(reason: string): string {
  return `<HTML>
<HEAD><TITLE>Healthcheck Status</TITLE></HEAD>
<BODY>

<H2>Result of 1 checks:</H2>
<TABLE bgcolor="#ffffff" border="1">
<TBODY>
<TR>

<TH>
Reason
</TH>
</TR>
<TR>

    <TD>${reason}</TD>

</TR>
</TBODY>
</TABLE>
<HR></HR>

</BODY>
</HTML>`;
}

/** As the reference asks: what cannot be looked at does not count as there. */
async function exists(file: string): Promise<boolean> {
  try {
    await stat(file);
    return true;
  } catch {
    return false;
  }
}
