import type { Identity } from './identity.js';

/** What a rule compares the caller with. */
export type PolicyTarget = Readonly<Record<string, string | null>>;

/** Decides what a caller may do, by the names of the reference's rules. */
export interface Policy {
  /** False: the request is refused with 403. Unknown rules are refused. */
  allows(rule: string, identity: Identity, target?: PolicyTarget): boolean;
}

/** Without authentication every check passes, as in CloudKitty (spec: noauth mode). */
export class AllowAll implements Policy {
  allows(): boolean {
    return true;
  }
}
