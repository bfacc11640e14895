import { describe, expect, test } from '@jest/globals';
import { ConfigError } from '../config/config.js';
import { bootFailure } from './boot-failure.js';

const URL_OF = (host: string) => `postgresql://ann:hunter%202@${host}/books`;

describe('a database that cannot be used', () => {
  test.each([
    [{ code: 'ECONNREFUSED', message: 'connect ECONNREFUSED 127.0.0.1:1' }, 'cannot be used (ECONNREFUSED).'],
    [
      { code: '28P01', message: 'password authentication failed for user "ann"' },
      'refuses the user or password.',
    ],
    [
      { code: '3D000', message: 'database "books" does not exist' },
      'does not exist: run npm run db:migrate first.',
    ],
    [{ code: 'P2010', meta: { modelName: 'x' } }, 'cannot be used (P2010).'],
    [{ code: 'P2010', cause: { originalCode: '42P01' } }, 'has no tables: run npm run db:migrate first.'],
    [
      { message: 'SASL: ann has no "hunter 2" (hunter%202)' },
      'cannot be used (SASL: [hidden] has no "[hidden]" ([hidden])).',
    ],
    [{}, 'cannot be used (no reason was given).'],
  ])('is named by its setting: %j', (error, sentence) => {
    const failure = bootFailure(error, URL_OF('db.test:1'));
    expect(failure).toBeInstanceOf(ConfigError);
    expect(failure.message).toBe(`The database of DATABASE_URL (db.test:1) ${sentence}`);
    expect(failure.cause).toBeUndefined();
  });

  test('has no host where the URL names none', () => {
    expect(bootFailure({ code: 'ENOENT' }, 'postgresql:///books?host=/run').message).toBe(
      'The database of DATABASE_URL cannot be used (ENOENT).',
    );
  });
});
