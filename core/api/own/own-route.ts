import type { z } from 'zod';
import type { Identity } from '../auth/identity.js';
import type { ApiRequest } from '../exchange.js';

/** A JSON Schema of OpenAPI 3.0. */
export type DocumentedSchema = Readonly<Record<string, unknown>>;

/** A request whose query was checked. */
export interface OwnCall<Query> {
  readonly request: ApiRequest;
  readonly identity: Identity;
  readonly query: Query;
  /** Aborted when the caller went away, the time is over or the process stops. */
  readonly signal: AbortSignal;
  /** Lifts the time limit of the request: for answers that last. */
  keepOpen(): void;
}

/** JSON text, or the parts of a long answer. */
export type OwnAnswer = string | AsyncIterable<string>;

/** One call below `/ratecat/v1`, with what its description in the OpenAPI document is made of. */
export interface OwnRoute {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly summary: string;
  readonly description: string;
  /** Rule of the policy, asked for the caller's own project; absent: whoever may come here at all. */
  readonly rule?: string | undefined;
  readonly query: z.ZodObject;
  readonly body?: DocumentedSchema | undefined;
  readonly answer: DocumentedSchema;
  readonly answerType?: string | undefined;
  readonly answerHeaders?: Readonly<Record<string, string>> | undefined;
  handle(call: OwnCall<never>): Promise<OwnAnswer>;
}

interface TypedRoute<Query extends z.ZodObject> extends Omit<OwnRoute, 'query' | 'handle'> {
  readonly query: Query;
  handle(call: OwnCall<z.output<Query>>): Promise<OwnAnswer>;
}

/** A route whose handler gets what the schema of its query says. */
export function ownRoute<Query extends z.ZodObject>(route: TypedRoute<Query>): OwnRoute {
  return route as unknown as OwnRoute;
}
