import { didYouMean } from '../config/nearest-key.js';
import { Decimal, describedAttribute, type Frame, type RatedPoint } from '../plugin-api/index.js';
import { rateFrame } from '../rating/rate-frame.js';
import { isoTime } from '../scopes/iso-time.js';
import type { Examination, Say } from './examination.js';
import { labelOf, type MetricPoints } from './metrics.js';
import type { RatingFindings } from './modules.js';
import {
  allLeavesOf,
  isValidAt,
  leavesOf,
  type RuleLeaf,
  type RuleNode,
  ruleTreeOf,
  type ServiceNode,
} from './rule-tree.js';

export interface PricesParts {
  readonly where: string | undefined;
  readonly points: readonly MetricPoints[] | undefined;
  readonly rating: RatingFindings | undefined;
}

/** Tries the rules on what was measured, and says why prices are zero. Stores nothing. */
export async function lookAtPrices(
  examination: Examination,
  { where, points, rating }: PricesParts,
): Promise<void> {
  const some = points === undefined || points.length === 0 ? undefined : points;
  await examination.look(
    { area: 'prices', what: 'the prices', where, needs: { rating, points: some } },
    async (got, say, signal) => {
      for (const measured of got.points) {
        try {
          await judge(measured, got.rating, say, signal);
        } catch (error) {
          say.error(error, {
            where: `scope '${measured.scope.id}', metric '${measured.metric.metric.ratedName}'`,
          });
        }
      }
    },
  );
}

async function judge(
  measured: MetricPoints,
  rating: RatingFindings,
  say: Say,
  signal: AbortSignal,
): Promise<void> {
  const { source, metric, scope, period, points } = measured;
  const where = `scope '${scope.id}', ${isoTime(period.begin)}`;
  const frame: Frame<RatedPoint> = { source, scope, period, points, gaps: [] };
  const compiled = rating.compile(scope);
  const rated = await rateFrame(frame, compiled, signal);
  const kept =
    metric.skip === undefined ? rated.points : rated.points.filter((point) => !metric.skip!(point));
  const label = labelOf(metric);
  if (kept.length === 0) {
    const by = rated.points.length === 0 ? 'rating modules drop' : 'skip_datapoints_expression leaves out';
    say.warn('points-left-out', `${label}: ${by} every point`, {
      where,
      fix: 'Nothing of this metric is stored. Check skip_datapoints_expression and the rules.',
    });
    return;
  }
  const free = kept.filter(({ price }) => price.equals(Decimal.ZERO));
  if (free.length < kept.length) {
    const sum = kept.reduce((total, { price }) => total.plus(price), Decimal.ZERO);
    const part = free.length === 0 ? '' : `; ${free.length} of ${kept.length} points cost 0`;
    say.ok(
      'priced',
      `${label}: ${kept.length} point${kept.length === 1 ? ' costs' : 's cost'} ${sum}${part}`,
      { where },
    );
    return;
  }
  if (kept.every(({ quantity }) => quantity.equals(Decimal.ZERO))) {
    say.ok('quantity-zero', `${label}: every quantity is 0, and so is its price`, { where });
    return;
  }
  const reason = whyZero(measured, kept, rating) ?? explained(measured, kept, compiled);
  if (reason.isMeant) {
    say.ok(reason.id, `${label} costs 0: ${reason.because}`, { where });
    return;
  }
  say.warn(reason.id, `${label} costs 0: ${reason.because}`, { where, fix: reason.fix });
}

interface Reason {
  readonly id: string;
  readonly because: string;
  readonly fix: string;
  /** Somebody wrote a price of 0. */
  readonly isMeant?: boolean;
}

/** Undefined when the rules have another form, or the reason is none of the usual ones. */
function whyZero(
  measured: MetricPoints,
  points: readonly RatedPoint[],
  { modules }: RatingFindings,
): Reason | undefined {
  const keeping = modules.filter(({ keepsRules }) => keepsRules);
  if (keeping.length === 0) {
    const fix = 'Enable one: ratecat modules enable hashmap';
    return { id: 'price-zero-no-module', because: 'no rating module with rules is enabled', fix };
  }
  const trees = keeping.map(({ rules }) => (rules === null ? { services: [] } : ruleTreeOf(rules)));
  if (trees.some((tree) => tree === undefined)) return undefined;
  const services = trees.flatMap((tree) => tree!.services);
  const name = measured.metric.metric.ratedName;
  const own = services.filter((service) => service.name === name && allLeavesOf(service).length > 0);
  if (own.length === 0) return noRule(name, services);
  return whyZeroInServices(measured, points, own);
}

