import { Injectable } from '@nestjs/common';
import { createApiKey, hashSecret, type Scope } from '../auth/api-key.js';
import { Database, type PrismaClient } from './database.js';

/** A stored key, without its secret. */
export interface ApiKeyRecord {
  id: string;
  ownerId: string;
  secretHash: string;
  scopes: string[];
  expiresAt: Date | null;
  revokedAt: Date | null;
}

/** Makes a key for an owner and stores its hash; the returned text is not kept anywhere. */
export async function issueApiKey(
  client: PrismaClient,
  input: { ownerId: string; name: string; scopes: Scope[] },
): Promise<{ id: string; text: string }> {
  const key = createApiKey();
  await client.apiKey.create({ data: { ...input, id: key.id, secretHash: hashSecret(key.secret) } });
  return { id: key.id, text: key.text };
}

/** Finds API keys by their public id. */
@Injectable()
export class ApiKeyStore {
  constructor(private readonly database: Database) {}

  async find(id: string): Promise<ApiKeyRecord | null> {
    return this.database.main.apiKey.findUnique({ where: { id } });
  }
}
