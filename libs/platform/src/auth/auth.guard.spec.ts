import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { Reflector } from '@nestjs/core';
import { ExecutionContextHost } from '@nestjs/core/helpers/execution-context-host.js';
import { KeysInMemory, noTickets } from '../../../../test/support/keys-in-memory.js';
import type { ApiKeyStore } from '../prisma/api-key-store.js';
import { createApiKey, type Scope, SCOPES } from './api-key.js';
import {
  AmbiguousCredentialsError,
  InsufficientScopeError,
  TooManyFailuresError,
  UnauthenticatedError,
} from './auth-errors.js';
import { AuthGuard } from './auth.guard.js';
import { Credentials } from './credentials.js';
import { CurrentPrincipal, type Principal, Public, RequiresScope } from './principal.js';

class Routes {
  @RequiresScope('jobs:read') read() {}
  @RequiresScope('jobs:write') write() {}
  @RequiresScope('schedules:write') schedule() {}
  @RequiresScope('admin') administer() {}
  @Public() health() {}
  forgotten() {}
}

@RequiresScope('jobs:read')
class ReadRoutes {
  inherited() {}
  @RequiresScope('jobs:write') stricter() {}
  @Public() open() {}
}

type Headers = Record<string, string | string[] | undefined>;

describe('the guard', () => {
  let keys: KeysInMemory;
  let guard: AuthGuard;

  beforeEach(() => {
    jest.useFakeTimers({ now: Date.UTC(2030, 0, 1) });
    keys = new KeysInMemory();
    guard = new AuthGuard(new Reflector(), new Credentials(keys as unknown as ApiKeyStore, noTickets, null));
  });
  afterEach(() => {
    jest.useRealTimers();
  });

  function call(headers: Headers, route: () => void, controller: new () => object = Routes) {
    const request = { headers };
    const context = new ExecutionContextHost([request], controller, route);
    return { request, answer: guard.canActivate(context) };
  }
  const { read, write, schedule, administer, health, forgotten } = Routes.prototype;
  const answerTo = (headers: Headers, route = read) => call(headers, route).answer;

  test.each(['Bearer', 'bearer', 'BEARER'])('takes a key from Authorization: %s', async (scheme) => {
    const { text } = keys.add(['jobs:read']);
    await expect(answerTo({ authorization: `${scheme} ${text}` })).resolves.toBe(true);
  });

  test('takes a key from X-API-Key', async () => {
    const { text } = keys.add(['jobs:read']);
    await expect(answerTo({ 'x-api-key': text })).resolves.toBe(true);
  });

  test('tells the route who calls, and as which key', async () => {
    const { id, text } = keys.add(['jobs:read', 'jobs:write']);
    const { request, answer } = call({ 'x-api-key': text }, read);
    await answer;
    expect(principalOf(request)).toEqual({
      ownerId: 'ann',
      actor: `key:${id}`,
      keyId: id,
      scopes: ['jobs:read', 'jobs:write'],
    });
  });

  test('refuses two credentials, even two that are right', async () => {
    const { text } = keys.add(['admin']);
    const both = { authorization: `Bearer ${text}`, 'x-api-key': text };
    await expect(answerTo(both)).rejects.toThrow(AmbiguousCredentialsError);
    expect(keys.queries).toEqual([]);
  });

  test.each<[string, (text: string) => Headers]>([
    ['no header', () => ({})],
    ['an empty X-API-Key', () => ({ 'x-api-key': '' })],
    ['X-API-Key twice', (text) => ({ 'x-api-key': [text, text] })],
    ['X-API-Key twice in one', (text) => ({ 'x-api-key': `${text}, ${text}` })],
    ['a key without a scheme', (text) => ({ authorization: text })],
    ['the scheme Basic', (text) => ({ authorization: `Basic ${text}` })],
    ['a Bearer without a key', () => ({ authorization: 'Bearer ' })],
    ['a Bearer with two keys', (text) => ({ authorization: `Bearer ${text} ${text}` })],
    ['a scheme that ends in Bearer', (text) => ({ authorization: `XBearer ${text}` })],
    ['a key cut short', (text) => ({ 'x-api-key': text.slice(0, -1) })],
  ])('refuses %s without a query', async (_what, headers) => {
    const { text } = keys.add(['admin']);
    await expect(answerTo(headers(text))).rejects.toThrow(UnauthenticatedError);
    expect(keys.queries).toEqual([]);
  });

  test('says the same of an unknown, wrong, revoked and expired key', async () => {
    const right = keys.add(['admin']);
    const wrong = createApiKey();
    keys.records.set(wrong.id, { ...keys.records.get(right.id)!, id: wrong.id });
    const presented = [
      createApiKey().text,
      wrong.text,
      keys.add(['admin'], { revokedAt: new Date(Date.now() - 1) }).text,
      keys.add(['admin'], { expiresAt: new Date(Date.now() - 1) }).text,
      keys.add(['admin'], { expiresAt: new Date() }).text,
    ];
    const said = presented.map((text) => answerTo({ 'x-api-key': text }).catch((error: unknown) => error));
    expect(await Promise.all(said)).toEqual(presented.map(() => new UnauthenticatedError(true)));
    expect(keys.queries).toHaveLength(presented.length);
  });

  test('asks for a known id with a wrong secret as for an unknown one, every time (input 4)', async () => {
    const right = keys.add(['admin']);
    const wrong = createApiKey();
    keys.records.set(wrong.id, { ...keys.records.get(right.id)!, id: wrong.id });
    for (let round = 0; round < 3; round++) {
      await expect(answerTo({ 'x-api-key': wrong.text })).rejects.toThrow(UnauthenticatedError);
    }
    expect(keys.queries).toHaveLength(3);
  });

  test('says after many wrong keys from one address to wait, and still takes a right one (input 23)', async () => {
    const { text } = keys.add(['admin']);
    for (let round = 0; round < 100; round++) {
      await expect(answerTo({ 'x-api-key': 'wrong' })).rejects.toThrow(UnauthenticatedError);
    }
    await expect(answerTo({ 'x-api-key': 'wrong' })).rejects.toThrow(TooManyFailuresError);
    await expect(answerTo({ 'x-api-key': text })).resolves.toBe(true);
    await expect(answerTo({})).rejects.toThrow(UnauthenticatedError);
  });

  test('believes a key until the moment it expires, also when it knows it already', async () => {
    const { text } = keys.add(['admin'], { expiresAt: new Date(Date.now() + 1_000) });
    await expect(answerTo({ 'x-api-key': text })).resolves.toBe(true);
    jest.advanceTimersByTime(999);
    await expect(answerTo({ 'x-api-key': text })).resolves.toBe(true);
    jest.advanceTimersByTime(1);
    await expect(answerTo({ 'x-api-key': text })).rejects.toThrow(UnauthenticatedError);
    expect(keys.queries).toHaveLength(1);
  });

  test('sees a revocation at the latest after three seconds, and asks only then', async () => {
    const { id, text } = keys.add(['admin']);
    await answerTo({ 'x-api-key': text });
    keys.records.set(id, { ...keys.records.get(id)!, revokedAt: new Date() });
    jest.advanceTimersByTime(2_999);
    await expect(answerTo({ 'x-api-key': text })).resolves.toBe(true);
    expect(keys.queries).toHaveLength(1);
    jest.advanceTimersByTime(1);
    await expect(answerTo({ 'x-api-key': text })).rejects.toThrow(UnauthenticatedError);
    expect(keys.queries).toHaveLength(2);
  });

  test('counts those seconds from when it asked, however late the answer came', async () => {
    const { id, text } = keys.add(['admin']);
    const find = keys.find.bind(keys);
    keys.find = async (asked) => {
      const record = await find(asked);
      jest.advanceTimersByTime(2_500);
      return record;
    };
    await answerTo({ 'x-api-key': text });
    keys.records.set(id, { ...keys.records.get(id)!, revokedAt: new Date() });
    jest.advanceTimersByTime(500);
    await expect(answerTo({ 'x-api-key': text })).rejects.toThrow(UnauthenticatedError);
  });

  test('does not believe a key for longer when the clock is set back', async () => {
    const { id, text } = keys.add(['admin']);
    await answerTo({ 'x-api-key': text });
    keys.records.set(id, { ...keys.records.get(id)!, revokedAt: new Date() });
    jest.setSystemTime(Date.now() - 3_600_000);
    jest.advanceTimersByTime(3_000);
    await expect(answerTo({ 'x-api-key': text })).rejects.toThrow(UnauthenticatedError);
  });

  test('sees a new key at once, although it was asked for before', async () => {
    const { id, text } = keys.add(['admin']);
    const record = keys.records.get(id)!;
    keys.records.delete(id);
    await expect(answerTo({ 'x-api-key': text })).rejects.toThrow(UnauthenticatedError);
    keys.records.set(id, record);
    await expect(answerTo({ 'x-api-key': text })).resolves.toBe(true);
  });

  test('does not take the failure of the store for a wrong key', async () => {
    const { text } = keys.add(['admin']);
    keys.find = () => Promise.reject(new Error('no database'));
    await expect(answerTo({ 'x-api-key': text })).rejects.toThrow('no database');
  });

  test('lets a key use exactly the routes of its scopes, and an admin key all', async () => {
    const routes: [Scope, () => void][] = [
      ['jobs:read', read],
      ['jobs:write', write],
      ['schedules:write', schedule],
      ['admin', administer],
    ];
    for (let chosen = 0; chosen < 2 ** SCOPES.length; chosen++) {
      const scopes = SCOPES.filter((_scope, at) => (chosen & (1 << at)) !== 0);
      const { text } = keys.add(scopes);
      for (const [scope, route] of routes) {
        const may = scopes.includes(scope) || scopes.includes('admin');
        const answer = await answerTo({ 'x-api-key': text }, route).catch((error: unknown) => error);
        expect({ scopes, scope, answer }).toEqual({
          scopes,
          scope,
          answer: may ? true : new InsufficientScopeError(scope),
        });
      }
    }
  });

  test('answers nobody, not even an admin, on a route that names no scope', async () => {
    const { text } = keys.add([...SCOPES]);
    await expect(answerTo({ 'x-api-key': text }, forgotten)).rejects.toThrow(InsufficientScopeError);
    await expect(answerTo({}, forgotten)).rejects.toThrow(UnauthenticatedError);
  });

  test('lets anybody use a public route, whatever credentials come along', async () => {
    for (const headers of [{}, { 'x-api-key': 'junk' }, { authorization: 'a', 'x-api-key': 'b' }]) {
      const { request, answer } = call(headers, health);
      await expect(answer).resolves.toBe(true);
      expect(() => principalOf(request)).toThrow('The route is public: it has no principal.');
    }
    expect(keys.queries).toEqual([]);
  });

  test('takes the scope of the controller where the route names none, and the route over it', async () => {
    const { text } = keys.add(['jobs:read']);
    const { inherited, stricter, open } = ReadRoutes.prototype;
    const headers = { 'x-api-key': text };
    await expect(call(headers, inherited, ReadRoutes).answer).resolves.toBe(true);
    await expect(call(headers, stricter, ReadRoutes).answer).rejects.toThrow(
      'This needs the scope jobs:write.',
    );
    await expect(call({}, open, ReadRoutes).answer).resolves.toBe(true);
    await expect(call({}, inherited, ReadRoutes).answer).rejects.toThrow(UnauthenticatedError);
  });
});

/** What `@CurrentPrincipal()` puts into a parameter. */
function principalOf(request: object): Principal {
  class Probe {
    probe(@CurrentPrincipal() _principal: Principal) {}
  }
  const parameters = Reflect.getMetadata('__routeArguments__', Probe, 'probe') as Record<
    string,
    { factory: (data: unknown, context: ExecutionContextHost) => Principal }
  >;
  const [parameter] = Object.values(parameters);
  return parameter!.factory(undefined, new ExecutionContextHost([request]));
}
