import { randomBytes } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { Database } from './database.js';

/** Facts that all processes of one database share. */
@Injectable()
export class SettingsStore {
  constructor(private readonly database: Database) {}

  /** A random secret of 32 bytes: that of the first process that has asked for it. */
  async secret(key: string): Promise<Buffer> {
    const made = randomBytes(32).toString('base64url');
    await this.database.main.$executeRaw`
      INSERT INTO settings (key, value) VALUES (${key}, ${made}) ON CONFLICT DO NOTHING`;
    const [row] = await this.database.main.$queryRaw<{ value: string }[]>`
      SELECT value FROM settings WHERE key = ${key}`;
    return Buffer.from(row?.value ?? made, 'base64url');
  }

  /** A fact; undefined when nobody has stated it. */
  async find(key: string): Promise<string | undefined> {
    const [row] = await this.database.main.$queryRaw<{ value: string }[]>`
      SELECT value FROM settings WHERE key = ${key}`;
    return row?.value;
  }
}
