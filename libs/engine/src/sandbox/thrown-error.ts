import { errorMessage, PermanentError } from '@app/core';
import type { ThrownError } from './sandbox-messages.js';

/** What another process has to know of something that was thrown. */
export function packError(thrown: unknown): ThrownError {
  const message = errorMessage(thrown);
  if (thrown instanceof PermanentError) return { kind: 'permanent', message };
  const name: unknown = thrown instanceof Error ? thrown.name : undefined;
  return { kind: name === 'AbortError' ? 'abort' : 'other', message };
}

/** The error again. */
export function unpackError({ kind, message }: ThrownError): Error {
  if (kind === 'permanent') return new PermanentError(message);
  return kind === 'abort' ? new DOMException(message, 'AbortError') : new Error(message);
}
