import { z } from 'zod';
import {
  Attributes,
  type AttributeValue,
  Decimal,
  isDecimal,
  isRatecatError,
  STORED_PLACES,
} from '../../plugin-api/index.js';
import { type QuotedResource, Quotes } from '../../rating/quotes.js';
import type { JsonInput } from '../exact-body.js';
import { quotient } from '../quotient.js';
import type { ApiServices, SourceFacts } from '../services.js';
import { Fault } from '../v2/faults.js';
import { membersOf, readJson } from '../v2/json-body.js';
import { QUOTE_ANSWER } from './answer-schemas.js';
import { codeOfStatus, invalid, OwnFault } from './own-fault.js';
import { type DocumentedSchema, type OwnAnswer, type OwnCall, type OwnRoute, ownRoute } from './own-route.js';

const MOST_RESOURCES = 100;
const HOUR = 3_600;
const THIRTY_DAYS = 2_592_000;

const QUERY = z.strictObject({
  source: z
    .string()
    .max(255)
    .optional()
    .describe('The pipeline whose periods count. Default: the first one of the configuration.'),
});

const RESOURCE: DocumentedSchema = {
  type: 'object',
  required: ['metric'],
  additionalProperties: false,
  properties: {
    metric: { type: 'string', description: 'Name in rules and reports: alt_name, where there is one.' },
    quantity: {
      description: 'Quantity of one period, as a number or a text. Default 1.',
      oneOf: [{ type: 'number' }, { type: 'string' }],
    },
    groupby: { type: 'object', additionalProperties: true },
    metadata: { type: 'object', additionalProperties: true },
  },
};

const BODY: DocumentedSchema = {
  oneOf: [
    RESOURCE,
    {
      type: 'object',
      required: ['resources'],
      additionalProperties: false,
      properties: {
        resources: { type: 'array', minItems: 1, maxItems: MOST_RESOURCES, items: RESOURCE },
      },
    },
  ],
};

/** `POST /quote`: what resources would cost by the rules in force now, as long as they are used as described. */
export class QuoteCall {
  readonly #services: ApiServices;
  readonly #quotes: ReadonlyMap<string, Quotes>;

  constructor(services: ApiServices) {
    this.#services = services;
    const { rules, clock, sources } = services;
    this.#quotes = new Map(
      sources.map(({ name, periodSeconds }) => [name, new Quotes(rules, clock, periodSeconds)]),
    );
  }

  get routes(): readonly OwnRoute[] {
    return [
      ownRoute({
        method: 'POST',
        path: '/quote',
        summary: 'What resources would cost',
        description:
          'Prices of one resource or several by the rules in force now that hold for everybody: for one period, per hour and ' +
          'per 30 days, as long as every period has the quantity that is given.',
        rule: 'rating:quote',
        query: QUERY,
        body: BODY,
        answer: QUOTE_ANSWER,
        handle: (call) => this.#quote(call),
      }),
    ];
  }

  async #quote({ query, request, signal }: OwnCall<z.output<typeof QUERY>>): Promise<OwnAnswer> {
    const source = this.#source(query.source);
    const resources = resourcesOf(bodyOf(() => readJson(request)));
    const { total, resources: priced } = await this.#priced(source, resources, signal);
    return JSON.stringify({
      source: source.name,
      period_seconds: source.periodSeconds,
      resources: resources.map(({ metric, quantity }, place) => ({
        metric,
        quantity: quantity.toString(),
        ...prices(priced[place]!.price, source),
      })),
      total: prices(total, source),
    });
  }

  async #priced(source: SourceFacts, resources: readonly QuotedResource[], signal: AbortSignal) {
    try {
      return await this.#quotes.get(source.name)!.quote(resources, signal);
    } catch (error) {
      // What is described, or the rules, cannot be priced: not something that went wrong here.
      if (isRatecatError(error) && error.kind === 'data') throw new OwnFault(422, error.code, error.message);
      throw error;
    }
  }

  /** @throws OwnFault 400 */
  #source(name: string | undefined): SourceFacts {
    const { sources } = this.#services;
    const found = name === undefined ? sources[0] : sources.find((source) => source.name === name);
    if (found !== undefined) return found;
    throw invalid(`Parameter 'source': there is no pipeline of that name.`);
  }
}

