import { isIP } from 'node:net';
import { LRUCache } from 'lru-cache';
import type { Clock, Logger } from '../../plugin-api/index.js';
import { TooManyRequests } from '../too-many-requests.js';

export interface RefusalLimitParts {
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Callers that are remembered at a time. */
const MOST_CALLERS = 20_000;
const MINUTE_MS = 60_000;

interface Caller {
  refused: number;
  /** Monotonic milliseconds at which counting begins anew. */
  until: number;
  underWay: number;
  readonly waiting: Set<() => void>;
}

/**
 * How many tokens of one client address may turn out to be invalid in a minute, so that made-up ones do not keep Keystone busy.
 * Nobody can tell them from good ones that were never seen: what is under way counts as though it were refused, and waits
 * for its turn where that would be too much.
 */
export class RefusalLimit {
  readonly #perMinute: number;
  readonly #parts: RefusalLimitParts;
  readonly #callers = new LRUCache<string, Caller>({ max: MOST_CALLERS });

  /** 0: no limit. */
  constructor(perMinute: number, parts: RefusalLimitParts) {
    this.#perMinute = perMinute;
    this.#parts = parts;
  }

  /**
   * The answer to a question about a token; undefined is a refusal.
   * @throws TooManyRequests when too many were refused.
   */
  async guard<T>(
    address: string,
    question: () => Promise<T | undefined>,
    signal: AbortSignal,
  ): Promise<T | undefined> {
    if (this.#perMinute === 0) return question();
    const caller = this.#caller(networkOf(address));
    while (caller.underWay >= this.#left(caller)) await turnOf(caller, signal);
    caller.underWay++;
    try {
      const answer = await question();
      if (answer === undefined) this.#count(caller, address);
      return answer;
    } finally {
      caller.underWay--;
      for (const wake of caller.waiting) wake();
    }
  }

  #caller(network: string): Caller {
    const known = this.#callers.get(network);
    if (known !== undefined) return known;
    const caller: Caller = { refused: 0, until: 0, underWay: 0, waiting: new Set() };
    this.#callers.set(network, caller);
    return caller;
  }

  /** How many may still be refused in this minute. @throws TooManyRequests when that is none. */
  #left(caller: Caller): number {
    const rest = caller.until - this.#parts.clock.monotonic();
    if (rest <= 0) caller.refused = 0;
    if (caller.refused < this.#perMinute) return this.#perMinute - caller.refused;
    throw new TooManyRequests(
      `More than ${this.#perMinute} tokens from this address were refused in a minute.`,
      rest / 1000,
    );
  }

  #count(caller: Caller, address: string): void {
    const now = this.#parts.clock.monotonic();
    if (caller.until <= now) {
      caller.refused = 0;
      caller.until = now + MINUTE_MS;
    }
    caller.refused++;
    if (caller.refused === this.#perMinute)
      this.#parts.logger.warn('too many refused tokens', { address, refused: caller.refused });
  }
}

/** Who has one IPv6 address has the 2^64 of its network. */
function networkOf(address: string): string {
  if (isIP(address) !== 6) return address;
  const [head = '', tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::');
  const [first, last] = [head, tail ?? ''].map((groups) => (groups === '' ? [] : groups.split(':')));
  const zeros = Array.from({ length: Math.max(0, 8 - first!.length - last!.length) }, () => '0');
  return [...first!, ...zeros, ...last!].slice(0, 4).join(':');
}

/** Until another question is answered. @throws the signal's reason when it is aborted. */
async function turnOf({ waiting }: Caller, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  let wake = () => {};
  try {
    await new Promise<void>((resolve) => {
      wake = resolve;
      waiting.add(wake);
      signal.addEventListener('abort', wake, { once: true });
    });
  } finally {
    waiting.delete(wake);
    signal.removeEventListener('abort', wake);
  }
  signal.throwIfAborted();
}
