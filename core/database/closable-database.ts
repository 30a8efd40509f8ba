import type { SqlDatabase } from '../plugin-api/index.js';

export interface ClosableDatabase extends SqlDatabase {
  /** Waits for the running transactions and closes every connection. A second call does nothing. */
  close(): Promise<void>;
}
