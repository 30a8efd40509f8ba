import { type Clock, describeError, type Logger, UnavailableError } from '../../../core/plugin-api/index.js';
import type { Journal } from './journal.js';
import type { MachineReader } from './machine-reader.js';
import { toIso } from './readings.js';

/** A clock set back by less than this is waited for; by more, the readings of the future are forgotten. */
const PATIENCE_MS = 10 * 60_000;
const TIDY_EVERY_MS = 10 * 60_000;
const DAY_MS = 86_400_000;

export interface SamplerOptions {
  readonly intervalMs: number;
  readonly keepDays: number;
}

/** Writes a reading into the journal every few seconds, on whole multiples of the interval. */
export class Sampler {
  readonly #reader: MachineReader;
  readonly #journal: Journal;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #options: SamplerOptions;
  #newest = 0;
  #tidied = Number.NEGATIVE_INFINITY;
  #complaint = '';
  #sampling: Promise<void> | undefined;
  #loop: { readonly stop: AbortController; readonly ended: Promise<void> } | undefined;

  constructor(
    reader: MachineReader,
    journal: Journal,
    clock: Clock,
    logger: Logger,
    options: SamplerOptions,
  ) {
    this.#reader = reader;
    this.#journal = journal;
    this.#clock = clock;
    this.#logger = logger;
    this.#options = options;
  }

  /** Takes the first reading and goes on in the background. */
  async start(): Promise<void> {
    this.#newest = (await this.#journal.newest())?.at ?? 0;
    await this.sample();
    const stop = new AbortController();
    this.#loop = { stop, ended: this.#run(stop.signal) };
  }

  /** Ends with one more reading, so that as little as possible goes unwatched. */
  async stop(): Promise<void> {
    const loop = this.#loop;
    if (loop === undefined) return;
    this.#loop = undefined;
    loop.stop.abort();
    await loop.ended;
    await this.#sampleQuietly();
  }

  /** One reading now; calls at the same time share one. */
  sample(): Promise<void> {
    this.#sampling ??= this.#sample().finally(() => {
      this.#sampling = undefined;
    });
    return this.#sampling;
  }

  async #sample(): Promise<void> {
    try {
      const reading = await this.#reader.read();
      if (reading.at <= this.#newest && !(await this.#acceptEarlier(reading.at))) return;
      await this.#journal.append(reading);
      this.#newest = reading.at;
      this.#complaint = '';
    } catch (error) {
      throw new UnavailableError('RATECAT_HOST_UNREADABLE', describeFailure(error), { cause: error });
    }
  }

  /** The clock was set back. Two readings of one moment would count its usage twice. */
  async #acceptEarlier(at: number): Promise<boolean> {
    const back = this.#newest - at;
    if (back === 0) return false;
    if (back < PATIENCE_MS) {
      this.#complain('the clock went back; usage until it has caught up is counted afterwards', { back });
      return false;
    }
    this.#complain('the clock went back; readings of the time that it took back are forgotten', { back });
    await this.#journal.forgetFrom(at);
    return true;
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { intervalMs } = this.#options;
    while (!signal.aborted) {
      try {
        await this.#clock.sleep(intervalMs - (this.#clock.now() % intervalMs), signal);
      } catch (error) {
        if (signal.aborted) return;
        throw error;
      }
      await this.#sampleQuietly();
      await this.#tidyQuietly();
    }
  }

  async #sampleQuietly(): Promise<void> {
    try {
      await this.sample();
    } catch (error) {
      this.#complain('this machine could not be read; trying again', { reason: describeError(error) });
    }
  }

  async #tidyQuietly(): Promise<void> {
    const monotonic = this.#clock.monotonic();
    if (monotonic - this.#tidied < TIDY_EVERY_MS) return;
    this.#tidied = monotonic;
    try {
      const now = this.#clock.now();
      await this.#journal.tidy(now, now - this.#options.keepDays * DAY_MS);
    } catch (error) {
      this.#complain('old readings could not be tidied; trying again', { reason: describeError(error) });
    }
  }

  /** The same complaint every few seconds helps nobody. */
  #complain(message: string, fields: { readonly back?: number; readonly reason?: string }): void {
    const text = `${message} ${fields.reason ?? ''}`;
    if (text === this.#complaint) return;
    this.#complaint = text;
    const { back, reason } = fields;
    if (reason !== undefined) this.#logger.warn(message, { reason });
    else this.#logger.warn(message, { seconds: Math.round((back ?? 0) / 1000), newest: toIso(this.#newest) });
  }
}

function describeFailure(error: unknown): string {
  return `A reading of this machine could not be taken or kept: ${describeError(error)}. The data folder must be writable and have room, /proc must be readable.`;
}
