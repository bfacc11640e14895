/**
 * Why nothing was sent to an address that a user has given. `bad-address`: it is none that is called. `blocked-address`: it
 * leads where users have no business. `unresolved`: its name has no address now.
 */
export type RefusalCode = 'bad-address' | 'blocked-address' | 'unresolved';

/** An address that is not called. The message is for whoever gave it; it tells nothing of what is behind the address. */
export class OutboundRefusedError extends Error {
  override readonly name = 'OutboundRefusedError';
  constructor(
    readonly code: RefusalCode,
    message: string,
  ) {
    super(message);
  }
}
