import { setImmediate as nextTurn } from 'node:timers/promises';

/** Longest stretch of synchronous work, in milliseconds, before timers and sockets get their turn. */
const SLICE_MS = 6;
/** Items between two looks at the clock. */
const ITEMS_PER_LOOK = 64;

let lastBreath: Promise<void> = Promise.resolve();

/** Tells long synchronous work when to let the event loop run: requests, heartbeats and other scopes wait meanwhile. */
export class Slice {
  readonly #milliseconds: number;
  #end: number;

  constructor(milliseconds = SLICE_MS) {
    this.#milliseconds = milliseconds;
    this.#end = performance.now() + milliseconds;
  }

  get isOver(): boolean {
    return performance.now() >= this.#end;
  }

  /** Resolves when it is this work's turn again. Of all that wait, one goes on in each turn of the event loop. */
  async breathe(): Promise<void> {
    lastBreath = lastBreath.then(() => nextTurn());
    await lastBreath;
    this.#end = performance.now() + this.#milliseconds;
  }
}

let lastPiece: Promise<void> = Promise.resolve();

/**
 * Visits each item in order and lets the event loop run every few milliseconds. Of several long pieces of work one is finished
 * before the next goes on, so that what they were made of can be forgotten.
 * @throws the signal's reason once it is aborted.
 */
export async function eachInSlices<T>(
  items: Iterable<T>,
  visit: (item: T, index: number) => void,
  signal?: AbortSignal,
): Promise<void> {
  const slice = new Slice();
  let end: (() => void) | undefined;
  let index = 0;
  try {
    for (const item of items) {
      if (index % ITEMS_PER_LOOK === 0 && slice.isOver) {
        end ??= await nextPiece();
        await slice.breathe();
        signal?.throwIfAborted();
      }
      visit(item, index++);
    }
  } finally {
    end?.();
  }
}

/** Waits until the pieces before are finished; gives what ends this one. */
async function nextPiece(): Promise<() => void> {
  const before = lastPiece;
  let end = () => {};
  lastPiece = new Promise((resolve) => {
    end = resolve;
  });
  await before;
  return end;
}

/** As `items.map(make)`, in slices as `eachInSlices`. */
export async function mapInSlices<T, Made>(
  items: readonly T[],
  make: (item: T, index: number) => Made,
  signal?: AbortSignal,
): Promise<Made[]> {
  const made: Made[] = [];
  await eachInSlices(items, (item, index) => made.push(make(item, index)), signal);
  return made;
}
