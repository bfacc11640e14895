import { Global, Module } from '@nestjs/common';
import { CONFIG } from '../config/config.module.js';
import { LOGGER } from '../observability/logger.js';
import { Database } from './database.js';
import { SettingsStore } from './settings-store.js';

/** Provides the database. Imported by whoever uses it, and so closed after all of them. */
@Global()
@Module({
  providers: [{ provide: Database, inject: [CONFIG, LOGGER], useFactory: Database.open }, SettingsStore],
  exports: [Database, SettingsStore],
})
export class DatabaseModule {}
