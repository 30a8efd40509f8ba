import { z } from 'zod';
import { definePlugin, type Fetcher, type Scope } from '../../core/plugin-api/index.js';

const id = z
  .string({ error: 'must be text; put quotes around ids that look like numbers' })
  .min(1, 'must not be empty');
const scope = z.union([
  id.transform((value) => ({ id: value, name: undefined })),
  z.strictObject({ id, name: z.string().optional() }),
]);
/** A list, or CloudKitty's comma-separated text. */
const scopeList = z.preprocess(
  (value) =>
    typeof value === 'string'
      ? value
          .split(',')
          .map((part) => part.trim())
          .filter((part) => part !== '')
      : value,
  z.array(scope).min(1, 'must name at least one scope'),
);

const options = z
  .strictObject({ scopes: scopeList.optional(), sources: scopeList.optional() })
  .superRefine(({ scopes, sources }, context) => {
    if ((scopes === undefined) === (sources === undefined)) {
      const message =
        'must list the scope ids (sources is the same option under its old name; give one of them)';
      context.addIssue({ code: 'custom', message, path: ['scopes'] });
    }
    const seen = new Set<string>();
    for (const [index, { id }] of (scopes ?? sources ?? []).entries()) {
      if (seen.has(id)) {
        const path = [scopes === undefined ? 'sources' : 'scopes', index];
        context.addIssue({ code: 'custom', message: `'${id}' is listed twice`, path });
      }
      seen.add(id);
    }
  });

/** A fixed list. */
export class SourceFetcher implements Fetcher {
  readonly #scopes: readonly Scope[];

  constructor(scopes: readonly Scope[]) {
    this.#scopes = scopes;
  }

  async fetchScopes(signal: AbortSignal): Promise<readonly Scope[]> {
    signal.throwIfAborted();
    return this.#scopes;
  }
}

export default definePlugin({
  kind: 'fetcher',
  name: 'source',
  options,
  create: ({ scopes, sources }, context) => {
    const key = context.pipeline?.scopeKey ?? '';
    return new SourceFetcher(
      (scopes ?? sources ?? []).map(({ id, name }) => ({ key, id, ...(name === undefined ? {} : { name }) })),
    );
  },
});
