import { type ApiResponse, JSON_TYPE } from '../exchange.js';
import { type PythonValue, pythonJson } from '../python-json.js';

/** An error inside a method: a status and a text (spec: v1 faults). */
export class V1Fault extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.name = 'V1Fault';
    this.status = status;
  }
}

export function badRequest(message: string): V1Fault {
  return new V1Fault(400, message);
}

export function notFound(message: string): V1Fault {
  return new V1Fault(404, message);
}

export function faultAnswer({ status, message }: V1Fault): ApiResponse {
  const faultcode = status < 500 ? 'Client' : 'Server';
  return jsonAnswer({ faultcode, faultstring: message, debuginfo: null }, status);
}

export function jsonAnswer(
  body: PythonValue,
  status = 200,
  headers: Readonly<Record<string, string>> = {},
): ApiResponse {
  return { status, headers: { 'content-type': JSON_TYPE, ...headers }, body: pythonJson(body) };
}

/** 204: without body and without content type. */
export const NO_CONTENT: ApiResponse = { status: 204 };
