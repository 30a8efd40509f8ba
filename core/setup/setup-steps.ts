import { visibleText } from '../config/human-text.js';

export interface Step<T> {
  /** `role 'rating'` */
  readonly what: string;
  /** `changed` when something was there and is replaced. */
  readonly outcome: 'done' | 'changed';
  /** What an administrator would type instead; lines of a script. */
  readonly script: readonly string[];
  apply(): Promise<T>;
}

export interface StepsOptions {
  /** Prints the script of each step and applies none. */
  readonly isDryRun: boolean;
  /** What begins a comment in the scripts: `#` or `--`. */
  readonly comment: string;
  print(line: string): Promise<void>;
}

const WIDTH = 'already there  '.length;

/** Applies the steps of a set-up one by one and says what became of each. */
export class Steps {
  readonly #options: StepsOptions;

  constructor(options: StepsOptions) {
    this.#options = options;
  }

  get isDryRun(): boolean {
    return this.#options.isDryRun;
  }

  async already(what: string): Promise<void> {
    const { isDryRun, comment } = this.#options;
    await this.#print(isDryRun ? `${comment} already there: ${what}` : line('already there', what));
  }

  /** Gives what `apply` gave, or undefined in a dry run. */
  async perform<T>({ what, outcome, script, apply }: Step<T>): Promise<T | undefined> {
    if (this.#options.isDryRun) {
      for (const text of script) await this.#options.print(text);
      return undefined;
    }
    const result = await apply();
    await this.#print(line(outcome, what));
    return result;
  }

  #print(text: string): Promise<void> {
    // Names from outside cannot steer the terminal, nor end a comment.
    return this.#options.print(visibleText(text));
  }
}

function line(outcome: string, what: string): string {
  return `${outcome.padEnd(WIDTH)}${what}`;
}
