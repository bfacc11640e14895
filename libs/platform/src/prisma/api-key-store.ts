import { Injectable } from '@nestjs/common';
import { createApiKey, hashSecret, type Scope } from '../auth/api-key.js';
import { Database, type PrismaClient } from './database.js';

/** A stored key, without its secret. */
export interface ApiKeyRecord {
  id: string;
  ownerId: string;
  secretHash: string;
  scopes: string[];
  /** From where it may be used; from everywhere when there is none. */
  allowedCidrs: string[];
  expiresAt: Date | null;
  revokedAt: Date | null;
}

/** A key as it may be shown: neither the secret nor its hash. */
export interface ApiKeySummary extends Omit<ApiKeyRecord, 'secretHash'> {
  name: string;
  createdAt: Date;
}

/** What a new key is to be. Without `expiresAt` it holds until it is revoked, without `allowedCidrs` everywhere. */
export interface NewApiKey {
  ownerId: string;
  name: string;
  scopes: Scope[];
  allowedCidrs?: string[];
  expiresAt?: Date;
}

/** Which keys are wanted, newest first: those of an owner or all, after the one that ended the page before. */
export interface ApiKeyPage {
  limit: number;
  ownerId?: string;
  after?: string;
}

/** Listed one by one, so that a column that is added later is not shown by accident. */
const SHOWN = {
  id: true,
  ownerId: true,
  name: true,
  scopes: true,
  allowedCidrs: true,
  createdAt: true,
  expiresAt: true,
  revokedAt: true,
} as const;

/** Makes a key for an owner and stores its hash; the returned text is not kept anywhere. */
export async function issueApiKey(
  client: PrismaClient,
  input: NewApiKey,
): Promise<ApiKeySummary & { text: string }> {
  const key = createApiKey();
  const data = { ...input, id: key.id, secretHash: hashSecret(key.secret) };
  return { ...(await client.apiKey.create({ data, select: SHOWN })), text: key.text };
}

/** A page of keys, newest first. */
export function listApiKeys(
  client: PrismaClient,
  { limit, ownerId, after }: ApiKeyPage,
): Promise<ApiKeySummary[]> {
  return client.apiKey.findMany({
    select: SHOWN,
    where: ownerId === undefined ? {} : { ownerId },
    orderBy: [{ createdAt: 'desc' }, { id: 'desc' }],
    take: limit,
    ...(after === undefined ? {} : { cursor: { id: after }, skip: 1 }),
  });
}

/**
 * Revokes a key for good: every process refuses it within a few seconds (`AuthGuard`). A repeat leaves the first
 * moment as it is. Null when there is no such key.
 */
export async function revokeApiKey(client: PrismaClient, id: string): Promise<ApiKeySummary | null> {
  await client.apiKey.updateMany({ where: { id, revokedAt: null }, data: { revokedAt: new Date() } });
  return client.apiKey.findUnique({ where: { id }, select: SHOWN });
}

/** The API keys, by their public ids. */
@Injectable()
export class ApiKeyStore {
  constructor(private readonly database: Database) {}

  async find(id: string): Promise<ApiKeyRecord | null> {
    return this.database.main.apiKey.findUnique({ where: { id } });
  }

  /** Which of these keys are valid now. */
  async valid(ids: string[]): Promise<Set<string>> {
    const now = new Date();
    const found = await this.database.main.apiKey.findMany({
      select: { id: true },
      where: { id: { in: ids }, revokedAt: null, OR: [{ expiresAt: null }, { expiresAt: { gt: now } }] },
    });
    return new Set(found.map(({ id }) => id));
  }

  issue(input: NewApiKey): Promise<ApiKeySummary & { text: string }> {
    return issueApiKey(this.database.main, input);
  }

  list(page: ApiKeyPage): Promise<ApiKeySummary[]> {
    return listApiKeys(this.database.main, page);
  }

  revoke(id: string): Promise<ApiKeySummary | null> {
    return revokeApiKey(this.database.main, id);
  }
}
