import { createHmac } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { SettingsStore } from '@app/platform/prisma/settings-store.js';

/**
 * What cursors of the live feed are signed with: of this database, and of this life of it. When it was restored, numbers of
 * transactions are given again, and cursors from before are not to be believed.
 */
@Injectable()
export class LiveKey {
  private key: Promise<Buffer> | undefined;

  constructor(private readonly settings: SettingsStore) {}

  get(): Promise<Buffer> {
    this.key ??= this.read().catch((error: unknown) => {
      this.key = undefined;
      throw error;
    });
    return this.key;
  }

  private async read(): Promise<Buffer> {
    const [secret, incarnation = ''] = await Promise.all([
      this.settings.secret('live_cursor_key'),
      this.settings.find('database_incarnation'),
    ]);
    return createHmac('sha256', secret).update(incarnation).digest();
  }
}
