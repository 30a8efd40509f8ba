import { setMaxListeners } from 'node:events';

/**
 * Callers that need the same answer at the same time share one call. A caller that is aborted leaves at once; the call
 * itself is aborted when nobody waits for it any more.
 */
export class SharedCalls<T> {
  readonly #running = new Map<string, Running<T>>();

  run(key: string, call: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    if (signal.aborted) return Promise.reject(signal.reason);
    // All metrics of a period wait with one signal; more than ten listeners are no leak here.
    setMaxListeners(0, signal);
    const running = this.#running.get(key) ?? this.#begin(key, call);
    running.waiting++;
    return new Promise<T>((resolve, reject) => {
      const onAbort = () => {
        this.#leave(key, running, signal.reason);
        reject(signal.reason);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      running.answer
        .then(resolve, reject)
        .finally(() => signal.removeEventListener('abort', onAbort))
        .catch(() => undefined);
    });
  }

  #begin(key: string, call: (signal: AbortSignal) => Promise<T>): Running<T> {
    const controller = new AbortController();
    const running: Running<T> = { controller, answer: call(controller.signal), waiting: 0 };
    this.#running.set(key, running);
    const forget = () => {
      if (this.#running.get(key) === running) this.#running.delete(key);
    };
    running.answer.then(forget, forget);
    return running;
  }

  #leave(key: string, running: Running<T>, reason: unknown): void {
    if (--running.waiting > 0) return;
    if (this.#running.get(key) === running) this.#running.delete(key);
    running.controller.abort(reason);
  }
}

interface Running<T> {
  readonly controller: AbortController;
  readonly answer: Promise<T>;
  waiting: number;
}
