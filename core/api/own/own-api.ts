import { Readable } from 'node:stream';
import swagger from '@fastify/swagger';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { describeError, isRatecatError } from '../../plugin-api/index.js';
import { AuthenticationRefused } from '../auth/authenticator.js';
import { JSON_TYPE } from '../exchange.js';
import { isRangeRefusal } from '../range-refusals.js';
import { type OwnApi, toApiRequest } from '../server.js';
import type { ApiServices } from '../services.js';
import { Explanations } from './explanations.js';
import { codeOfStatus, faultBody, forbidden, OwnFault } from './own-fault.js';
import type { DocumentedSchema, OwnAnswer, OwnRoute } from './own-route.js';
import { Prices } from './prices.js';
import { Progress } from './progress.js';
import { documented, QueryReader } from './query.js';
import { QuoteCall } from './quote.js';
import { Reports } from './reports.js';
import { type LagOf, ScopeList } from './scope-states.js';

export interface OwnOptions {
  /** Opens the price list and quotes to callers without a token. */
  readonly anonymousQuotes: boolean;
  /** Of the program, for the OpenAPI document. */
  readonly version: string;
  readonly lagOf: LagOf;
}

const PREFIX = '/ratecat/v1';
const DOCUMENT = '/openapi.json';
/** What everybody may call when the configuration says so. */
const ANONYMOUS = ['/prices', '/quote'];

const FAULT: DocumentedSchema = {
  type: 'object',
  required: ['error'],
  properties: {
    error: {
      type: 'object',
      required: ['code', 'message', 'request_id'],
      properties: {
        code: { type: 'string', description: 'Stable; see docs/errors.md.' },
        message: { type: 'string' },
        request_id: { type: 'string', description: 'Stands in the log too.' },
      },
    },
  },
};

/**
 * What is ours alone, below `/ratecat/v1`: never part of the paths of the reference. Decimals are texts with every digit, and
 * the OpenAPI document is made from the same schemas that the queries are checked with.
 */
export class OwnRoutes implements OwnApi {
  readonly publicPaths: readonly string[];
  readonly #services: ApiServices;
  readonly #version: string;
  readonly #routes: readonly OwnRoute[];

