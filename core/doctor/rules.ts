import { didYouMean, nearestKey } from '../config/nearest-key.js';
import type { Instant } from '../plugin-api/index.js';
import type { Pipeline, ProcessingMetric } from '../processing/pipeline.js';
import { isoTime } from '../scopes/iso-time.js';
import type { Examination, Say } from './examination.js';
import { labelOf } from './metrics.js';
import type { RatingFindings } from './modules.js';
import { allLeavesOf, isBare, isValidAt, ruleTreeOf, type ServiceNode } from './rule-tree.js';

export interface RulesParts {
  readonly rating: RatingFindings | undefined;
  readonly pipelines: readonly Pipeline[] | undefined;
  readonly now: Instant;
}

/** Whether the rules go by the names that the metrics have. */
export async function lookAtRules(
  examination: Examination,
  { rating, pipelines, now }: RulesParts,
): Promise<void> {
  await examination.look(
    { area: 'rules', what: 'the names in the rules', needs: { pipeline: pipelines, rating } },
    async (got, say) => {
      const metrics = got.pipeline.flatMap((pipeline) => pipeline.metrics);
      const keeping = got.rating.modules.filter(({ keepsRules, rules }) => keepsRules && !isBare(rules));
      const trees = keeping.flatMap(({ name, rules }) => {
        const tree = ruleTreeOf(rules);
        return tree === undefined ? [] : [{ name, services: tree.services }];
      });
      for (const { name, services } of trees)
        for (const service of services) judgeService(name, service, metrics, now, say);
      if (trees.length === 0) {
        say.skip('no-rules', 'there are no rules that could be compared with the metrics');
        return;
      }
      if (trees.length < keeping.length) return;
      judgeMetrics(
        metrics,
        trees.flatMap(({ services }) => services),
        say,
      );
    },
  );
}

function judgeService(
  module: string,
  service: ServiceNode,
  metrics: readonly ProcessingMetric[],
  now: Instant,
  say: Say,
): void {
  const where = `${module}: service '${service.name}'`;
  const rated = metrics.filter(({ metric }) => metric.ratedName === service.name);
  if (rated.length === 0) {
    sayWithoutMetric(service, metrics, say, where);
    return;
  }
  const leaves = allLeavesOf(service);
  if (leaves.length > 0 && leaves.every((leaf) => !isValidAt(leaf, now))) {
    const ends = leaves.flatMap(({ end }) => (end !== undefined && end <= now ? [end] : []));
    const begins = leaves.flatMap(({ start }) => (start !== undefined && start > now ? [start] : []));
    const when =
      ends.length > 0
        ? `the last one ended at ${isoTime(Math.max(...ends))}`
        : `the first one begins at ${isoTime(Math.min(...begins))}`;
    say.warn('rules-not-valid-now', `no rule of '${service.name}' is valid now: ${when}`, {
      where,
      fix: 'Give the rules the dates that are meant, or add ones that are valid from now on.',
    });
  }
  judgeFields(service, rated, say, where);
}

function sayWithoutMetric(
  { name }: ServiceNode,
  metrics: readonly ProcessingMetric[],
  say: Say,
  where: string,
): void {
  const renamed = metrics.find(({ metric }) => metric.name === name);
  const guess = didYouMean(
    name,
    metrics.map(({ metric }) => metric.ratedName),
  );
  const rules = `rules for '${name}', which no metric is called`;
  say.warn('rule-without-metric', guess === undefined ? rules : `${rules}; ${guess}`, {
    where,
    fix:
      renamed === undefined
        ? 'Correct the name of the service, or add the metric to the metrics file. Nothing is wrong if frames of that name are pushed through the API.'
        : `Rules go by alt_name: call the service '${renamed.metric.ratedName}'.`,
  });
}

function judgeFields(
  { name: service, fields = [] }: ServiceNode,
  rated: readonly ProcessingMetric[],
  say: Say,
  where: string,
): void {
  const attributes = rated.flatMap(({ metric }) => [...metric.groupby, ...metric.metadata]);
  for (const { name } of fields) {
    if (attributes.includes(name)) continue;
    const guess = didYouMean(name, attributes);
    const what = `rules on the field '${name}', which no metric called '${service}' collects`;
    say.warn('field-not-collected', guess === undefined ? what : `${what}; ${guess}`, {
      where,
      fix: `Add '${name}' to groupby or metadata of the metric, or correct the name of the field.`,
    });
  }
}

function judgeMetrics(
  metrics: readonly ProcessingMetric[],
  services: readonly ServiceNode[],
  say: Say,
): void {
  const names = services.filter((service) => allLeavesOf(service).length > 0).map(({ name }) => name);
  for (const metric of metrics) {
    const { ratedName } = metric.metric;
    if (names.includes(ratedName)) {
      say.ok('metric-has-rules', `${labelOf(metric)} has rules`);
      continue;
    }
    const near = nearestKey(ratedName, names);
    say.warn('metric-without-rule', `no rule applies to ${labelOf(metric)}: it costs 0`, {
      fix:
        near === undefined
          ? `Add rules for the service '${ratedName}', or leave it if it is free.`
          : `There are rules for '${near}'; if this is meant, call the service '${ratedName}'.`,
    });
  }
}
