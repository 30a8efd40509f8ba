import type { Instant, PluginDefinition } from 'ratecat/plugin-api';

export interface WeatherOptions {
  /** Stations of each scope, by scope id. */
  readonly stations: ReadonlyMap<string, readonly string[]>;
  /** Another seed, another climate. */
  readonly seed: string;
  /** When the stations were set up; absent: always there. */
  readonly since: Instant | undefined;
}

export interface WeatherMetricOptions {
  /** `heavy` leaves out slots of less than four fifths of the most that is possible. */
  readonly intensity: 'all' | 'heavy';
}

declare const definition: PluginDefinition<'collector', WeatherOptions>;
export default definition;