  constructor(services: ApiServices, { anonymousQuotes, version, lagOf }: OwnOptions) {
    this.#services = services;
    this.#version = version;
    this.publicPaths = [DOCUMENT, ...(anonymousQuotes ? ANONYMOUS : [])].map((path) => `${PREFIX}${path}`);
    this.#routes = [
      ...new ScopeList(services, lagOf).routes,
      ...new Progress(services, lagOf).routes,
      ...new Reports(services).routes,
      ...new Explanations(services).routes,
      ...new Prices(services).routes,
      ...new QuoteCall(services).routes,
    ];
  }

  async register(app: FastifyInstance): Promise<void> {
    // Queries and bodies are checked by the handlers, and answers are texts already.
    app.setValidatorCompiler(() => () => true);
    app.setSerializerCompiler(() => (value) => JSON.stringify(value));
    app.setErrorHandler((error, request, reply) => this.#failed(error, request, reply));
    app.setNotFoundHandler((request, reply) => this.#notFound(request, reply));
    await app.register(swagger, { openapi: documentHead(this.#version) });
    for (const route of this.#routes) this.#add(app, route);
    this.#addDocument(app);
  }

  #add(app: FastifyInstance, route: OwnRoute): void {
    const reader = new QueryReader(route.query);
    const type = route.answerType ?? `${JSON_TYPE}; charset=utf-8`;
    app.route({
      method: route.method,
      url: route.path,
      schema: this.#schema(route, type),
      handler: async (request, reply) => {
        const answer = await this.#handle(route, reader, request);
        reply.headers({ 'content-type': type, ...route.answerHeaders });
        return reply.send(payload(answer));
      },
    });
  }

  async #handle(
    route: OwnRoute,
    reader: QueryReader<OwnRoute['query']>,
    request: FastifyRequest,
  ): Promise<OwnAnswer> {
    const { identity, timer, abort } = request.facts;
    if (route.rule !== undefined && !identity.isAnonymous) {
      const target = { project_id: identity.projectId ?? null };
      if (!this.#services.policy.allows(route.rule, identity, target)) throw forbidden();
    }
    const asked = toApiRequest(request);
    const query = reader.read(asked.query) as never;
    return route.handle({
      request: asked,
      identity,
      query,
      signal: abort.signal,
      keepOpen: () => clearTimeout(timer),
    });
  }

  #schema({ path, summary, description, query, body, answer }: OwnRoute, answerType: string) {
    return {
      summary,
      description,
      ...(this.publicPaths.includes(`${PREFIX}${path}`) ? { security: [] } : {}),
      ...(Object.keys(query.shape).length === 0 ? {} : { querystring: documented(query) }),
      ...(body === undefined ? {} : { body }),
      response: {
        200: { description: 'The answer.', content: { [answerType]: { schema: answer } } },
        default: { description: 'An error.', content: { [JSON_TYPE]: { schema: FAULT } } },
      },
    };
  }

  #addDocument(app: FastifyInstance): void {
    let text: string | undefined;
    const schema = {
      summary: 'This document',
      security: [],
      response: { 200: { description: 'OpenAPI 3.0.', type: 'object', additionalProperties: true } },
    };
    app.get(DOCUMENT, { schema }, async (_request, reply) => {
      text ??= JSON.stringify(app.swagger());
      return reply.header('content-type', JSON_TYPE).send(Buffer.from(text));
    });
  }

  #notFound(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const path = request.raw.url!.split('?')[0]!.slice(PREFIX.length);
    const methods = this.#routes.filter((route) => route.path === path).map(({ method }) => method);
    if (path === DOCUMENT) methods.push('GET');
    if (methods.length === 0) {
      const known = [...this.#routes.map((route) => route.path), DOCUMENT].join(', ');
      const message = `There is nothing here. Below ${PREFIX} there are ${known}.`;
      return this.#refuse(new OwnFault(404, codeOfStatus(404), message), request, reply);
    }
    const allow = methods.join(', ');
    return this.#refuse(
      new OwnFault(405, codeOfStatus(405), `Use ${allow} here, not ${request.method}.`, { allow }),
      request,
      reply,
    );
  }

  #failed(error: unknown, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const fault = faultOf(error, request);
    if (fault.status >= 500 && !(error instanceof OwnFault)) {
      this.#services.logger.error('request failed', {
        request: request.facts.id,
        method: request.method,
        path: request.routeOptions.url ?? PREFIX,
        reason: describeError(error),
        ...(isRatecatError(error) ? { code: error.code } : { stack: (error as Error | undefined)?.stack }),
      });
    }
    return this.#refuse(fault, request, reply);
  }

  /** A preflight always succeeds: browsers ask without a token whether they may ask with one. */
  async #refuse(
    { status, code, message, headers }: OwnFault,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<FastifyReply> {
    if (request.method === 'OPTIONS') return reply.code(200).send();
    reply.code(status).headers({ 'content-type': `${JSON_TYPE}; charset=utf-8`, ...headers });
    return reply.send(Buffer.from(faultBody(code, message, request.facts.id)));
  }
}

function payload(answer: OwnAnswer): Buffer | Readable {
  if (typeof answer === 'string') return Buffer.from(answer);
  return answer instanceof Readable ? answer : Readable.from(answer);
}

/** What the caller is told; internals stay in the log. */
function faultOf(error: unknown, { facts }: FastifyRequest): OwnFault {
  if (error instanceof OwnFault) return error;
  if (error instanceof AuthenticationRefused)
    return new OwnFault(401, codeOfStatus(401), error.message, { 'www-authenticate': error.challenge });
  if (isRatecatError(error) && error.kind === 'unavailable')
    return new OwnFault(503, error.code, error.message);
  if (isRangeRefusal(error)) return new OwnFault(400, error.code, error.message);
  const status = (error as { statusCode?: unknown } | undefined)?.statusCode;
  if (typeof status === 'number' && status >= 400 && status < 500)
    return new OwnFault(status, codeOfStatus(status), describeError(error));
  if (facts.abort.signal.aborted)
    return new OwnFault(
      503,
      'RATECAT_REQUEST_ABORTED',
      `The request was not finished: ${describeError(facts.abort.signal.reason)}.`,
    );
  return new OwnFault(500, codeOfStatus(500), 'The server met an error; its log says which.');
}

function documentHead(version: string) {
  return {
    openapi: '3.0.3',
    info: {
      title: 'Ratecat',
      description: "Ratecat's own API, beside those of CloudKitty below /v1 and /v2.",
      version: version === '' ? '0' : version,
      license: { name: 'Apache-2.0' },
    },
    components: {
      securitySchemes: { token: { type: 'apiKey' as const, in: 'header' as const, name: 'X-Auth-Token' } },
    },
    security: [{ token: [] }],
  };
}
