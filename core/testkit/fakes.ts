import type {
  Calendar,
  Clock,
  HttpFactory,
  Logger,
  Period,
  PluginContext,
  TimeUnit,
} from '../plugin-api/index.js';

export interface LogLine {
  readonly level: 'error' | 'warn' | 'info' | 'debug';
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** A logger that remembers what was said. */
export class RecordingLogger implements Logger {
  readonly lines: LogLine[] = [];

  error(message: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.lines.push({ level: 'error', message, fields });
  }

  warn(message: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.lines.push({ level: 'warn', message, fields });
  }

  info(message: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.lines.push({ level: 'info', message, fields });
  }

  debug(message: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.lines.push({ level: 'debug', message, fields });
  }
}

interface Sleeper {
  readonly wakeAt: number;
  readonly order: number;
  wake(): void;
}

/** A clock that only moves when it is told to. Sleepers wake in the order of their times. */
export class VirtualClock implements Clock {
  #monotonic = 0;
  #wallOffset: number;
  #sleepers: Sleeper[] = [];
  #order = 0;

  /** `start`: wall-clock milliseconds at the beginning. */
  constructor(start = Date.UTC(2026, 0, 1)) {
    this.#wallOffset = start;
  }

  now(): number {
    return this.#wallOffset + this.#monotonic;
  }

  monotonic(): number {
    return this.#monotonic;
  }

  /** Moves the wall clock alone, as an administrator or a time server does. */
  jumpWallClock(milliseconds: number): void {
    this.#wallOffset += milliseconds;
  }

  get sleeping(): number {
    return this.#sleepers.length;
  }

  sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    return new Promise((resolve, reject) => {
      const sleeper: Sleeper = {
        wakeAt: this.#monotonic + Math.max(0, milliseconds),
        order: this.#order++,
        wake: () => {
          signal.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      const onAbort = () => {
        this.#sleepers = this.#sleepers.filter((other) => other !== sleeper);
        reject(signal.reason);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#sleepers.push(sleeper);
    });
  }

  /** Advances to the earliest sleeper, at most to `limit` (monotonic), and wakes it. False when nobody slept till then. */
  wakeNext(limit = Number.POSITIVE_INFINITY): boolean {
    let next: Sleeper | undefined;
    for (const sleeper of this.#sleepers) {
      if (next === undefined || sleeper.wakeAt < next.wakeAt) next = sleeper;
      else if (sleeper.wakeAt === next.wakeAt && sleeper.order < next.order) next = sleeper;
    }
    if (next === undefined || next.wakeAt > limit) {
      if (limit !== Number.POSITIVE_INFINITY) this.#monotonic = Math.max(this.#monotonic, limit);
      return false;
    }
    this.#monotonic = Math.max(this.#monotonic, next.wakeAt);
    this.#sleepers = this.#sleepers.filter((other) => other !== next);
    next.wake();
    return true;
  }
}

const DAY = 86_400;

/** The calendar of UTC. */
export const utcCalendar: Calendar = {
  timeZone: 'UTC',
  slice(instant: number, unit: Exclude<TimeUnit, 'period'>): Period {
    const date = new Date(instant * 1000);
    const year = date.getUTCFullYear();
    const month = date.getUTCMonth();
    const seconds = (milliseconds: number) => milliseconds / 1000;
    if (unit === 'year') return { begin: seconds(Date.UTC(year, 0)), end: seconds(Date.UTC(year + 1, 0)) };
    if (unit === 'month')
      return { begin: seconds(Date.UTC(year, month)), end: seconds(Date.UTC(year, month + 1)) };
    const midnight = seconds(Date.UTC(year, month, date.getUTCDate()));
    if (unit === 'day') return { begin: midnight, end: midnight + DAY };
    const monday = midnight - ((date.getUTCDay() + 6) % 7) * DAY;
    return { begin: monday, end: monday + 7 * DAY };
  },
  day(instant: number): number {
    const date = new Date(instant * 1000);
    return date.getUTCFullYear() * 10_000 + (date.getUTCMonth() + 1) * 100 + date.getUTCDate();
  },
  month(instant: number): number {
    const date = new Date(instant * 1000);
    return date.getUTCFullYear() * 100 + date.getUTCMonth() + 1;
  },
};

/** Refuses every request: for plugins that must not reach out. */
export const noHttp: HttpFactory = {
  client: () => ({
    request: () => Promise.reject(new Error('this test allows no HTTP request')),
    close: () => Promise.resolve(),
  }),
};

/** A context for tests; pass what the plugin under test needs. */
export function fakeContext(overrides: Partial<PluginContext> = {}): PluginContext {
  return {
    logger: new RecordingLogger(),
    clock: new VirtualClock(),
    calendar: utcCalendar,
    http: noHttp,
    compat: 'fixed',
    dataFolder: '/nonexistent',
    configFolder: '/nonexistent',
    pipeline: { name: 'test', scopeKey: 'project_id', periodSeconds: 3600 },
    ...overrides,
  };
}
