/** No valid credential came with the request; the same text for every cause. */
export class UnauthenticatedError extends Error {
  override readonly name = 'UnauthenticatedError';
  constructor() {
    super('A valid API key is needed, as "Authorization: Bearer lh_…" or "X-API-Key: lh_…".');
  }
}

/** Too many wrong credentials came from one address. */
export class TooManyFailuresError extends Error {
  override readonly name = 'TooManyFailuresError';
  constructor(readonly retryAfterSeconds: number) {
    super('Too many credentials from this address were wrong. Ask again later, or with a right one.');
  }
}

/** Credentials came in more than one place. */
export class AmbiguousCredentialsError extends Error {
  override readonly name = 'AmbiguousCredentialsError';
  constructor() {
    super('Send one credential: either Authorization or X-API-Key.');
  }
}

/** The credential is valid and does not allow this. */
export class InsufficientScopeError extends Error {
  override readonly name = 'InsufficientScopeError';
  constructor(readonly scope: string) {
    super(`This needs the scope ${scope}.`);
  }
}
