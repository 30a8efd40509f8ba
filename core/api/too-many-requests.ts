/** A caller has to wait: 429. */
export class TooManyRequests extends Error {
  readonly statusCode = 429;
  readonly retryAfterSeconds: number;

  constructor(why: string, seconds: number) {
    const retryAfterSeconds = Math.max(1, Math.ceil(seconds));
    super(`${why} Wait ${retryAfterSeconds} s.`);
    this.name = 'TooManyRequests';
    this.retryAfterSeconds = retryAfterSeconds;
  }
}
