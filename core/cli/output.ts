import { once } from 'node:events';
import { UnavailableError } from '../plugin-api/index.js';

/** The reader of our output has gone (`ratecat dataframes | head`): the end of the work, not a failure. */
export class ReaderGone extends Error {
  constructor() {
    super('the reader of the output has gone');
  }
}

/** A stream for results: waits for slow readers and notices readers that left. */
export class Output {
  readonly #stream: NodeJS.WritableStream;
  #failure: NodeJS.ErrnoException | undefined;

  constructor(stream: NodeJS.WritableStream) {
    this.#stream = stream;
    stream.on('error', (error) => {
      this.#failure = error;
    });
  }

  /** True when the reader left, however it was noticed. */
  get isReaderGone(): boolean {
    return this.#failure?.code === 'EPIPE';
  }

  /**
   * @throws ReaderGone
   * @throws UnavailableError RATECAT_OUTPUT_FAILED, for instance when the disk behind a redirection is full.
   */
  async write(text: string): Promise<void> {
    this.#check();
    if (this.#stream.write(text)) return;
    try {
      await once(this.#stream, 'drain');
    } catch (error) {
      this.#failure = error as NodeJS.ErrnoException;
    }
    this.#check();
  }

  line(text: string): Promise<void> {
    return this.write(`${text}\n`);
  }

  /** Waits until everything is written. @throws as `write` does. */
  async flush(): Promise<void> {
    this.#check();
    await new Promise<void>((resolve) => {
      this.#stream.write('', () => resolve());
    });
    this.#check();
  }

  #check(): void {
    if (this.#failure === undefined) return;
    if (this.isReaderGone) throw new ReaderGone();
    throw new UnavailableError(
      'RATECAT_OUTPUT_FAILED',
      `The output cannot be written (${this.#failure.code ?? this.#failure.message}). Check where it is redirected to.`,
      { cause: this.#failure },
    );
  }
}
