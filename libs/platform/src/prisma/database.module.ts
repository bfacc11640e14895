import { Global, Module } from '@nestjs/common';
import { Database } from './database.js';

/** Provides the database. Imported by whoever uses it, and so closed after all of them. */
@Global()
@Module({ providers: [Database], exports: [Database] })
export class DatabaseModule {}
