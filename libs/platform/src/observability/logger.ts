import type { LoggerService } from '@nestjs/common';
import { type DestinationStream, type Logger, pino } from 'pino';
import { secretHider } from './hide-secrets.js';
import { showOnly } from './log-fields.js';

export type { Logger };

/** Injection token of the process's logger. */
export const LOGGER = Symbol('LOGGER');

/** What a log may show beside the fields that it always may, and what it must not. */
export interface LogRules {
  /** More fields, such as those that handlers write. */
  fields?: readonly string[];
  /** Texts that are hidden wherever they stand. */
  secrets?: readonly string[];
}

/**
 * JSON lines, on standard output unless a destination is given. Fields that are not on the list of `log-fields.ts` or in
 * `rules` are not shown, and credentials are hidden in all of the line, its message included.
 */
export function createLogger(
  level: string,
  fields: Record<string, unknown> = {},
  destination: DestinationStream = pino.destination(1),
  rules: LogRules = {},
): Logger {
  const show = showOnly(rules.fields);
  const options = {
    level,
    base: { pid: process.pid, ...fields },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }), log: show, bindings: show },
    // What is allowed of an error has been taken from it by then.
    serializers: { err: (error: unknown) => error },
    hooks: { streamWrite: secretHider(rules.secrets) },
  };
  const logger = pino(options, destination);
  // Pino does not ask the formatter of bindings for those of a child. Children inherit this, and so do theirs.
  const { child } = logger;
  logger.child = function (this: Logger, bindings: object, more?: object) {
    return child.call(this, show(bindings), more as undefined);
  } as typeof child;
  return logger;
}

/** Lets Nest's own messages go through the process's logger. */
export class NestLogger implements LoggerService {
  constructor(private readonly logger: Logger) {}

  log(message: unknown, ...rest: unknown[]): void {
    // Nest tells of every module and route at boot; that is detail.
    this.logger.debug({ context: rest.at(-1) }, String(message));
  }
  error(message: unknown, ...rest: unknown[]): void {
    this.logger.error(
      { context: rest.at(-1), stack: rest.length > 1 ? rest[0] : undefined },
      String(message),
    );
  }
  warn(message: unknown, ...rest: unknown[]): void {
    this.logger.warn({ context: rest.at(-1) }, String(message));
  }
  debug(message: unknown, ...rest: unknown[]): void {
    this.logger.debug({ context: rest.at(-1) }, String(message));
  }
  verbose(message: unknown, ...rest: unknown[]): void {
    this.logger.trace({ context: rest.at(-1) }, String(message));
  }
}
