// @ts-check

/** @import { Schema, SchemaIssue } from 'ratecat/plugin-api' */
/** @import { WeatherMetricOptions, WeatherOptions } from './index.js' */

/*
 * Options are checked by a schema of the Standard Schema kind. A zod, valibot or arktype schema can be given as it is; this
 * package has no dependencies and writes its two by hand.
 */

/** @type {Schema<WeatherOptions>} */
export const options = schema((value, problem) => {
  const given = record(value, ['stations', 'seed', 'since'], [], problem);
  const stations = new Map();
  if (typeof given.stations !== 'object' || given.stations === null || Array.isArray(given.stations)) {
    problem(['stations'], 'must be a mapping from scope ids to lists of station names');
  } else {
    for (const [scope, names] of Object.entries(given.stations)) {
      const valid =
        Array.isArray(names) && names.length > 0 && names.every((name) => typeof name === 'string' && name);
      if (!valid) problem(['stations', scope], 'must be a list of station names');
      else if (new Set(names).size < names.length) problem(['stations', scope], 'names a station twice');
      else stations.set(scope, names);
    }
  }
  const seed = given.seed ?? 'ratecat';
  if (typeof seed !== 'string') problem(['seed'], 'must be text');
  const since = given.since;
  if (since !== undefined && !Number.isSafeInteger(since))
    problem(['since'], 'must be whole seconds since 1970');
  return { stations, seed: String(seed), since: /** @type {number | undefined} */ (since) };
});

/** @type {Schema<WeatherMetricOptions>} */
export const metricOptions = schema((value, problem) => {
  const { intensity = 'all' } = record(value ?? {}, ['intensity'], [], problem);
  if (intensity !== 'all' && intensity !== 'heavy') problem(['intensity'], "must be 'all' or 'heavy'");
  return { intensity: intensity === 'heavy' ? 'heavy' : 'all' };
});

/**
 * @template T
 * @param {(value: unknown, problem: (path: readonly PropertyKey[], message: string) => void) => T} read
 * @returns {Schema<T>}
 */
function schema(read) {
  return {
    '~standard': {
      version: 1,
      vendor: 'ratecat-collector-weather',
      validate(value) {
        /** @type {SchemaIssue[]} */
        const issues = [];
        const result = read(value, (path, message) => issues.push({ path, message }));
        return issues.length > 0 ? { issues } : { value: result };
      },
    },
  };
}

/**
 * @param {unknown} value
 * @param {readonly string[]} known
 * @param {readonly PropertyKey[]} path
 * @param {(path: readonly PropertyKey[], message: string) => void} problem
 * @returns {Readonly<Record<string, unknown>>}
 */
function record(value, known, path, problem) {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    problem(path, `must be a mapping with the keys ${known.join(', ')}`);
    return {};
  }
  for (const key of Object.keys(value)) {
    if (!known.includes(key)) problem([...path, key], `is not known; known are ${known.join(', ')}`);
  }
  return /** @type {Record<string, unknown>} */ (value);
}
