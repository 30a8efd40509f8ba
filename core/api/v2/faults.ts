import { type ApiResponse, JSON_TYPE } from '../exchange.js';
import { type PythonValue, pythonJson } from '../python-json.js';

/** An answer that is an error: a status and a text (spec: v2 errors). */
export class Fault extends Error {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message);
    this.name = 'Fault';
    this.status = status;
    this.headers = headers;
  }
}

export function badRequest(message: string): Fault {
  return new Fault(400, message);
}

/** What the reference says when filters select nothing. */
export function nothingFound(): Fault {
  return new Fault(404, 'No resource found for provided filters.');
}

export function faultAnswer({ status, message, headers }: Fault): ApiResponse {
  return jsonAnswer({ message }, status, headers);
}

export function jsonAnswer(
  body: PythonValue,
  status = 200,
  headers: Readonly<Record<string, string>> = {},
): ApiResponse {
  return { status, headers: { 'content-type': JSON_TYPE, ...headers }, body: pythonJson(body) };
}

/** 204: without body, but with the content type, as the reference answers. */
export function emptyAnswer(headers: Readonly<Record<string, string>> = {}): ApiResponse {
  return { status: 204, headers: { 'content-type': JSON_TYPE, ...headers } };
}
