import { createApiKey, hashSecret, type Scope } from '@app/platform/auth/api-key.js';
import type { ApiKeyRecord, ApiKeyStore } from '@app/platform/prisma/api-key-store.js';
import type { TicketStore } from '@app/platform/prisma/ticket-store.js';

/** Keys in memory, and how often they were asked for. */
export class KeysInMemory implements Pick<ApiKeyStore, 'find'> {
  readonly records = new Map<string, ApiKeyRecord>();
  queries: string[] = [];

  async find(id: string): Promise<ApiKeyRecord | null> {
    this.queries.push(id);
    const record = this.records.get(id);
    return record ? { ...record } : null;
  }

  add(scopes: Scope[], more: Partial<ApiKeyRecord> = {}): { id: string; text: string } {
    const { id, secret, text } = createApiKey();
    const none = { allowedCidrs: [], expiresAt: null, revokedAt: null };
    this.records.set(id, { id, ownerId: 'ann', secretHash: hashSecret(secret), scopes, ...none, ...more });
    return { id, text };
  }
}

/** Where no ticket was issued. */
export const noTickets = { claim: async () => undefined } as unknown as TicketStore;
