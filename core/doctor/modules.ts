import type { Config } from '../config/config.js';
import type { Services } from '../daemon/composition-root.js';
import { readRulesFile } from '../daemon/prepare-rules.js';
import type { JsonValue } from '../plugin-api/index.js';
import { type CompiledModule, makeSnapshot } from '../rating/rule-sets.js';
import { optionWords, shellWord } from '../setup/shell-command.js';
import type { Configured } from './configuration.js';
import type { Examination, Say } from './examination.js';
import { isBare } from './rule-tree.js';

/** A module that rates, with its rules as they are now. */
export interface EnabledModule {
  readonly name: string;
  readonly priority: number;
  readonly rules: JsonValue;
  /** Has rules at all: noop has none, ever. */
  readonly keepsRules: boolean;
}

export interface RatingFindings {
  readonly modules: readonly EnabledModule[];
  /** For every scope: what holds for one tenant only is left out. */
  readonly compile: (scope?: { readonly key: string; readonly id: string }) => readonly CompiledModule[];
}

/** Which modules rate, and with what rules. */
export async function lookAtModules(
  examination: Examination,
  configured: Configured | undefined,
  services: Services | undefined,
): Promise<RatingFindings | undefined> {
  await examination.look(
    { area: 'modules', what: 'the rules files', needs: { config: configured, services } },
    async (got, say) => lookAtRulesFiles(got.config.config, got.services, say),
  );
  return examination.look(
    { area: 'modules', what: 'the modules', needs: { config: configured, services } },
    async (got, say, signal) => {
      const stored = await got.services.moduleStates.all();
      sayStates(got.config.config, got.services, stored, say);
      const modules = await enabledModules(got.services, stored, signal);
      sayEnabled(modules, say);
      const snapshot = makeSnapshot(null, modules);
      const compile: RatingFindings['compile'] = (scope) => got.services.rules.compileFresh(snapshot, scope);
      compile();
      return { modules, compile };
    },
  );
}

type Stored = Awaited<ReturnType<Services['moduleStates']['all']>>;

async function enabledModules(
  { modules, database }: Services,
  stored: Stored,
  signal: AbortSignal,
): Promise<readonly EnabledModule[]> {
  const enabled: EnabledModule[] = [];
  for (const { name, module } of modules) {
    const isAlwaysOn = module.alwaysEnabled === true;
    if (!isAlwaysOn && stored.get(name)?.enabled !== true) continue;
    const rules = (await module.loadRules?.(database, signal)) ?? null;
    const priority = isAlwaysOn ? 1 : (stored.get(name)?.priority ?? 1);
    enabled.push({ name, priority, rules, keepsRules: module.loadRules !== undefined });
  }
  return enabled;
}

function sayStates(config: Config, { modules }: Services, stored: Stored, say: Say): void {
  modules.forEach(({ name, module }, index) => {
    if (module.alwaysEnabled === true) return;
    const state = stored.get(name);
    if (state === undefined) {
      say.warn(
        'module-without-state',
        `the database does not know the module '${name}' yet, so it does not rate`,
        {
          fix: "Run 'ratecat dbsync upgrade', which gives it the state of the configuration.",
        },
      );
    } else if (!state.enabled && config.rating[index]?.enabled === true) {
      say.warn(
        'module-disabled',
        `the module '${name}' is enabled in the configuration, but was disabled in the database, which counts`,
        {
          fix: `To let it rate: ratecat modules enable ${shellWord(name)}`,
        },
      );
    } else if (state.enabled && config.rating[index]?.enabled === false) {
      say.ok(
        'module-enabled-later',
        `the module '${name}' is disabled in the configuration, but was enabled in the database, which counts`,
      );
    }
  });
  const loaded = new Set(modules.map(({ name }) => name));
  for (const [name, { enabled }] of stored) {
    if (!enabled || loaded.has(name)) continue;
    say.warn(
      'module-not-configured',
      `the module '${name}' is enabled in the database, but the configuration does not have it: it does not rate`,
      {
        where: config.file,
        fix: `Add \`- plugin: ${name}\` to rating, or leave it if it should not rate any more.`,
      },
    );
  }
}

function sayEnabled(modules: readonly EnabledModule[], say: Say): void {
  const pricing = modules.filter(({ keepsRules }) => keepsRules);
  if (pricing.length === 0) {
    say.fail('no-module-enabled', 'no rating module with rules is enabled: everything costs 0', {
      fix: 'Enable one: ratecat modules enable hashmap',
      kind: 'config',
    });
    return;
  }
  for (const { name, priority, rules } of pricing) {
    if (isBare(rules)) {
      say.warn(
        'module-without-rules',
        `the module '${name}' is enabled and has no rules: it leaves every price as it is`,
        {
          fix: `Give it rules: ratecat rules import FILE ${optionWords('module', name).join(' ')}`,
        },
      );
    } else say.ok('module-enabled', `'${name}' rates, priority ${priority}`);
  }
}

/** The files that the first start imports; later they are documents that nobody reads. */
async function lookAtRulesFiles({ rating }: Config, { modules }: Services, say: Say): Promise<void> {
  for (const [index, { rulesFile }] of rating.entries()) {
    const document = modules[index]?.module.rulesDocument;
    if (rulesFile === undefined || document === undefined) continue;
    try {
      document.toRules(await readRulesFile(rulesFile));
    } catch (error) {
      say.error(error, {
        where: rulesFile,
        fix: "Correct the file; 'ratecat rules import FILE --dry-run' looks again.",
      });
    }
  }
}
