import { Module } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { ApiKeyStore } from '../prisma/api-key-store.js';
import { TicketStore } from '../prisma/ticket-store.js';
import { DatabaseModule } from '../prisma/database.module.js';
import { AuthGuard } from './auth.guard.js';

/** Puts one guard before every route of the application. */
@Module({
  imports: [DatabaseModule],
  providers: [ApiKeyStore, TicketStore, AuthGuard, { provide: APP_GUARD, useExisting: AuthGuard }],
  exports: [ApiKeyStore, TicketStore, AuthGuard],
})
export class AuthModule {}
