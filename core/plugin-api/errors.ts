/**
 * Errors by who must act. They are recognised by `isRatecatError`, never by `instanceof`: two copies of this package may
 * be loaded in one process.
 */
const MARK = Symbol.for('ratecat.error');

/** What the daemon does with an error. */
export type ErrorKind =
  /** The configuration is wrong; the daemon does not start (exit code 78). */
  | 'config'
  /** A plugin is missing, incompatible or broke its contract. */
  | 'plugin'
  /** Something outside does not answer now; the same call may succeed later. */
  | 'unavailable'
  /** Something outside refused for good: credentials, privileges. */
  | 'rejected'
  /** Data that cannot be rated as it is; the period stays unrated. */
  | 'data'
  /** The lease was taken by somebody else; this worker must not write. */
  | 'fenced';

export type ErrorDetails = Readonly<Record<string, unknown>>;

export interface ErrorOptions {
  readonly cause?: unknown;
  readonly details?: ErrorDetails;
}

export class RatecatError extends Error {
  readonly code: string;
  readonly kind: ErrorKind;
  readonly retryable: boolean;
  readonly details: ErrorDetails;

  constructor(
    kind: ErrorKind,
    retryable: boolean,
    code: string,
    message: string,
    options: ErrorOptions = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.kind = kind;
    this.retryable = retryable;
    this.code = code;
    this.details = options.details ?? {};
    Object.defineProperty(this, MARK, { value: true });
  }
}

export class ConfigError extends RatecatError {
  constructor(code: string, message: string, options?: ErrorOptions) {
    super('config', false, code, message, options);
  }
}

export class PluginError extends RatecatError {
  constructor(code: string, message: string, options?: ErrorOptions) {
    super('plugin', false, code, message, options);
  }
}

export class UnavailableError extends RatecatError {
  constructor(code: string, message: string, options?: ErrorOptions) {
    super('unavailable', true, code, message, options);
  }
}

export class RejectedError extends RatecatError {
  constructor(code: string, message: string, options?: ErrorOptions) {
    super('rejected', false, code, message, options);
  }
}

export class DataError extends RatecatError {
  constructor(code: string, message: string, options?: ErrorOptions) {
    super('data', false, code, message, options);
  }
}

export class FencedError extends RatecatError {
  constructor(code: string, message: string, options?: ErrorOptions) {
    super('fenced', false, code, message, options);
  }
}

/** True for errors of this contract, whichever copy of the package made them. */
export function isRatecatError(error: unknown): error is RatecatError {
  return typeof error === 'object' && error !== null && (error as Record<symbol, unknown>)[MARK] === true;
}

/** One line for people: the message and, shortened, the messages of its causes. */
export function describeError(error: unknown): string {
  const parts: string[] = [];
  let current: unknown = error;
  for (let depth = 0; current !== undefined && current !== null && depth < 4; depth++) {
    const text = current instanceof Error || isRatecatError(current) ? current.message : String(current);
    if (!parts.some((part) => part.includes(text))) parts.push(text);
    current = (current as { cause?: unknown }).cause;
  }
  return parts.join(': ').slice(0, 2000);
}
