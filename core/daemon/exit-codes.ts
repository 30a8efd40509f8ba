import { type ErrorKind, isRatecatError } from '../plugin-api/index.js';

/** Exit codes after sysexits.h; a command's own "no" is 1. */
export const EXIT = {
  ok: 0,
  no: 1,
  usage: 64,
  data: 65,
  unavailable: 69,
  internal: 70,
  temporary: 75,
  rejected: 77,
  config: 78,
} as const;

const BY_KIND: Readonly<Record<ErrorKind, number>> = {
  config: EXIT.config,
  plugin: EXIT.config,
  unavailable: EXIT.unavailable,
  rejected: EXIT.rejected,
  data: EXIT.data,
  fenced: EXIT.temporary,
};

/** The exit code that tells a service manager who must act. */
export function exitCodeOf(error: unknown): number {
  return isRatecatError(error) ? BY_KIND[error.kind] : EXIT.internal;
}
