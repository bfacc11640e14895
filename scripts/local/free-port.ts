import { createServer } from 'node:net';
import { LocalStackError } from './types.js';

/** A port of 127.0.0.1 that was free a moment ago; who binds it must be ready to lose the race. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      const port = typeof address === 'object' && address ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}

/** @throws {LocalStackError} when a port of 127.0.0.1 cannot be had. */
export async function assertFree(port: number): Promise<void> {
  const problem = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
    const server = createServer();
    server.once('error', resolve);
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(undefined)));
  });
  if (problem) throw portRefused(port, problem);
}

/** What to do about a port that could not be bound. */
export function portRefused(port: number, { code }: NodeJS.ErrnoException): LocalStackError {
  const reason = code === 'EADDRINUSE' ? 'is in use' : `cannot be had (${code})`;
  return new LocalStackError(
    `Port ${port} ${reason}: stop what uses it, or choose another, as in PORT=${port === 3001 ? 3002 : 3001} npm run quickstart.`,
  );
}
