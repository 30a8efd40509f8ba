/** Who sends a request, as the token (or, without authentication, the headers) says. */
export interface Identity {
  readonly userId: string | undefined;
  /** Absent for tokens that are not scoped to a project. */
  readonly projectId: string | undefined;
  readonly projectName: string | undefined;
  readonly domainId: string | undefined;
  readonly systemScope: string | undefined;
  readonly roles: readonly string[];
  readonly isAdminProject: boolean;
  /** Rule `context_is_admin`; without authentication always true. Admins see every scope. */
  readonly isAdmin: boolean;
  /** Nobody: a request without a token on a public path. */
  readonly isAnonymous: boolean;
  /** Domain that the user belongs to: for rules of the operator. */
  readonly userDomainId?: string | undefined;
  /** Domain that the project belongs to: for rules of the operator. */
  readonly projectDomainId?: string | undefined;
}

/** What is known before the rules have said whether the caller is an admin. */
export type UnjudgedIdentity = Omit<Identity, 'isAdmin'>;

export const ANONYMOUS: Identity = {
  userId: undefined,
  projectId: undefined,
  projectName: undefined,
  domainId: undefined,
  systemScope: undefined,
  roles: [],
  isAdminProject: false,
  isAdmin: false,
  isAnonymous: true,
};
