import { z } from 'zod';
import {
  type CompiledRating,
  DataError,
  definePlugin,
  type Frame,
  type JsonValue,
  type Period,
  type RatedPoint,
  type RatingModule,
} from '../../../core/plugin-api/index.js';
import { toConfigRoute } from '../../shared/config-call.js';
import { migrations } from './migrations.js';
import { scriptRoutes } from './script-routes.js';
import { ALIVE, readScripts } from './script-store.js';

/** A script as a snapshot of the rules keeps it. The source is named by its checksum. */
const rules = z.array(
  z.strictObject({
    id: z.string(),
    name: z.string(),
    checksum: z.string(),
    start: z.number(),
    end: z.number().nullable(),
  }),
);
type ScriptRule = z.output<typeof rules>[number];

/**
 * Keeps CloudKitty's scripts and serves their configuration, so that they can be moved over. It does not run them: a period
 * in which a script is in force is refused rather than priced as if there were none.
 */
export default definePlugin({
  kind: 'rating',
  name: 'pyscripts',
  options: z.strictObject({}),
  migrations,
  create(): RatingModule {
    return {
      description: 'PyScripts rating module.',
      hotConfig: true,
      async loadRules(database): Promise<JsonValue> {
        const scripts = await readScripts(database, [ALIVE]);
        return scripts.map(({ uuid, name, checksum, start, end }) => ({
          id: uuid,
          name,
          checksum,
          start,
          end,
        }));
      },
      configRoutes: scriptRoutes.map((route) => toConfigRoute(route, 'literal')),
      compile: (value) => new RefusedScripts(rules.parse(value)),
    };
  },
});

class RefusedScripts implements CompiledRating {
  readonly #scripts: readonly ScriptRule[];

  constructor(scripts: readonly ScriptRule[]) {
    this.#scripts = scripts;
  }

  rate(frame: Frame<RatedPoint>, signal: AbortSignal): Frame<RatedPoint> {
    signal.throwIfAborted();
    this.#refuseScripts(frame.period);
    return frame;
  }

  /** Whoever asks for a quote need not know the scripts. */
  quote(frame: Frame<RatedPoint>, signal: AbortSignal): Frame<RatedPoint> {
    signal.throwIfAborted();
    if (this.#inForce(frame.period) === undefined) return frame;
    throw new DataError(
      'RATECAT_SCRIPTS_UNSUPPORTED',
      'A script is in force, and this version does not run scripts, so that there is no price to name.',
    );
  }

  explain(point: RatedPoint, period: Period) {
    this.#refuseScripts(period);
    return [{ text: 'no script is in force', price: point.price }];
  }

  /** Judged at the period's begin, as every rule is. */
  #inForce({ begin }: Period): ScriptRule | undefined {
    return this.#scripts.find(({ start, end }) => start <= begin && (end === null || end > begin));
  }

  #refuseScripts(period: Period): void {
    const found = this.#inForce(period);
    if (found === undefined) return;
    throw new DataError(
      'RATECAT_SCRIPTS_UNSUPPORTED',
      `Script '${found.name}' (${found.id}) is in force at ${new Date(period.begin * 1000).toISOString()}, and this version does ` +
        "not run scripts. End or delete the script, or switch the module off with 'ratecat modules disable pyscripts'.",
    );
  }
}
