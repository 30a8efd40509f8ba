import { createLogger, format, transports, type Logger as WinstonLogger } from 'winston';
import type { Logger } from '../plugin-api/index.js';

export interface LogOptions {
  readonly level: 'error' | 'warn' | 'info' | 'debug';
  readonly format: 'text' | 'json';
}

/** Where lines go, and which are not worth one at the moment. */
export interface LogDestination {
  readonly stream: NodeJS.WritableStream;
  hides?(message: string): boolean;
}

const SECRET_NAME = /pass(word|wd)?|secret|token|authorization|credential/i;
const URL_PASSWORD = /([a-z][a-z0-9+.-]*:\/\/[^\s:/@]*:)[^\s@/]+(@)/gi;
const CONTROL = /[\p{Cc}\u2028\u2029]/gu;

/** Replaces values of secret-looking fields and passwords inside URLs. */
export function redact(value: unknown, name = '', depth = 0): unknown {
  if (SECRET_NAME.test(name) && value !== undefined && value !== null) return '***';
  if (typeof value === 'string') return value.replace(URL_PASSWORD, '$1***$2');
  if (depth > 6 || typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((item) => redact(item, '', depth + 1));
  if (Object.getPrototypeOf(value) !== Object.prototype) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, redact(item, key, depth + 1)]));
}

const redacting = format((info) => {
  for (const [name, value] of Object.entries(info)) {
    if (name !== 'level' && name !== 'timestamp') info[name] = redact(value, name);
  }
  return info;
});

/** One line per fact; line breaks and terminal controls in values cannot forge another line. */
const asText = format.printf(({ timestamp, level, message, ...fields }) => {
  const details = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => ` ${name}=${fieldText(value)}`)
    .join('');
  return `${String(timestamp)} ${level.toUpperCase().padEnd(5)} ${oneLine(String(message))}${details}`;
});

function fieldText(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value));
  return /^[^\s"=]+$/.test(text) ? oneLine(text) : JSON.stringify(text).replace(CONTROL, escapeControl);
}

function oneLine(text: string): string {
  return text.replace(CONTROL, escapeControl);
}

function escapeControl(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/** A logger whose level can change while it runs. Lines go to stderr, so that stdout belongs to results. */
export class DaemonLogger implements Logger {
  readonly #winston: WinstonLogger;

  private constructor(winston: WinstonLogger) {
    this.#winston = winston;
  }

  static create(options: LogOptions, destination: LogDestination = { stream: process.stderr }): DaemonLogger {
    const shape = options.format === 'json' ? format.json() : asText;
    const shown = format((info) => (destination.hides?.(String(info.message)) ? false : info));
    return new DaemonLogger(
      createLogger({
        level: options.level,
        format: format.combine(shown(), format.timestamp(), redacting(), shape),
        transports: [new transports.Stream({ stream: destination.stream })],
      }),
    );
  }

  /** A logger whose lines carry these fields. */
  child(fields: Readonly<Record<string, unknown>>): DaemonLogger {
    return new DaemonLogger(this.#winston.child(fields));
  }

  setLevel(level: LogOptions['level']): void {
    this.#winston.level = level;
  }

  error(message: string, fields?: Readonly<Record<string, unknown>>): void {
    this.#winston.error(message, { ...fields });
  }

  warn(message: string, fields?: Readonly<Record<string, unknown>>): void {
    this.#winston.warn(message, { ...fields });
  }

  info(message: string, fields?: Readonly<Record<string, unknown>>): void {
    this.#winston.info(message, { ...fields });
  }

  debug(message: string, fields?: Readonly<Record<string, unknown>>): void {
    // Otherwise winston would build the line first and only then find that nobody wants it.
    if (this.#winston.isLevelEnabled('debug')) this.#winston.debug(message, { ...fields });
  }
}
