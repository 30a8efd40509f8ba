// @ts-check
import { Attributes, Decimal, definePlugin, RejectedError, UnavailableError } from 'ratecat/plugin-api';
import { metricOptions, options } from './options.js';
import { METRICS, measure } from './weather.js';

/** @import { Collected, Collector, CollectRequest, PluginContext, Sample, Scope } from 'ratecat/plugin-api' */
/** @import { WeatherMetricOptions, WeatherOptions } from './index.js' */

/** @implements {Collector<WeatherMetricOptions>} */
class WeatherCollector {
  metricOptions = metricOptions;
  #options;
  #clock;

  /** @param {WeatherOptions} given @param {PluginContext} context */
  constructor(given, context) {
    this.#options = given;
    this.#clock = context.clock;
  }

  /** The stations tell nothing about the time before they were set up. */
  async earliest() {
    return this.#options.since;
  }

  /**
   * @param {CollectRequest<WeatherMetricOptions>} request
   * @param {AbortSignal} signal
   * @returns {Promise<Collected>}
   */
  async collect({ metric, scope, period }, signal) {
    signal.throwIfAborted();
    const kind = METRICS.get(metric.name);
    if (kind === undefined) {
      // Asking again will not help until somebody edits the metrics file.
      const known = [...METRICS.keys()].join(', ');
      throw new RejectedError(
        'WEATHER_METRIC_UNKNOWN',
        `There is no metric '${metric.name}'; known are ${known}.`,
      );
    }
    if (this.#clock.now() < period.end * 1000) {
      // Asking again will help: the host waits and retries.
      throw new UnavailableError('WEATHER_NOT_YET', 'The period is not over: its weather is not known yet.');
    }
    if (this.#options.since !== undefined && period.begin < this.#options.since) {
      return { kind: 'unmeasurable', reason: 'the stations were not set up yet' };
    }
    const stations = this.#options.stations.get(scope.id);
    if (stations === undefined) return { kind: 'nothing' };
    const { seed } = this.#options;
    const samples = stations.map((station) => {
      const thousandths = measure({ kind, seed, station, period, intensity: metric.options.intensity });
      return toSample(metric, scope, station, Decimal.of(thousandths, -3));
    });
    return { kind: 'measured', samples };
  }

  /** A point per station, so the station must be in its groupby. */
  requiredGroupby() {
    return ['station'];
  }
}

/**
 * @param {CollectRequest<WeatherMetricOptions>['metric']} metric
 * @param {Scope} scope
 * @param {string} station
 * @param {Decimal} value
 * @returns {Sample}
 */
function toSample(metric, scope, station, value) {
  const known = new Map([
    [scope.key, scope.id],
    ['station', station],
    ['intensity', metric.options.intensity],
  ]);
  /** @param {readonly string[]} names */
  const pick = (names) =>
    Attributes.of(
      names,
      names.map((name) => known.get(name) ?? ''),
    );
  return { groupby: pick(metric.groupby), metadata: pick(metric.metadata), value };
}

export default definePlugin({
  kind: 'collector',
  name: 'weather',
  options,
  create: (given, context) => new WeatherCollector(given, context),
});
