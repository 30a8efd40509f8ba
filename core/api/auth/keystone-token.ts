import { z } from 'zod';
import type { UnjudgedIdentity } from './identity.js';

/** What Keystone says about a valid token, as far as requests depend on it. */
export interface ValidatedToken {
  readonly identity: UnjudgedIdentity;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
  /** What an application credential is restricted to; undefined: everything its roles allow. */
  readonly accessRules: readonly AccessRule[] | undefined;
  /** Types of the services in the token's catalog. */
  readonly services: ReadonlySet<string>;
}

export interface AccessRule {
  readonly service: string;
  readonly method: string;
  /** `{tag}` and `*` stand for one segment, `**` for anything. */
  readonly path: string;
}

const named = z.object({ id: z.string().min(1), name: z.string().nullish() });
const owned = named.extend({ domain: z.object({ id: z.string().nullish() }).nullish() });

const answer = z.object({
  token: z.object({
    user: owned,
    expires_at: z.string().transform((text, context) => {
      const at = Date.parse(text);
      if (!Number.isNaN(at)) return at;
      context.addIssue({ code: 'custom', message: 'is no time' });
      return z.NEVER;
    }),
    project: owned.nullish(),
    domain: named.nullish(),
    system: z.object({ all: z.boolean().nullish() }).nullish(),
    roles: z.array(z.object({ name: z.string() })).nullish(),
    is_admin_project: z.boolean().nullish(),
    application_credential: z
      .object({
        access_rules: z
          .array(z.object({ service: z.string(), method: z.string(), path: z.string() }))
          .nullish(),
      })
      .nullish(),
    catalog: z.array(z.object({ type: z.string() })).nullish(),
  }),
});

/** Undefined for a body that is not Keystone's answer about a token. */
export function readValidation(body: string): ValidatedToken | undefined {
  const result = answer.safeParse(jsonOf(body));
  if (!result.success) return undefined;
  const { token } = result.data;
  return {
    identity: {
      userId: token.user.id,
      userDomainId: token.user.domain?.id ?? undefined,
      projectId: token.project?.id,
      projectName: token.project?.name ?? undefined,
      projectDomainId: token.project?.domain?.id ?? undefined,
      domainId: token.domain?.id,
      systemScope: token.system?.all === true ? 'all' : undefined,
      roles: (token.roles ?? []).map(({ name }) => name),
      // keystonemiddleware: a token that says nothing about it counts as one of the admin project.
      isAdminProject: token.is_admin_project ?? true,
      isAnonymous: false,
    },
    expiresAt: token.expires_at,
    accessRules: token.application_credential?.access_rules ?? undefined,
    services: new Set((token.catalog ?? []).map(({ type }) => type)),
  };
}

function jsonOf(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}

/** The request that access rules are compared with. */
export interface RestrictedRequest {
  /** Our type in the catalog. */
  readonly service: string;
  readonly method: string;
  readonly path: string;
  /** A service sent the request on behalf of the user: only the first request of the chain has to fit the rules. */
  readonly isForwarded: boolean;
}

/** Whether an application credential with access rules may send the request (keystonemiddleware's rules). */
export function mayAccess({ accessRules, services }: ValidatedToken, request: RestrictedRequest): boolean {
  if (accessRules === undefined) return true;
  if (!services.has(request.service)) return false;
  if (request.isForwarded) return true;
  return accessRules.some(
    ({ service, method, path }) =>
      service === request.service && method === request.method && pathFits(request.path, path),
  );
}

/** Keystone keeps at most 128 characters of a pattern; nobody's path is as long as this. */
const MAX_PATH = 4096;
const MAX_PATTERN = 512;

/**
 * Users write the patterns: they are never made into a regular expression, and matching takes at most one step for each
 * pair of characters.
 */
export function pathFits(path: string, pattern: string): boolean {
  if (path.length > MAX_PATH || pattern.length > MAX_PATTERN) return false;
  // Lengths of the beginning of the path that the pattern so far stands for.
  let reached: readonly number[] = [0];
  for (const [part] of pattern.matchAll(/\{[^}]*\}|\*\*|\*|[^{*]|\{/g)) {
    reached =
      part === '**'
        ? upwards(reached, path)
        : isSegment(part)
          ? segments(reached, path)
          : literal(reached, path, part);
    if (reached.length === 0) return false;
  }
  return reached.includes(path.length);
}

function isSegment(part: string): boolean {
  return part === '*' || (part.length > 1 && part.startsWith('{'));
}

function literal(reached: readonly number[], path: string, part: string): readonly number[] {
  return reached.filter((at) => path.startsWith(part, at)).map((at) => at + part.length);
}

/** Anything from the first place on. */
function upwards(reached: readonly number[], path: string): readonly number[] {
  const first = reached[0]!;
  return Array.from({ length: path.length - first + 1 }, (_, index) => first + index);
}

/** One character or more of a segment, from each place. */
function segments(reached: readonly number[], path: string): readonly number[] {
  const starts = new Set(reached);
  const ends: number[] = [];
  let isInside = false;
  for (let at = reached[0]!; at < path.length; at++) {
    isInside = path[at] !== '/' && (isInside || starts.has(at));
    if (isInside) ends.push(at + 1);
  }
  return ends;
}
