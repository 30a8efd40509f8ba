/** An answer that is no success, in the words of the real servers. */
export class Refusal extends Error {
  readonly status: number;
  readonly type: string;

  constructor(status: number, type: string, reason: string) {
    super(reason);
    this.status = status;
    this.type = type;
  }

  body(): Record<string, unknown> {
    const error = { type: this.type, reason: this.message };
    return { error: { root_cause: [error], ...error }, status: this.status };
  }
}

export function badRequest(reason: string, type = 'illegal_argument_exception'): Refusal {
  return new Refusal(400, type, reason);
}
