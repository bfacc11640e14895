import { createHmac, createPublicKey, generateKeyPairSync, type JsonWebKey, sign } from 'node:crypto';
import { type IdentityProvider, now, part } from '../../support/identity-provider.js';

const foreign = generateKeyPairSync('rsa', { modulusLength: 2048 });
const jwk = () => foreign.publicKey.export({ format: 'jwk' });

/** Who signs, and an address that nobody is to ask; both are there when the first token is made. */
interface World {
  provider: IdentityProvider;
  stranger: string;
}

/** Tokens that are wrong in one way each, and how each is made. */
export function wrongTokens(world: World): [way: string, make: () => string | Promise<string>][] {
  /** Signed by our provider, as it is written: the library would refuse to make some. */
  const signed = (payload: unknown, header: object = {}) => {
    const { kid, privateKey } = world.provider.keys[0]!;
    const text = `${part({ alg: 'RS256', kid, typ: 'at+jwt', ...header })}.${part(payload)}`;
    return `${text}.${sign('sha256', Buffer.from(text), privateKey as never).toString('base64url')}`;
  };
  /** Signed by somebody else. */
  const forged = (header: object) => {
    const text = `${part({ alg: 'RS256', typ: 'at+jwt', ...header })}.${part(world.provider.claims())}`;
    return `${text}.${sign('sha256', Buffer.from(text), foreign.privateKey).toString('base64url')}`;
  };
  /** Signed with a text that is no secret. */
  const hs256 = (secret: string) => {
    const text = `${part({ alg: 'HS256', kid: 'first', typ: 'at+jwt' })}.${part(world.provider.claims())}`;
    return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
  };
  const unsigned = (alg: string) => `${part({ alg, typ: 'at+jwt' })}.${part(world.provider.claims())}.`;
  const publicPem = () =>
    createPublicKey({ key: world.provider.keys[0]!.jwk as JsonWebKey, format: 'jwk' }).export({
      type: 'spki',
      format: 'pem',
    }) as string;
  const at = (path: string) => `${world.stranger}${path}`;
  return Object.entries({
    'input 10: alg none': () => unsigned('none'),
    'input 10: alg None': () => unsigned('None'),
    'input 10: alg nOnE': () => unsigned('nOnE'),
    'input 10: alg none with a signature': () => `${unsigned('none')}AAAA`,
    'input 10: an alg that is not allowed': () => world.provider.sign({}, {}, world.provider.keys[1]),
    'input 11: HS256 with the public key as PEM': () => hs256(publicPem()),
    'input 11: HS256 with the public key as JWK': () => hs256(JSON.stringify(world.provider.keys[0]!.jwk)),
    'input 11: HS256 with nothing': () => hs256(''),
    'input 12: an unknown kid': () => world.provider.sign({}, { kid: 'unknown' }),
    'input 13: a kid that is a path': () => world.provider.sign({}, { kid: '../../etc/passwd' }),
    'input 13: a kid that is SQL': () => world.provider.sign({}, { kid: `' OR 1=1--` }),
    'input 13: a kid of 5 kB': () => world.provider.sign({}, { kid: 'k'.repeat(5_000) }),
    'input 13: a kid of 10 kB': () => world.provider.sign({}, { kid: 'k'.repeat(10_000) }),
    'input 13: a kid that is no text': () => signed(world.provider.claims(), { kid: { first: 1 } }),
    'input 14: a jwk in the head': () => forged({ jwk: jwk() }),
    'input 14: a jwk and our kid': () => forged({ kid: 'first', jwk: jwk() }),
    'input 14: a jku in the head': () => forged({ kid: 'first', jku: at('/keys') }),
    'input 14: an x5u in the head': () => forged({ x5u: at('/cert') }),
    'input 14: a kid that is an address': () => forged({ kid: at('/keys') }),
    'input 15: another issuer': () => world.provider.sign({ iss: 'https://evil.example/' }),
    'input 15: our issuer and more': () => world.provider.sign({ iss: `${world.provider.issuer}x` }),
    'input 15: our issuer in a list': () =>
      signed({ ...world.provider.claims(), iss: [world.provider.issuer] }),
    'input 15: no issuer': () => world.provider.sign({ iss: undefined }),
    'input 16: another audience': () => world.provider.sign({ aud: 'other' }),
    'input 16: other audiences': () => world.provider.sign({ aud: ['other', 'longhaul-2'] }),
    'input 16: no audience': () => world.provider.sign({ aud: undefined }),
    'input 17, C51: ended 61 s ago': () => world.provider.sign({ exp: now() - 61 }),
    'input 18: valid in 600 s': () => world.provider.sign({ nbf: now() + 600 }),
    'input 18: made in 600 s': () => world.provider.sign({ iat: now() + 600 }),
    'input 18, C51: no end': () => world.provider.sign({ exp: undefined }),
    'input 18, C51: an end that is text': () => signed({ ...world.provider.claims(), exp: '2999-01-01' }),
    'C51: an end that is a number as text': () =>
      signed({ ...world.provider.claims(), exp: String(now() + 60) }),
    'C51: an end in milliseconds': () => world.provider.sign({ exp: Date.now() + 60_000 }),
    'C51: a time of issue in milliseconds': () => world.provider.sign({ iat: Date.now() }),
    'C51: made in a year': () => world.provider.sign({ iat: now() + 31_536_000, exp: now() + 63_072_000 }),
    'input 18: an end beyond all times': () => signed({ ...world.provider.claims(), exp: 1e300 }),
    'input 19: typ JWT': () => world.provider.sign({}, { typ: 'JWT' }),
    'input 19: no typ': () => world.provider.sign({}, { typ: undefined }),
    'input 20: no owner': () => world.provider.sign({ sub: undefined }),
    'input 20: an owner that is a list': () => signed({ ...world.provider.claims(), sub: ['alice'] }),
    'input 20: an owner that is empty': () => world.provider.sign({ sub: '' }),
    'input 20: an owner that is an object': () => signed({ ...world.provider.claims(), sub: { not: 'x' } }),
    'input 20: an owner that is a number': () => signed({ ...world.provider.claims(), sub: 7 }),
    'input 20: an owner with a line break': () => world.provider.sign({ sub: 'a\nb' }),
    'input 20: an owner with NUL': () => world.provider.sign({ sub: 'a\0' }),
    'input 20: an owner of 201 characters': () => world.provider.sign({ sub: 'a'.repeat(201) }),
    'input 21: of more than 8 kB, though right': () => world.provider.sign({ more: 'x'.repeat(6_200) }),
    'input 21: four dots': async () => `${await world.provider.sign()}.x.y`,
    'input 21: not base64': () => 'eyJ!.@@.##',
    'input 21: no JSON': () => `${Buffer.from('{').toString('base64url')}.e30.AAAA`,
    'input 21: claims that are a list': () => signed([world.provider.claims()]),
    'input 21: an unknown crit': () => signed(world.provider.claims(), { crit: ['x'], x: 1 }),
    'input 21: a crit that is empty': () => signed(world.provider.claims(), { crit: [] }),
    'input 21: claims that are not encoded': () =>
      signed(world.provider.claims(), { crit: ['b64'], b64: false }),
    'input 21: a changed claim': async () => {
      const [head, , signature] = (await world.provider.sign()).split('.');
      return `${head}.${part(world.provider.claims({ sub: 'bob' }))}.${signature}`;
    },
    'input 21: no signature': async () =>
      `${(await world.provider.sign()).split('.').slice(0, 2).join('.')}.`,
  });
}
