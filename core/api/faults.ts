import { type ApiResponse, JSON_TYPE } from './exchange.js';
import { pythonJson } from './python-json.js';

/** A wrong method on a known address of Flask's part of the reference (spec: v2 errors). */
export function methodNotAllowed(allowed: readonly string[]): ApiResponse {
  return {
    status: 405,
    headers: { 'content-type': JSON_TYPE, allow: allowed.join(', ') },
    body: `${pythonJson({ message: 'The method is not allowed for the requested URL.' })}\n`,
  };
}

/** The page that Flask shows for an address it does not know (spec: v2 errors). */
export function pageNotFound(): ApiResponse {
  const text =
    'The requested URL was not found on the server. If you entered the URL manually please check your spelling and try again.';
  return {
    status: 404,
    headers: { 'content-type': 'text/html; charset=utf-8' },
    body: `<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n<p>${text}</p>\n`,
  };
}

/**
 * A fault outside every method, in the form that `Accept` asks for: a page, JSON, or else plain text (spec: errors raised
 * outside a v1 method; the texts are WebOb's).
 */
export function plainFault(
  status: number,
  detail: string,
  accept: string | undefined,
  method = 'GET',
): ApiResponse {
  const fault = { status, detail, ...wordingOf(status, method) };
  switch (preferredType(accept, ['text/html', JSON_TYPE])) {
    case 'text/html':
      return { status, headers: { 'content-type': 'text/html; charset=UTF-8' }, body: page(fault) };
    case JSON_TYPE:
      return {
        status,
        headers: { 'content-type': JSON_TYPE },
        body: pythonJson({ code: status, title: fault.title, description: detail }),
      };
    default:
      return { status, headers: { 'content-type': 'text/plain; charset=UTF-8' }, body: plainText(fault) };
  }
}

interface Wording {
  readonly title: string;
  readonly explanation: string;
  /** WebOb's forms differ in the blank lines after the detail. */
  readonly isShort?: boolean;
}

interface Fault extends Wording {
  readonly status: number;
  readonly detail: string;
}

const WORDING: Readonly<Record<number, Wording>> = {
  400: {
    title: 'Bad Request',
    explanation:
      'The server could not comply with the request since it is either malformed or otherwise incorrect.',
  },
  403: { title: 'Forbidden', explanation: 'Access was denied to this resource.' },
  404: { title: 'Not Found', explanation: 'The resource could not be found.' },
  406: {
    title: 'Not Acceptable',
    explanation: 'The resource could not be generated that was acceptable to your browser. ',
    isShort: true,
  },
  408: {
    title: 'Request Timeout',
    explanation: 'The server has waited too long for the request to be sent by the client.',
  },
  413: {
    title: 'Request Entity Too Large',
    explanation: 'The body of your request was too large for this server.',
  },
  414: { title: 'Request-URI Too Long', explanation: 'The request URI was too long for this server.' },
  415: {
    title: 'Unsupported Media Type',
    explanation: 'The request media type is not supported by this server. ',
    isShort: true,
  },
  429: {
    title: 'Too Many Requests',
    explanation: 'The client has sent too many requests in a given amount of time',
  },
  431: {
    title: 'Request Header Fields Too Large',
    explanation: 'The request header fields were too large',
  },
  500: {
    title: 'Internal Server Error',
    explanation: 'The server has either erred or is incapable of performing the requested operation.',
  },
  503: {
    title: 'Service Unavailable',
    explanation: 'The server is currently unavailable. Please try again at a later time.',
  },
};

function wordingOf(status: number, method: string): Wording {
  if (status === 405) {
    const explanation = `The method ${method} is not allowed for this resource. `;
    return { title: 'Method Not Allowed', explanation, isShort: true };
  }
  return WORDING[status] ?? WORDING[status < 500 ? 400 : 500]!;
}

function page({ status, title, explanation, detail, isShort }: Fault): string {
  const heading = `${status} ${title}`;
  const end = isShort === true ? '' : '\n\n';
  const text = `${escapeHtml(explanation)}<br /><br />\n${escapeHtml(detail)}${end}`;
  return `<html>\n <head>\n  <title>${heading}</title>\n </head>\n <body>\n  <h1>${heading}</h1>\n  ${text}\n </body>\n</html>`;
}

/** Line breaks of the detail become blanks, and so do those of the form around it. */
function plainText({ status, title, explanation, detail, isShort }: Fault): string {
  const line = detail.replace(/[\r\n]/g, ' ');
  return `${status} ${title}\n\n${explanation}\n\n ${line}${isShort === true ? '' : '  '}`;
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#x27;',
};

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character]!);
}

interface MediaRange {
  readonly type: string;
  readonly quality: number;
}

/**
 * The offered type that `Accept` likes best, of equal ones the first; undefined when it likes none or is absent. A header
 * that is not well formed says nothing, so that the first offer is taken (RFC 9110, 12.5.1, as WebOb reads it).
 */
export function preferredType(accept: string | undefined, offers: readonly string[]): string | undefined {
  if (accept === undefined) return undefined;
  const ranges = rangesOf(accept);
  if (ranges === undefined) return offers[0];
  let best: { readonly offer: string; readonly quality: number } | undefined;
  for (const offer of offers) {
    const quality = qualityOf(offer, ranges);
    if (quality > (best?.quality ?? 0)) best = { offer, quality };
  }
  return best?.offer;
}

const NAME = "[\\w!#$%&'*+.^`|~-]+";
const RANGE = new RegExp(`^(${NAME}/${NAME})((?:[ \\t]*;[ \\t]*${NAME}=(?:${NAME}|"[^"\\\\]*"))*)$`);

/** Undefined for text that is no list of media ranges. */
function rangesOf(accept: string): readonly MediaRange[] | undefined {
  const ranges: MediaRange[] = [];
  for (const part of accept.split(',')) {
    const text = part.trim();
    if (text === '') continue;
    const match = RANGE.exec(text);
    const [, type = '', parameters = ''] = match ?? [];
    const quality = /;[ \t]*q=([^;\s]*)/i.exec(parameters)?.[1] ?? '1';
    if (match === null || !/^(0(\.\d{0,3})?|1(\.0{0,3})?)$/.test(quality)) return undefined;
    // A range with a parameter of its own stands for nothing that is offered here.
    const isPlain = /^([ \t]*;[ \t]*q=[^;]*)?$/i.test(parameters);
    if (isPlain) ranges.push({ type: type.toLowerCase(), quality: Number(quality) });
  }
  return ranges;
}

/** Of the most specific range that the type lies in; 0 when it lies in none. */
function qualityOf(offer: string, ranges: readonly MediaRange[]): number {
  const family = `${offer.split('/')[0]}/*`;
  for (const type of [offer, family, '*/*']) {
    const range = ranges.find((candidate) => candidate.type === type);
    if (range !== undefined) return range.quality;
  }
  return 0;
}