function prices(price: Decimal, { periodSeconds }: SourceFacts) {
  return {
    price: price.toString(),
    per_hour: priceOf(price, HOUR, periodSeconds).toString(),
    per_30_days: priceOf(price, THIRTY_DAYS, periodSeconds).toString(),
  };
}

/** The price of a time, at 28 places where it does not come out even. */
export function priceOf(price: Decimal, seconds: number, periodSeconds: number): Decimal {
  return quotient(price.times(Decimal.fromInteger(seconds)), periodSeconds);
}

/** @throws OwnFault */
function bodyOf(read: () => JsonInput): JsonInput {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    const message =
      error.status === 415
        ? 'Send JSON, with the header Content-Type: application/json.'
        : 'The body is not JSON in UTF-8, names a key twice, or is nested too deep.';
    throw new OwnFault(error.status, codeOfStatus(error.status), message);
  }
}

/** @throws OwnFault 400 */
function resourcesOf(body: JsonInput): readonly QuotedResource[] {
  const members = membersOf(body);
  if (members === undefined) throw invalid('The body must be a JSON object.');
  if (!members.has('resources')) return [resourceOf(members, 'The body')];
  const list = members.get('resources');
  if (members.size > 1) throw invalid("Beside 'resources' there must be nothing.");
  if (!Array.isArray(list) || list.length === 0 || list.length > MOST_RESOURCES)
    throw invalid(`'resources' must be a list of 1 to ${MOST_RESOURCES} resources.`);
  return (list as readonly JsonInput[]).map((item, place) => {
    const resource = membersOf(item);
    if (resource === undefined) throw invalid(`resources[${place}] must be an object.`);
    return resourceOf(resource, `resources[${place}]`);
  });
}

const MEMBERS = ['metric', 'quantity', 'groupby', 'metadata'];

function resourceOf(members: ReadonlyMap<string, JsonInput>, place: string): QuotedResource {
  const stranger = [...members.keys()].find((name) => !MEMBERS.includes(name));
  if (stranger !== undefined)
    throw invalid(
      `${place}: there is no member '${stranger.slice(0, 80)}'. There are: ${MEMBERS.join(', ')}.`,
    );
  const metric = members.get('metric');
  if (typeof metric !== 'string' || metric === '' || metric.length > 255)
    throw invalid(`${place}: 'metric' must be the name of a metric.`);
  return {
    metric,
    quantity: quantityOf(members.get('quantity'), place),
    groupby: attributesOf(members.get('groupby'), `${place}: 'groupby'`),
    metadata: attributesOf(members.get('metadata'), `${place}: 'metadata'`),
  };
}

function quantityOf(value: JsonInput | undefined, place: string): Decimal {
  if (value === undefined) return Decimal.ONE;
  const number = typeof value === 'string' ? Decimal.tryParse(value) : value;
  // Longer numbers than a storage keeps would only take time.
  if (isDecimal(number) && number.exponent >= -STORED_PLACES && number.exponent <= 30 && isShort(number))
    return number;
  throw invalid(
    `${place}: 'quantity' must be a number with at most 30 digits before and ${STORED_PLACES} behind the point.`,
  );
}

function isShort({ coefficient, exponent }: Decimal): boolean {
  const magnitude = coefficient < 0n ? -coefficient : coefficient;
  return magnitude * 10n ** BigInt(exponent + STORED_PLACES) < 10n ** 58n;
}

function attributesOf(value: JsonInput | undefined, place: string): Attributes {
  if (value === undefined) return Attributes.EMPTY;
  const members = membersOf(value);
  if (members === undefined) throw invalid(`${place} must be an object.`);
  return Attributes.of([...members.keys()], [...members.values()] as readonly AttributeValue[]);
}
