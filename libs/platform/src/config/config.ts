import { availableParallelism } from 'node:os';
import { isIP } from 'node:net';
import { delimiter, isAbsolute } from 'node:path';
import { z } from 'zod';
import { isMailAddress, isSender } from '../mail/mail-address.js';
import { isCron } from './cron.js';
import { JWT_ENVIRONMENT, jwtFaults } from './jwt-settings.js';
import { isSandbox } from './sandbox-environment.js';

export const SERVICE_TYPES = ['api', 'task-worker', 'all'] as const;

/** A boot that cannot go on. The message names each bad variable and what it takes, never what it held. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

const duration = (fallback: string, least: string, most: string) =>
  z
    .string()
    .regex(/^\d{1,9}(ms|s|m|h|d)$/)
    .default(fallback)
    .transform(toMs)
    .refine((ms) => ms >= toMs(least) && ms <= toMs(most))
    .meta({ takes: `a duration from ${least} to ${most}, such as ${fallback}` });

function toMs(text: string): number {
  const [, count, unit] = /^(\d+)([a-z]+)$/.exec(text) ?? [];
  return Number(count) * (UNITS[unit ?? ''] ?? Number.NaN);
}

const whole = (fallback: number, least: number, most: number) =>
  z
    .string()
    .regex(/^\d{1,9}$/)
    .default(String(fallback))
    .transform(Number)
    .refine((count) => count >= least && count <= most)
    .meta({ takes: `a whole number from ${least} to ${most}` });

const count = (most: number) =>
  z
    .string()
    .regex(/^\d{1,9}$/)
    .transform(Number)
    .refine((value) => value >= 1 && value <= most)
    .meta({ takes: `a whole number from 1 to ${most}` });

const listOf = (accepts: (item: string) => boolean, takes: string) =>
  z
    .string()
    .transform((text) => text.split(',').map((item) => item.trim()))
    .refine((list) => list.every(accepts))
    .meta({ takes });

function isOrigin(text: string): boolean {
  return URL.canParse(text) && /^https?:/.test(text) && new URL(text).origin === text;
}

function isNetwork(text: string): boolean {
  const [address = '', bits, ...more] = text.split('/');
  const family = isIP(address);
  const most = family === 6 ? 128 : 32;
  return (
    family !== 0 &&
    more.length === 0 &&
    (bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= most))
  );
}

function isNameServer(text: string): boolean {
  const [, address = '', port] = /^(?:\[(.+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(text)?.filter(Boolean) ?? [];
  return isIP(isIP(text) === 0 ? address : text) !== 0 && (port === undefined || Number(port) <= 65_535);
}

const url = (...protocols: string[]) =>
  z
    .string()
    .refine((text) => URL.canParse(text) && protocols.includes(new URL(text).protocol.slice(0, -1)))
    .meta({ takes: `a URL that begins with ${protocols.map((name) => `${name}://`).join(' or ')}` });

const tags = z
  .string()
  .transform((text) => text.split(',').map((tag) => tag.trim()))
  .refine((list) => list.every((tag) => /^[a-z][a-z0-9-]{0,39}$/.test(tag)))
  .meta({ takes: 'a list of tags separated by commas (leave it out to hold every tag)' });

const names = z
  .string()
  .default('')
  .transform((text) =>
    text
      .split(',')
      .map((name) => name.trim())
      .filter((name) => name !== ''),
  )
  .refine((list) => list.every((name) => /^[a-zA-Z]\w{0,99}$/.test(name)))
  .meta({ takes: 'names of fields separated by commas' });

const roots = z
  .string()
  .default('')
  .transform((text) => text.split(delimiter).filter((root) => root !== ''))
  .refine((list) => list.every(isAbsolute))
  .meta({ takes: `absolute folders separated by "${delimiter}"` });

/** Every variable that the service reads. */
export const ENVIRONMENT = z.object({
  SERVICE_TYPE: z.enum(SERVICE_TYPES).meta({ takes: `one of ${SERVICE_TYPES.join(', ')}` }),
  HOST: z.string().min(1).default('0.0.0.0').meta({ takes: 'an address to listen on' }),
  PORT: whole(3000, 0, 65_535),
  METRICS_PORT: z
    .string()
    .regex(/^\d{1,5}$/)
    .transform(Number)
    .refine((port) => port >= 1 && port <= 65_535)
    .optional()
    .meta({ takes: 'a port from 1 to 65535' }),
  BODY_LIMIT: whole(256 * 1024, 1024, 100_000_000),
  REQUEST_TIMEOUT: duration('30s', '1s', '10m'),
  CORS_ORIGINS: listOf(isOrigin, 'origins such as https://app.example.com separated by commas').optional(),
  TRUST_PROXY: listOf(isNetwork, 'addresses and networks such as 10.0.0.0/8 separated by commas').optional(),
  LIVE_CONNECTIONS: whole(50, 1, 100_000),
  LIVE_HEARTBEAT: duration('30s', '100ms', '10m'),
  LIVE_BUFFER: whole(1024 * 1024, 16 * 1024, 100_000_000),
  RATE_LIMIT: count(1_000_000).optional(),
  RATE_BURST: count(1_000_000).optional(),
  MAX_OPEN_JOBS: count(9_999_999).optional(),
  MAX_OPEN_TASKS: count(99_999_999).optional(),
  ...JWT_ENVIRONMENT,
  MAX_SCHEDULES: whole(1000, 1, 9_999_999),
  SCHEDULE_MIN_INTERVAL: duration('5s', '1s', '1d'),
  DATABASE_URL: url('postgres', 'postgresql'),
  DATABASE_POOL: whole(10, 2, 200),
  REDIS_URL: url('redis', 'rediss'),
  REDIS_PREFIX: z
    .string()
    .regex(/^[a-z0-9-]{1,50}$/)
    .default('lh')
    .meta({ takes: 'lower-case letters, digits and dashes' }),
  MAX_CONCURRENT_TASKS: whole(availableParallelism(), 1, 1000),
  MAX_SANDBOXES: whole(availableParallelism(), 1, 1000),
  WORKER_TAGS: tags.optional(),
  MAX_ACTIVE_PER_OWNER: z
    .string()
    .regex(/^\d{1,7}$/)
    .transform(Number)
    .refine((count) => count >= 1)
    .optional()
    .meta({ takes: 'a whole number from 1 to 9999999' }),
  PRIORITY_AGEING: duration('1m', '0ms', '30d'),
  LEASE: duration('10s', '500ms', '10m'),
  SWEEP_INTERVAL: duration('250ms', '10ms', '1m'),
  SYNC_CRON: z
    .string()
    .refine(isCron)
    .default('*/5 * * * * *')
    .meta({ takes: 'a cron expression of five or six fields' }),
  FINALIZE_LIMIT: duration('24h', '1s', '365d'),
  RETENTION: duration('30d', '1s', '3650d'),
  SHUTDOWN_GRACE: duration('20s', '0ms', '10m'),
  CATALOG_URL: url('http', 'https').optional(),
  CATALOG_TOKEN: z
    .string()
    .regex(/^[\x21-\x7e]+$/)
    .optional()
    .meta({ takes: 'printable ASCII characters without spaces' }),
  CATALOG_TIMEOUT: duration('10s', '10ms', '5m'),
  CATALOG_LINK_URL: url('http', 'https').optional(),
  CATALOG_LINK_NAME: z.string().min(1).optional().meta({ takes: 'a name' }),
  CATALOG_LINK_DESCRIPTION: z.string().optional().meta({ takes: 'a text' }),
  CATALOG_LINK_PROTOCOL: z.string().min(1).default('3DTiles').meta({ takes: 'a protocol name' }),
  PUBLIC_URL: url('http', 'https').optional(),
  SMTP_URL: url('smtp', 'smtps').optional(),
  MAIL_FROM: z
    .string()
    .refine(isSender)
    .optional()
    .meta({ takes: 'an address such as jobs@example.com, or Name <jobs@example.com>' }),
  MAIL_TO: listOf(isMailAddress, 'addresses such as ops@example.com separated by commas').optional(),
  MAIL_RATE: whole(10, 1, 100_000),
  MAIL_WINDOW: duration('1h', '1s', '24h'),
  MAIL_TIMEOUT: duration('20s', '100ms', '2m'),
  NOTIFY_ON: z
    .enum(['failure', 'completion'])
    .default('failure')
    .meta({ takes: 'failure, or completion for both' }),
  NOTICE_RETRY: duration('5s', '1ms', '10m'),
  WEBHOOK_TIMEOUT: duration('10s', '100ms', '1m'),
  WEBHOOK_ALLOWED_NETWORKS: listOf(
    isNetwork,
    'addresses and networks such as 10.0.0.0/8 separated by commas',
  ).optional(),
  WEBHOOK_DNS: listOf(isNameServer, 'addresses of name servers separated by commas').optional(),
  INGEST_ROOTS: roots,
  LOG_LEVEL: z
    .enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'])
    .default('info')
    .meta({ takes: 'fatal, error, warn, info, debug, trace or silent' }),
  LOG_FIELDS: names,
});

