import { errors, type JWTPayload, type JWTVerifyGetKey, type JWTVerifyOptions, jwtVerify } from 'jose';
import { algorithmsOf, type JwtSettings } from '../config/jwt-settings.js';
import type { Logger } from '../observability/logger.js';
import { isKeyName, SCOPES } from './api-key.js';
import { AuthUnavailableError } from './auth-errors.js';
import { JwksKeys } from './jwks-keys.js';
import type { Principal } from './principal.js';

/** Characters, none of which is decoded in a longer one. */
const LONGEST_TOKEN = 8192;
const FORM = /^[\w-]+\.[\w-]+\.[\w-]+$/;

/** How far the clock of who makes tokens may be off, in seconds. */
const TOLERANCE_S = 60;
/** How far ahead the end of a token may be, in seconds: nobody means a hundred years, but the same number in milliseconds. */
const LONGEST_LIFE_S = 100 * 366 * 86_400;

/** Tells right JSON web tokens from wrong ones, by our settings alone. */
export class JwtVerifier {
  private readonly options: JWTVerifyOptions;

  constructor(
    private readonly settings: JwtSettings,
    private readonly keys: JWTVerifyGetKey,
    private readonly logger: Logger,
  ) {
    const { JWT_ISSUER: issuer, JWT_AUDIENCE: audience, JWT_TYPE: type } = settings;
    // Left out, they would not be checked, and nothing would tell.
    if (issuer === undefined || audience === undefined)
      throw new Error('Tokens need JWT_ISSUER and JWT_AUDIENCE.');
    this.options = {
      algorithms: algorithmsOf(settings),
      issuer,
      audience,
      clockTolerance: TOLERANCE_S,
      ...(type === 'at+jwt' ? { typ: type } : {}),
    };
  }

  /**
   * Who a token speaks for, or undefined for one that is not right; why is told at `debug`, and to nobody else.
   * @throws {AuthUnavailableError} when that cannot be told now
   */
  async verify(token: string): Promise<Principal | undefined> {
    if (token.length > LONGEST_TOKEN || !FORM.test(token)) return this.refused('form');
    try {
      const { payload, protectedHeader } = await jwtVerify(token, this.keys, this.options);
      const wrong = this.wrongClaim(payload, protectedHeader.typ);
      return wrong === undefined ? this.principalOf(payload) : this.refused('claim', wrong);
    } catch (error) {
      if (error instanceof AuthUnavailableError) throw error;
      // Whatever a token makes the library say is the fault of the token.
      const { code = 'other', claim } = error as Partial<errors.JWTClaimValidationFailed>;
      return this.refused(code, claim);
    }
  }

  /** The claim for which a token is refused that is signed, in time, of our issuer and for us. */
  private wrongClaim(payload: JWTPayload, typ: string | undefined): string | undefined {
    const now = Date.now() / 1000;
    if (payload.iat !== undefined && payload.iat > now + TOLERANCE_S) return 'iat';
    if (!(payload.exp !== undefined && payload.exp <= now + LONGEST_LIFE_S)) return 'exp';
    if (this.settings.JWT_TYPE === 'JWT' && !isAccessToken(payload, typ)) return 'typ';
    const owner = payload[this.settings.JWT_OWNER_CLAIM];
    return typeof owner === 'string' && isKeyName(owner) ? undefined : this.settings.JWT_OWNER_CLAIM;
  }

  private principalOf(payload: JWTPayload): Principal {
    const ownerId = String(payload[this.settings.JWT_OWNER_CLAIM]);
    const { sub, exp = 0 } = payload;
    const name = typeof sub === 'string' && isKeyName(sub) ? sub : ownerId;
    const scopes = scopesOf(payload[this.settings.JWT_SCOPE_CLAIM]);
    return { ownerId, actor: `jwt:${name}`, scopes, expiresAt: new Date(exp * 1000) };
  }

  private refused(code: string, name?: string): undefined {
    this.logger.debug({ code, name }, 'a token was refused');
  }
}

/** The verifier of these settings; null where no tokens are taken. */
export function jwtVerifierOf(settings: JwtSettings, logger: Logger): JwtVerifier | null {
  const { JWT_SECRET, JWT_JWKS_URL } = settings;
  if (JWT_SECRET !== undefined) {
    const secret = Buffer.from(JWT_SECRET);
    return new JwtVerifier(settings, () => secret, logger);
  }
  if (JWT_JWKS_URL === undefined) return null;
  return new JwtVerifier(settings, new JwksKeys(JWT_JWKS_URL, logger).find, logger);
}

/** Where tokens of both kinds are called JWT, the marks of id tokens tell them apart: they say who somebody is, to another. */
function isAccessToken({ at_hash, c_hash, token_use, typ }: JWTPayload, type = 'JWT'): boolean {
  const isJwt = ['jwt', 'at+jwt'].includes(type.toLowerCase().replace(/^application\//, ''));
  return isJwt && at_hash === undefined && c_hash === undefined && token_use !== 'id' && typ !== 'ID';
}

/** The scopes of ours that a claim names; an identity provider has others too. */
function scopesOf(claim: unknown): string[] {
  const named: unknown[] = typeof claim === 'string' ? claim.split(' ') : Array.isArray(claim) ? claim : [];
  return SCOPES.filter((scope) => named.includes(scope));
}
