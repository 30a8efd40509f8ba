import type { Authenticator, Credentials } from './authenticator.js';
import { ANONYMOUS, type Identity } from './identity.js';

/** Believes what the headers say, and takes everybody for an administrator (spec: noauth mode). */
export class NoauthAuthenticator implements Authenticator {
  async authenticate({ headers }: Credentials): Promise<Identity> {
    const text = (name: string) => {
      const value = headers[name];
      const first = (Array.isArray(value) ? value[0] : value)?.trim();
      return first === '' ? undefined : first;
    };
    const roles = (text('x-roles') ?? '').split(',').map((role) => role.trim());
    return {
      ...ANONYMOUS,
      userId: text('x-user-id'),
      projectId: text('x-project-id'),
      projectName: text('x-project-name'),
      roles: roles.filter((role) => role !== ''),
      isAdmin: true,
      isAnonymous: false,
    };
  }
}
