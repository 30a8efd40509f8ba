import { userInfo } from 'node:os';

/** Who is recorded as author of a change: the user of the operating system. */
export function author(): string {
  try {
    return userInfo().username;
  } catch {
    // A user id without a name, as containers have.
    return String(process.getuid?.() ?? 'unknown');
  }
}
