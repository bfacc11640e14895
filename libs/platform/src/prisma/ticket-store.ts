import { randomBytes } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { hashSecret } from '../auth/api-key.js';
import type { Principal } from '../auth/principal.js';
import { Database } from './database.js';

/** How long a ticket holds, in milliseconds. */
const HOLDS_MS = 30_000;
const PATTERN = /^[\w-]{43}$/;

interface Row {
  ownerId: string;
  actor: string;
  keyId: string | null;
  scopes: string[];
  credentialExpiresAt: Date | null;
  fresh: boolean;
}

/**
 * Tickets let somebody in once, in place of a credential that they have shown a moment ago: for browsers, which send no
 * headers with a WebSocket, and for addresses, where a key must never stand. Any process takes what another one has issued.
 */
@Injectable()
export class TicketStore {
  constructor(private readonly database: Database) {}

  /** A ticket for who has shown a credential; it is not kept, only its hash is. Those that nobody has used are forgotten. */
  async issue({
    ownerId,
    actor,
    scopes,
    expiresAt,
    keyId,
  }: Principal): Promise<{ ticket: string; expiresAt: Date }> {
    const ticket = randomBytes(32).toString('base64url');
    const [row] = await this.database.main.$queryRaw<{ expiresAt: Date }[]>`
      WITH old AS (
        DELETE FROM live_tickets WHERE hash = ANY(ARRAY(
          SELECT hash FROM live_tickets WHERE expires_at < clock_timestamp() LIMIT 100 FOR UPDATE SKIP LOCKED
        ))
      )
      INSERT INTO live_tickets (hash, owner_id, actor, key_id, scopes, credential_expires_at, expires_at)
      VALUES (${hashSecret(ticket)}, ${ownerId}, ${actor}, ${keyId ?? null}, ${[...scopes]}::text[], ${expiresAt ?? null}::timestamptz,
        clock_timestamp() + make_interval(secs => ${HOLDS_MS / 1000}::float8))
      RETURNING expires_at AS "expiresAt"`;
    if (!row) throw new Error('A ticket was not written.');
    return { ticket, expiresAt: row.expiresAt };
  }

  /** Who the ticket was issued to, once; undefined when it is unknown, used or too old, or its credential holds no more. */
  async claim(ticket: string): Promise<Principal | undefined> {
    if (!PATTERN.test(ticket)) return undefined;
    const [row] = await this.database.main.$queryRaw<Row[]>`
      DELETE FROM live_tickets t WHERE hash = ${hashSecret(ticket)}
      RETURNING owner_id AS "ownerId", actor, key_id AS "keyId", scopes, credential_expires_at AS "credentialExpiresAt",
        expires_at > clock_timestamp() AND COALESCE(credential_expires_at > clock_timestamp(), true)
          AND (key_id IS NULL OR EXISTS (
            SELECT FROM api_keys k WHERE k.id = t.key_id AND k.revoked_at IS NULL
              AND COALESCE(k.expires_at > clock_timestamp(), true)
          )) AS fresh`;
    if (!row?.fresh) return undefined;
    const { ownerId, actor, keyId, scopes, credentialExpiresAt } = row;
    return {
      ownerId,
      actor,
      scopes,
      ...(keyId === null ? {} : { keyId }),
      ...(credentialExpiresAt ? { expiresAt: credentialExpiresAt } : {}),
    };
  }
}
