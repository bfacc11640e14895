/** What the quickstart is to do. */
export interface QuickstartOptions {
  /** End after the main job was shown. */
  exit: boolean;
  /** Run the service under a watcher that starts it again when its code changes. */
  dev: boolean;
  port: number;
  databaseUrl: string | undefined;
  redisUrl: string | undefined;
}

const USAGE = 'Usage: npm run quickstart [-- --exit]';

/** Reads the arguments and PORT, DATABASE_URL and REDIS_URL; ends the process when they make no sense. */
export function readOptions(args: string[], env: NodeJS.ProcessEnv): QuickstartOptions {
  const unknown = args.find((arg) => !['--exit', '--dev'].includes(arg));
  if (unknown !== undefined) refuse(`"${unknown}" is not known. ${USAGE}`);
  const port = env['PORT'] || '3000';
  if (!/^\d{1,5}$/.test(port) || Number(port) < 1 || Number(port) > 65_535) {
    refuse('PORT must be a whole number from 1 to 65535.');
  }
  return {
    exit: args.includes('--exit'),
    dev: args.includes('--dev'),
    port: Number(port),
    databaseUrl: env['DATABASE_URL'] || undefined,
    redisUrl: env['REDIS_URL'] || undefined,
  };
}

function refuse(sentence: string): never {
  console.error(sentence);
  process.exit(2);
}
