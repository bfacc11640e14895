import { PermanentError } from '@app/core';

/**
 * Runs a step that reads. What no repetition can mend becomes a permanent error of one sentence about `what`,
 * such as `The file a.bin`.
 */
export async function reading<T>(what: string, step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (error) {
    switch (codeOf(error)) {
      case 'EACCES':
      case 'EPERM':
        throw new PermanentError(`${what} cannot be read: permission denied.`, { cause: error });
      case 'ENOENT':
      case 'ENOTDIR':
        throw new PermanentError(`${what} has vanished.`, { cause: error });
      case 'ELOOP':
        throw new PermanentError(`${what} leads through too many links.`, { cause: error });
      case 'ENAMETOOLONG':
        throw new PermanentError(`${what} has a name that is too long.`, { cause: error });
      default:
        throw error;
    }
  }
}

/** Runs a step that writes. A full disk stays an ordinary error: someone may make room before the next attempt. */
export async function writing<T>(what: string, step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (error) {
    switch (codeOf(error)) {
      case 'EACCES':
      case 'EPERM':
        throw new PermanentError(`${what} cannot be written: permission denied.`, { cause: error });
      case 'ENOSPC':
      case 'EDQUOT':
        throw new Error(`The disk of the target is full. ${what} was not written.`, { cause: error });
      case 'ENAMETOOLONG':
        throw new PermanentError(`${what} has a name that is too long.`, { cause: error });
      case 'EISDIR':
      case 'ENOTDIR':
        throw inTheWay(what, error);
      case 'EEXIST':
        // From open it means another attempt that is just beginning, which passes.
        if ((error as NodeJS.ErrnoException).syscall === 'mkdir') throw inTheWay(what, error);
        throw error;
      default:
        throw error;
    }
  }
}

/** The system's name of an error, such as `ENOENT`. */
export function codeOf(error: unknown): string | undefined {
  return (error as Partial<NodeJS.ErrnoException> | null | undefined)?.code;
}

function inTheWay(what: string, cause: unknown): PermanentError {
  return new PermanentError(`${what} cannot be written: something else has its name.`, { cause });
}
