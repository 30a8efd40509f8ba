import type { MetricDefinition } from '../../config/load-metrics.js';
import { describeError, isRatecatError } from '../../plugin-api/index.js';
import type { ApiResponse } from '../exchange.js';
import type { PythonValue } from '../python-json.js';
import type { ApiServices } from '../services.js';
import type { V1Call } from './call.js';
import { jsonAnswer, notFound, V1Fault } from './faults.js';
import { authorize, type V1Method } from './method.js';
import { MetricsFiles } from './metrics-files.js';

/** `/v1/info`: the metrics and how they are configured. */
export class Info {
  readonly #services: ApiServices;
  readonly #files: MetricsFiles;

  constructor(services: ApiServices) {
    this.#services = services;
    this.#files = new MetricsFiles(services.sources.map(({ metricsFile }) => metricsFile));
  }

  get methods(): readonly V1Method[] {
    return [
      { method: 'GET', path: '/info/config', handle: (call) => this.#config(call) },
      // The services are deprecated twins of the metrics.
      ...['metrics', 'services'].flatMap((name): V1Method[] => [
        { method: 'GET', path: `/info/${name}`, handle: (call) => this.#list(call) },
        { method: 'GET', path: `/info/${name}/:metric_name`, handle: (call) => this.#get(call) },
      ]),
    ];
  }

  async #config({ identity }: V1Call): Promise<ApiResponse> {
    authorize(this.#services, 'info:get_config', identity);
    const files = await this.#files.all();
    try {
      return jsonAnswer(merged(await Promise.all(files.map(({ document }) => document()))));
    } catch (error) {
      if (!isRatecatError(error)) throw error;
      this.#report(error);
      throw new V1Fault(500, 'The metrics configuration cannot be read; the log of the API says why.');
    }
  }

  async #list({ identity }: V1Call): Promise<ApiResponse> {
    const metrics = await this.#metrics();
    authorize(this.#services, 'info:list_metrics_info', identity);
    return jsonAnswer({ metrics: metrics.map(metricJson) });
  }

  async #get(call: V1Call): Promise<ApiResponse> {
    const metrics = await this.#metrics();
    authorize(this.#services, 'info:get_metric_info', call.identity);
    const name = call.required('metric_name');
    const metric = metrics.find(({ ratedName }) => ratedName === name);
    if (metric === undefined) throw notFound(name);
    return jsonAnswer(metricJson(metric));
  }

  /** The first one of a name counts. @throws V1Fault 405 when a file is not valid, before any policy. */
  async #metrics(): Promise<readonly MetricDefinition[]> {
    const files = await this.#files.all();
    try {
      const all = (await Promise.all(files.map(({ definitions }) => definitions()))).flat();
      return all.filter(
        ({ ratedName }, place) => all.findIndex((metric) => metric.ratedName === ratedName) === place,
      );
    } catch (error) {
      if (!isRatecatError(error)) throw error;
      this.#report(error);
      throw new V1Fault(405, 'Invalid endpoint: no metrics in current configuration.');
    }
  }

  #report(error: unknown): void {
    this.#services.logger.warn('metrics file not usable', { reason: describeError(error) });
  }
}

function metricJson({ ratedName, metadata, unit }: MetricDefinition): PythonValue {
  return { metric_id: ratedName, metadata: [...new Set(metadata)], unit };
}

/** The first file, with the metrics of the others behind its own. */
function merged(documents: readonly PythonValue[]): PythonValue {
  const [first, ...others] = documents;
  if (others.length === 0 || !(first instanceof Map)) return first;
  const metrics = [first, ...others].flatMap((document) => {
    const found: unknown = document instanceof Map ? document.get('metrics') : undefined;
    return found instanceof Map ? [...(found as ReadonlyMap<string, PythonValue>)] : [];
  });
  const sum = new Map<string, PythonValue>();
  for (const [name, metric] of metrics) if (!sum.has(name)) sum.set(name, metric);
  return new Map([...(first as ReadonlyMap<string, PythonValue>), ['metrics', sum]]);
}
