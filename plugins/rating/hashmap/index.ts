import { z } from 'zod';
import { definePlugin, type JsonValue, type RatingModule } from '../../../core/plugin-api/index.js';
import { CompiledHashmap } from './compiled-hashmap.js';
import { configRoutes } from './config-routes.js';
import { numberReaderThatReports, readNumberStrictly } from './field-match.js';
import { loadRules } from './load-rules.js';
import { migrations } from './migrations.js';
import { rulesFromJson, rulesToJson } from './rules.js';
import { rulesDocument } from './rules-document.js';

export default definePlugin({
  kind: 'rating',
  name: 'hashmap',
  options: z.strictObject({}),
  migrations,
  create(_options, { compat, logger }): RatingModule {
    const readNumber = compat === 'strict' ? readNumberStrictly : numberReaderThatReports(logger);
    return {
      description: 'HashMap rating module.',
      hotConfig: true,
      loadRules: async (database, signal) => rulesToJson(await loadRules(database, signal)),
      rulesDocument,
      configRoutes: configRoutes(compat === 'strict' ? 'binary' : 'literal'),
      compile: (rules: JsonValue, scope) => new CompiledHashmap(rulesFromJson(rules), scope?.id, readNumber),
    };
  },
});
