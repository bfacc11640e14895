import { Module } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import type { Config } from '../config/config.js';
import { CONFIG } from '../config/config.module.js';
import { type Logger, LOGGER } from '../observability/logger.js';
import { ApiKeyStore } from '../prisma/api-key-store.js';
import { TicketStore } from '../prisma/ticket-store.js';
import { DatabaseModule } from '../prisma/database.module.js';
import { AuthGuard } from './auth.guard.js';
import { Credentials, JWT_VERIFIER } from './credentials.js';
import { jwtVerifierOf } from './jwt-verifier.js';

/** Puts one guard before every route of the application. */
@Module({
  imports: [DatabaseModule],
  providers: [
    ApiKeyStore,
    TicketStore,
    {
      provide: JWT_VERIFIER,
      inject: [CONFIG, LOGGER],
      useFactory: (config: Config, logger: Logger) => jwtVerifierOf(config, logger),
    },
    Credentials,
    { provide: APP_GUARD, useClass: AuthGuard },
  ],
  exports: [ApiKeyStore, TicketStore, Credentials],
})
export class AuthModule {}
