import { describe, expect, test } from '@jest/globals';
import { PrismaClientKnownRequestError } from '@prisma/client/runtime/client';
import { DriverAdapterError } from '@prisma/driver-adapter-utils';
import { isBadData, isOutage, isRaceLost, sqlState } from './sql-errors.js';

/** The failure of a statement as the driver adapter throws it. */
function adapterError(state: string): DriverAdapterError {
  return new DriverAdapterError({
    kind: 'postgres',
    originalCode: state,
    originalMessage: 'failed',
    code: state,
    severity: 'ERROR',
    message: 'failed',
    detail: undefined,
    column: undefined,
    hint: undefined,
  });
}

/** The failure of a statement as Prisma throws it. */
function prismaError(code: string, driverAdapterError?: unknown): PrismaClientKnownRequestError {
  const meta = driverAdapterError === undefined ? {} : { driverAdapterError };
  return new PrismaClientKnownRequestError('failed', { code, clientVersion: '7', meta });
}

/** The failure of a statement as pg throws it. */
function withCode(code: unknown): Error {
  return Object.assign(new Error('failed'), { code });
}

/** One of every class of SQLSTATE that Postgres uses. */
const STATES = `
  01000 02000 03000 08006 09000 0A000 0B000 0F001 0L000 0P000 0Z002 20000 21000 22P05 23505 24000 25006 26000
  27000 28P01 2BP01 2D000 2F005 34000 38001 39004 3B001 3D000 3F000 40001 40P01 42P01 44000 53300 54001 55P03
  55P03 57014 57P01 58030 F0000 HV000 P0001 XX000
`
  .trim()
  .split(/\s+/);

describe('the SQLSTATE of a failure', () => {
  test.each(STATES)('%s is found in each of the shapes that it comes in', (state) => {
    expect(sqlState(withCode(state))).toBe(state);
    expect(sqlState(adapterError(state))).toBe(state);
    expect(sqlState(prismaError('P2010', adapterError(state)))).toBe(state);
    expect(sqlState(prismaError('P2002', adapterError(state)))).toBe(state);
  });

  test('is found where Prisma says only that a race was lost', () => {
    expect(sqlState(prismaError('P2034', adapterError('40001')))).toBe('40001');
  });

  test('is found below errors that were wrapped around it', () => {
    const wrapped = new Error('outer', { cause: new Error('inner', { cause: adapterError('23505') }) });
    expect(sqlState(wrapped)).toBe('23505');
  });

  test('is found below the code of something that is not Postgres', () => {
    expect(sqlState(Object.assign(withCode('EPIPE'), { cause: withCode('57P01') }))).toBe('57P01');
  });

  test.each(['P1001', 'P1017', 'P2002', 'P2010', 'P2025', 'P2034', 'P2037', 'P3009', 'P5011', 'P6000'])(
    'is not the code %s of Prisma',
    (code) => {
      expect(sqlState(prismaError(code))).toBeUndefined();
    },
  );

  test.each(['EPIPE', 'EPERM', 'EBADF', 'E2BIG', 'ECONNRESET', 'ECONNREFUSED', 'ERR_INVALID_ARG_TYPE'])(
    'is not the code %s of Node',
    (code) => {
      expect(sqlState(withCode(code))).toBeUndefined();
    },
  );

  test.each([
    undefined,
    null,
    '',
    '40001',
    40_001,
    new Error('40001'),
    withCode(40_001),
    withCode('4000'),
    {},
    [],
  ])('is not found in %p', (error) => {
    expect(sqlState(error)).toBeUndefined();
  });

  test('is looked for in a bounded time where causes run in a circle', () => {
    const error = new Error('round');
    error.cause = error;
    expect(sqlState(error)).toBeUndefined();
  });
});

describe('a lost race', () => {
  test.each(STATES)('is told from %s', (state) => {
    const expected = ['40001', '40P01'].includes(state);
    expect(isRaceLost(prismaError('P2010', adapterError(state)))).toBe(expected);
  });

  test.each([undefined, new Error('deadlock detected'), prismaError('P2034')])(
    'is not seen in %p',
    (error) => {
      expect(isRaceLost(error)).toBe(false);
    },
  );
});

describe('bad data', () => {
  test.each(STATES)('is told from %s', (state) => {
    const expected = ['22P05', '23505'].includes(state);
    expect(isBadData(prismaError('P2010', adapterError(state)))).toBe(expected);
  });

  test.each([undefined, new Error('22P05'), prismaError('P2002'), withCode('ECONNRESET')])(
    'is not seen in %p',
    (error) => {
      expect(isBadData(error)).toBe(false);
    },
  );
});

describe('an outage', () => {
  const unreachable = new DriverAdapterError({ kind: 'DatabaseNotReachable', host: 'db', port: 5432 });

  test.each(STATES)('is told from %s', (state) => {
    const expected = ['08006', '53300', '55P03', '57014', '57P01'].includes(state);
    expect(isOutage(withCode(state))).toBe(expected);
    expect(isOutage(prismaError('P2010', adapterError(state)))).toBe(expected);
  });

  test.each<[string, unknown]>([
    ['a raw statement to a database that is down', prismaError('P2010', unreachable)],
    ['the model API with a database that is down', prismaError('P1001', unreachable)],
    ['a closed connection', prismaError('P2010', new DriverAdapterError({ kind: 'ConnectionClosed' }))],
    ['a silent connection', prismaError('P2010', new DriverAdapterError({ kind: 'SocketTimeout' }))],
    ['a transaction that got no connection', prismaError('P2028')],
    ['a full pool', prismaError('P2024')],
    ['a refused connection', withCode('ECONNREFUSED')],
    ['a broken pipe', new Error('outer', { cause: withCode('EPIPE') })],
  ])('is seen in %s', (_what, error) => {
    expect(isOutage(error)).toBe(true);
  });

  test.each([
    'Connection terminated',
    'Connection terminated unexpectedly',
    'Connection terminated due to connection timeout',
    'Client has encountered a connection error and is not queryable',
    'Client was closed and is not queryable',
    'Cannot use a pool after calling end on the pool',
    'timeout exceeded when trying to connect',
    'Query read timeout',
  ])('is seen in "%s", which pg says without a code', (message) => {
    expect(isOutage(new Error(message))).toBe(true);
    expect(isOutage(new Error('outer', { cause: new Error(message) }))).toBe(true);
    expect(isOutage(new Error(`the handler said: ${message}`))).toBe(false);
  });

  test.each(['P1001', 'P1002', 'P1008', 'P1017'])('is seen in the code %s of Prisma', (code) => {
    expect(isOutage(prismaError(code))).toBe(true);
  });

  test('is not seen in bad data that speaks of connections and timeouts', () => {
    const message = 'invalid input syntax for type integer: "connection timeout"';
    const mapped = new DriverAdapterError({ kind: 'InvalidInputValue', message, originalCode: '22P02' });
    expect(isOutage(prismaError('P2007', mapped))).toBe(false);
  });

  test.each([undefined, null, 'timeout', new Error('timeout'), prismaError('P2002'), withCode('ENOENT')])(
    'is not seen in %p',
    (error) => {
      expect(isOutage(error)).toBe(false);
    },
  );
});