export type Environment = z.output<typeof ENVIRONMENT>;

/** The validated settings of this process. Durations are in milliseconds. */
export type Config = Environment & {
  runsTasks: boolean;
  servesApi: boolean;
  /** Whether this process runs one task for the worker that has started it, and nothing else. */
  sandboxed: boolean;
  /** The variables as they were given, for a process that is to have the same settings. */
  given: Record<string, string>;
};

/**
 * Reads and checks the settings.
 * @throws {ConfigError} naming every bad variable.
 */
export function loadConfig(env: Record<string, string | undefined> = process.env): Config {
  // An empty variable is what a compose file makes of an unset one, except where a list must not be empty.
  const given: Record<string, string> = {};
  for (const name of Object.keys(ENVIRONMENT.shape)) {
    const value = env[name];
    if (value !== undefined && (value !== '' || name === 'WORKER_TAGS')) given[name] = value;
  }
  const parsed = ENVIRONMENT.safeParse(given);
  if (!parsed.success)
    throw new ConfigError(
      describe([...new Set(parsed.error.issues.map((issue) => String(issue.path[0])))], given),
    );
  const config = parsed.data;
  const faults = jwtFaults(config);
  if (faults.length > 0) throw new ConfigError(faults.join('\n'));
  const sandboxed = isSandbox(env);
  const runsTasks = !sandboxed && config.SERVICE_TYPE !== 'api';
  if (runsTasks && config.CATALOG_URL === undefined) {
    throw new ConfigError(
      `CATALOG_URL is not set: with SERVICE_TYPE=${config.SERVICE_TYPE} it must be ${takes('CATALOG_URL')}.`,
    );
  }
  if (config.SMTP_URL !== undefined && config.MAIL_FROM === undefined) {
    throw new ConfigError(`MAIL_FROM is not set: with SMTP_URL it must be ${takes('MAIL_FROM')}.`);
  }
  const servesApi = !sandboxed && config.SERVICE_TYPE !== 'task-worker';
  return { ...config, runsTasks, servesApi, sandboxed, given };
}

function describe(names: string[], given: Record<string, unknown>): string {
  return names
    .map(
      (name) =>
        `${name} ${given[name] === undefined ? 'is not set: it' : 'is not valid: it'} must be ${takes(name)}.`,
    )
    .join('\n');
}

function takes(name: string): string {
  const schema: z.ZodType | undefined = ENVIRONMENT.shape[name as keyof typeof ENVIRONMENT.shape];
  return String(metaOf(schema)?.['takes'] ?? 'something else');
}

function metaOf(schema: z.ZodType | undefined): Record<string, unknown> | undefined {
  if (schema === undefined) return undefined;
  return (
    schema.meta() ?? (schema instanceof z.ZodOptional ? metaOf(schema.unwrap() as z.ZodType) : undefined)
  );
}
