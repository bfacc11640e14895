/** No valid credential came with the request; the same text for every cause. */
export class UnauthenticatedError extends Error {
  override readonly name = 'UnauthenticatedError';
  /** @param wrong whether one came that was taken for one, and is wrong */
  constructor(readonly wrong = false) {
    super('A valid API key or token is needed, as "Authorization: Bearer …" or "X-API-Key: …".');
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

/** The credential is right, and is not to be used from where the request comes. */
export class AddressNotAllowedError extends Error {
  override readonly name = 'AddressNotAllowedError';
  constructor() {
    super('This API key may not be used from this address.');
  }
}

/** It cannot be told now whether a token is right. */
export class AuthUnavailableError extends Error {
  override readonly name = 'AuthUnavailableError';
  constructor(readonly retryAfterSeconds: number) {
    super('The keys by which tokens are judged cannot be had now. Try again soon.');
  }
}

/** The credential is valid and does not allow this. */
export class InsufficientScopeError extends Error {
  override readonly name = 'InsufficientScopeError';
  constructor(readonly scope: string) {
    super(`This needs the scope ${scope}.`);
  }
}
