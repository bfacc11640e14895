import { startCatalog } from './catalog-server.js';

const DEFAULT_PORT = 3100;

/** The port of the environment's PORT; throws an error that names the variable when it is not one. */
function readPort(text: string | undefined): number {
  // A compose file makes an empty variable of an unset one.
  if (text === undefined || text === '') return DEFAULT_PORT;
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (!(port >= 0 && port <= 65_535)) throw new Error('PORT must be a whole number from 0 to 65535.');
  return port;
}

try {
  const port = readPort(process.env['PORT']);
  const host = process.env['HOST'] || '127.0.0.1';
  const catalog = await startCatalog({ port, host, log: (line) => console.log(line) }).catch(
    (error: unknown) => {
      const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
      throw new Error(`Cannot listen on HOST ${host}, PORT ${port}: ${code}.`, { cause: error });
    },
  );
  console.log(`catalog listening on ${catalog.url}`);
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void catalog.stop());
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
