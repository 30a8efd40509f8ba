import type {
  Calendar,
  Clock,
  HttpFactory,
  Logger,
  PipelineFacts,
  PluginContext,
  SqlDatabase,
} from '../plugin-api/index.js';
import type { PreparedPlugin } from './prepare-plugin.js';

/** What all plugins of a daemon share. */
export interface ContextParts {
  readonly logger: Logger & { child(fields: Readonly<Record<string, unknown>>): Logger };
  readonly clock: Clock;
  readonly calendar: Calendar;
  readonly http: HttpFactory;
  readonly compat: 'strict' | 'fixed';
  readonly dataFolder: string;
  readonly configFolder: string;
}

/** The context of one plugin: facts it needs, and the database only where its definition asks for it. */
export function pluginContext(
  parts: ContextParts,
  plugin: PreparedPlugin,
  extra: { readonly pipeline?: PipelineFacts; readonly database?: SqlDatabase },
): PluginContext {
  const { kind, usesDatabase } = plugin.definition;
  const mayUseDatabase = usesDatabase === true && (kind === 'storage' || kind === 'rating');
  return {
    ...parts,
    logger: parts.logger.child({ plugin: `${kind}/${plugin.definition.name}` }),
    pipeline: extra.pipeline,
    database: mayUseDatabase ? extra.database : undefined,
  };
}
