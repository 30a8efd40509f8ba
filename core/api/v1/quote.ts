import {
  Attributes,
  type AttributeValue,
  Decimal,
  isDecimal,
  isRatecatError,
  SIGNIFICANT_DIGITS,
  STORED_PLACES,
} from '../../plugin-api/index.js';
import { type QuotedResource, Quotes } from '../../rating/quotes.js';
import { isJsonObject, isModest, type JsonInput } from '../exact-body.js';
import type { ApiResponse } from '../exchange.js';
import type { ApiServices } from '../services.js';
import type { V1Call } from './call.js';
import { badRequest, jsonAnswer } from './faults.js';
import { authorize, type V1Method } from './method.js';
import { Model } from './model.js';
import { invalidInput, mandatoryMissing, wrongType } from './python-repr.js';

const REQUEST = { argument: 'res_data', attributes: ['resources'] };
const RESOURCE = { argument: 'res_data.resources', attributes: ['service', 'desc', 'volume'] };

/** `/v1/rating/quote`: what something would cost. */
export class QuoteMethod {
  readonly #services: ApiServices;
  readonly #quotes: Quotes;

  constructor(services: ApiServices) {
    this.#services = services;
    this.#quotes = new Quotes(services.rules, services.clock, services.sources[0]?.periodSeconds);
  }

  get methods(): readonly V1Method[] {
    return [{ method: 'POST', path: '/rating/quote', model: REQUEST, handle: (call) => this.#quote(call) }];
  }

  async #quote(call: V1Call): Promise<ApiResponse> {
    const resources = this.#resources(call.model.get('resources') ?? null);
    authorize(this.#services, 'rating:quote', call.identity);
    try {
      const { total } = await this.#quotes.quote(resources, call.signal);
      return jsonAnswer(quoteText(total));
    } catch (error) {
      if (isRatecatError(error) && error.kind === 'data') throw badRequest(error.message);
      throw error;
    }
  }

  #resources(value: JsonInput): readonly QuotedResource[] {
    if (value === null) throw mandatoryMissing('resources');
    if (!Array.isArray(value)) throw wrongType('resources', value, 'list');
    return value.map((item: JsonInput) => this.#resource(new Model(item, RESOURCE)));
  }

  #resource(model: Model): QuotedResource {
    return {
      metric: model.requiredText('service'),
      quantity: this.#volume(model.get('volume') ?? null),
      ...this.#described(model.get('desc') ?? null),
    };
  }

  /** Numbers, but not texts, are read by the reference through binary floats. */
  #volume(value: JsonInput): Decimal {
    if (value === null) throw mandatoryMissing('volume');
    const number = isDecimal(value)
      ? value
      : typeof value === 'string'
        ? Decimal.tryParse(value.trim())
        : undefined;
    if (number === undefined || !isModest(number)) {
      throw invalidInput('volume', value, 'unable to convert to decimal.');
    }
    if (!isDecimal(value) || this.#services.compat === 'fixed') return number;
    if (Number.isFinite(Number(number.toString()))) return number.throughBinary();
    throw invalidInput('volume', value, 'unable to convert to decimal.');
  }

  /**
   * A flat description, as the dashboard sends it, is metadata. The reference's newer releases ignore it (spec: quote), and
   * so does `compat: strict`.
   */
  #described(desc: JsonInput): Pick<QuotedResource, 'groupby' | 'metadata'> {
    if (desc === null) return {};
    if (!isJsonObject(desc)) throw wrongType('desc', desc, 'dict');
    for (const [name, value] of Object.entries(desc))
      if (Array.isArray(value)) throw invalidInput('desc', value, `A list is not allowed in '${name}'.`);
    const isNested = Object.hasOwn(desc, 'groupby') || Object.hasOwn(desc, 'metadata');
    if (isNested) return { groupby: attributes(desc, 'groupby'), metadata: attributes(desc, 'metadata') };
    return this.#services.compat === 'strict' ? {} : { metadata: attributesOf(desc) };
  }
}

function attributes(desc: { readonly [name: string]: JsonInput }, part: string): Attributes {
  const value = Object.hasOwn(desc, part) ? desc[part]! : null;
  if (value === null) return Attributes.EMPTY;
  if (!isJsonObject(value)) throw wrongType(part, value, 'dict');
  return attributesOf(value);
}

function attributesOf(value: { readonly [name: string]: JsonInput }): Attributes {
  return Attributes.from(value as Readonly<Record<string, AttributeValue>>);
}

/**
 * The reference's decimal text: 28 significant digits, and the 28 places of a cost where there are fewer. A sum of nothing
 * is plain 0.
 */
export function quoteText(total: Decimal): string {
  const rounded = total.round(SIGNIFICANT_DIGITS);
  if (rounded.isZero) return '0';
  const digits = rounded.coefficient.toString().replace('-', '').length;
  const adjusted = rounded.exponent + digits - 1;
  const exponent = Math.max(-STORED_PLACES, adjusted - SIGNIFICANT_DIGITS + 1);
  if (rounded.exponent <= exponent) return rounded.toReferenceNotation();
  const scale = 10n ** BigInt(rounded.exponent - exponent);
  return Decimal.of(rounded.coefficient * scale, exponent).toReferenceNotation();
}
