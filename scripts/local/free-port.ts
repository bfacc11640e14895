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

/** @throws {LocalStackError} when a port of 127.0.0.1 is taken. */
export async function assertFree(port: number): Promise<void> {
  const taken = await new Promise<boolean>((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(true));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(false)));
  });
  if (taken) {
    throw new LocalStackError(
      `Port ${port} cannot be had: stop what uses it, or choose another, as in PORT=3001 npm run quickstart.`,
    );
  }
}
