import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair, type JWK, type JWTPayload, SignJWT } from 'jose';

type PrivateKey = Awaited<ReturnType<typeof generateKeyPair>>['privateKey'];

interface SigningKey {
  kid: string;
  alg: string;
  privateKey: PrivateKey;
  jwk: JWK;
}

/** A part of a token. */
export const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
/** In seconds, as tokens have it. */
export const now = () => Math.floor(Date.now() / 1000);

/** An identity provider: it has keys, tells the public ones at an address, and signs tokens. */
export class IdentityProvider {
  readonly issuer = 'https://idp.example/';
  readonly audience = 'longhaul';
  /** Requests that came to its address so far. */
  requests = 0;
  /** Answers in its place, when set. */
  instead: RequestListener | undefined;
  keys: SigningKey[] = [];
  private server: Server;
  private port = 0;

  private constructor() {
    this.server = this.newServer();
  }

  static async start(alg = 'RS256'): Promise<IdentityProvider> {
    const provider = new IdentityProvider();
    await provider.addKey('first', alg);
    await provider.up();
    return provider;
  }

  /** Where its keys are. */
  get url(): string {
    return `http://127.0.0.1:${this.port}/keys`;
  }

  async addKey(kid: string, alg = 'RS256'): Promise<void> {
    const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
    this.keys.push({ kid, alg, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' } });
  }

  /** Is there, at the address that it had before. */
  async up(): Promise<void> {
    this.server = this.newServer().listen(this.port, '127.0.0.1');
    await once(this.server, 'listening');
    this.port = (this.server.address() as AddressInfo).port;
  }

  /** Refuses connections. */
  async down(): Promise<void> {
    if (!this.server.listening) return;
    const closed = once(this.server, 'close');
    this.server.close();
    this.server.closeAllConnections();
    await closed;
  }

  /** Claims of an access token that is right. */
  claims(more: JWTPayload = {}): JWTPayload {
    const times = { iat: now(), exp: now() + 600 };
    return {
      iss: this.issuer,
      aud: this.audience,
      sub: 'alice',
      scope: 'jobs:read jobs:write',
      ...times,
      ...more,
    };
  }

  /** A token that is right but for what is given; a claim or parameter that is undefined is left out. */
  sign(claims: JWTPayload = {}, header: object = {}, by = this.keys[0]!): Promise<string> {
    const { alg, kid, privateKey } = by;
    return new SignJWT(this.claims(claims))
      .setProtectedHeader({ alg, kid, typ: 'at+jwt', ...header })
      .sign(privateKey);
  }

  private newServer(): Server {
    return createServer((request, response) => {
      this.requests++;
      if (this.instead) return this.instead(request, response);
      response.setHeader('content-type', 'application/jwk-set+json');
      response.end(JSON.stringify({ keys: this.keys.map(({ jwk }) => jwk) }));
    });
  }
}