function noRule(name: string, services: readonly ServiceNode[]): Reason {
  const guess = didYouMean(
    name,
    services.map((service) => service.name),
  );
  const because = `no rule is for '${name}'${guess === undefined ? '' : `; ${guess}`}`;
  return {
    id: 'price-zero-no-rule',
    because,
    fix: `Add rules for the service '${name}', or leave it if it is free.`,
  };
}

function whyZeroInServices(
  { scope, period }: MetricPoints,
  points: readonly RatedPoint[],
  services: readonly ServiceNode[],
): Reason | undefined {
  const all = services.flatMap(allLeavesOf);
  const valid = all.filter((leaf) => isValidAt(leaf, period.begin));
  if (valid.length === 0) {
    return {
      id: 'price-zero-not-valid',
      because: `none of its ${all.length} rules is valid at ${isoTime(period.begin)}`,
      fix: 'Give the rules the dates that are meant; they are judged at the begin of a period.',
    };
  }
  const forScope = valid.filter(({ tenant }) => tenant === undefined || tenant === scope.id);
  if (forScope.length === 0) {
    const tenants = [...new Set(valid.map(({ tenant }) => `'${tenant}'`))].join(', ');
    return {
      id: 'price-zero-other-tenant',
      because: `its rules are for other tenants only (${tenants})`,
      fix: `Add rules without a tenant, or for '${scope.id}'.`,
    };
  }
  if (forScope.every(isFree)) {
    return { id: 'price-zero-meant', because: 'every rule that applies says 0', fix: '', isMeant: true };
  }
  const flats = forScope.filter(({ type }) => type === 'flat');
  if (flats.length === 0) {
    return {
      id: 'price-zero-rates-only',
      because: 'its rules are rates only, and a rate multiplies the flat price, of which there is none',
      fix: 'Add a flat rule in the same group, or make the rate a flat price.',
    };
  }
  const applies = (leaf: RuleLeaf) => forScope.includes(leaf);
  if (services.some((service) => leavesOf(service).some((leaf) => applies(leaf) && !isFree(leaf))))
    return undefined;
  const fields = services
    .flatMap(({ fields = [] }) => fields)
    .filter((field) => leavesOf(field).some(applies));
  return fields.map((field) => whyNotByField(field, points, applies)).find((reason) => reason !== undefined);
}

function isFree({ cost }: RuleLeaf): boolean {
  return Decimal.tryParse(cost ?? '')?.equals(Decimal.ZERO) === true;
}

function whyNotByField(
  field: RuleNode,
  points: readonly RatedPoint[],
  applies: (leaf: RuleLeaf) => boolean,
): Reason | undefined {
  const values = points.map(({ descriptor }) => describedAttribute(descriptor, field.name));
  if (values.every((value) => value === undefined || value === null || value === '')) {
    return {
      id: 'price-zero-field-missing',
      because: `its rules go by '${field.name}', which no point has`,
      fix: `Add '${field.name}' to groupby or metadata of the metric, and check that the source gives it.`,
    };
  }
  const priced = (field.mappings ?? []).filter(applies).flatMap(({ value }) => value ?? []);
  if (priced.length === 0) return undefined;
  const seen = [...new Set(values.map(String))];
  const unmatched = seen.filter((value) => !priced.includes(value));
  if (unmatched.length < seen.length) return undefined;
  const guess = didYouMean(unmatched[0]!, priced);
  return {
    id: 'price-zero-value-without-rule',
    because: `no rule on '${field.name}' is for ${shortList(unmatched)}; there are rules for ${shortList(priced)}${guess === undefined ? '' : `; ${guess}`}`,
    fix: `Add rules for these values of '${field.name}', or one for the service that holds for every value.`,
  };
}

function shortList(values: readonly string[]): string {
  const shown = values.slice(0, 4).map((value) => `'${value}'`);
  return values.length > shown.length ? `${shown.join(', ')}, …` : shown.join(', ');
}

/** The modules themselves say how they came to it. */
function explained(
  { period }: MetricPoints,
  points: readonly RatedPoint[],
  compiled: ReturnType<RatingFindings['compile']>,
): Reason {
  const point = { ...points[0]!, price: Decimal.ZERO };
  const steps = compiled.flatMap(({ name, rating }) =>
    (rating.explain?.(point, period) ?? []).map(({ text }) => `${name}: ${text}`),
  );
  return {
    id: 'price-zero',
    because: steps.length === 0 ? 'the rating modules do not say why' : steps.join('; '),
    fix: "'ratecat explain' shows the steps of a stored point, 'ratecat rules list' the rules.",
  };
}
