import { availableParallelism } from 'node:os';
import { delimiter } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { ConfigError, ENVIRONMENT, loadConfig, SERVICE_TYPES } from './config.js';

type Env = Record<string, string | undefined>;

/** What a task worker needs at least. */
const LEAST: Env = {
  SERVICE_TYPE: 'task-worker',
  DATABASE_URL: 'postgres://localhost/longhaul',
  REDIS_URL: 'redis://localhost',
  CATALOG_URL: 'http://catalog:8080',
};
const NAMES = Object.keys(ENVIRONMENT.shape);

/** The message of the refusal. */
function refusal(env: Env): string {
  try {
    loadConfig(env);
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  throw new Error('The settings were accepted.');
}

describe('the settings', () => {
  test('have the documented defaults', () => {
    expect(loadConfig(LEAST)).toEqual({
      ...LEAST,
      HOST: '0.0.0.0',
      PORT: 3000,
      BODY_LIMIT: 262_144,
      REQUEST_TIMEOUT: 30_000,
      DATABASE_POOL: 10,
      REDIS_PREFIX: 'lh',
      MAX_CONCURRENT_TASKS: availableParallelism(),
      MAX_SANDBOXES: availableParallelism(),
      LEASE: 10_000,
      PRIORITY_AGEING: 60_000,
      MAX_SCHEDULES: 1000,
      SCHEDULE_MIN_INTERVAL: 5000,
      SWEEP_INTERVAL: 250,
      SYNC_CRON: '*/5 * * * * *',
      FINALIZE_LIMIT: 86_400_000,
      RETENTION: 2_592_000_000,
      SHUTDOWN_GRACE: 20_000,
      CATALOG_TIMEOUT: 10_000,
      CATALOG_LINK_PROTOCOL: '3DTiles',
      INGEST_ROOTS: [],
      LOG_LEVEL: 'info',
      LOG_FIELDS: [],
      runsTasks: true,
      servesApi: false,
      sandboxed: false,
      given: LEAST,
    });
  });

  test('take no variable that is not theirs', () => {
    expect(loadConfig({ ...LEAST, PATH: '/bin', lease: '1s' })).toEqual(loadConfig(LEAST));
  });

  test('take an empty variable for one that is not set', () => {
    const empty = Object.fromEntries(
      NAMES.filter((name) => name !== 'WORKER_TAGS').map((name) => [name, '']),
    );
    expect(loadConfig({ ...empty, ...LEAST })).toEqual(loadConfig(LEAST));
    expect(refusal(empty)).toBe(refusal({}));
  });

  test.each([
    ['api', false, true],
    ['task-worker', true, false],
    ['all', true, true],
  ])(
    'with SERVICE_TYPE=%s: tasks run is %s, the API is served is %s',
    (SERVICE_TYPE, runsTasks, servesApi) => {
      expect(loadConfig({ ...LEAST, SERVICE_TYPE })).toMatchObject({ SERVICE_TYPE, runsTasks, servesApi });
    },
  );

  test('of a process that runs one task for a worker: it does nothing else, whatever its role', () => {
    const config = loadConfig({ ...LEAST, SERVICE_TYPE: 'all', LONGHAUL_SANDBOX: '1' });
    expect(config).toMatchObject({ sandboxed: true, runsTasks: false, servesApi: false });
  });

  test.each([undefined, ''])('name SERVICE_TYPE and its values when it is %j', (SERVICE_TYPE) => {
    expect(SERVICE_TYPES).toEqual(['api', 'task-worker', 'all']);
    expect(refusal({ ...LEAST, SERVICE_TYPE })).toBe(
      'SERVICE_TYPE is not set: it must be one of api, task-worker, all.',
    );
  });

  test.each(['worker', 'API', ' api', 'api,task-worker', 'toString'])(
    'name SERVICE_TYPE and its values when it is %j',
    (SERVICE_TYPE) => {
      expect(refusal({ ...LEAST, SERVICE_TYPE })).toBe(
        'SERVICE_TYPE is not valid: it must be one of api, task-worker, all.',
      );
    },
  );

  test('name every missing variable at once, one to a line', () => {
    expect(refusal({}).split('\n')).toEqual([
      'SERVICE_TYPE is not set: it must be one of api, task-worker, all.',
      'DATABASE_URL is not set: it must be a URL that begins with postgres:// or postgresql://.',
      'REDIS_URL is not set: it must be a URL that begins with redis:// or rediss://.',
    ]);
  });

  test.each(['task-worker', 'all'])('need the Catalog with SERVICE_TYPE=%s', (SERVICE_TYPE) => {
    expect(refusal({ ...LEAST, SERVICE_TYPE, CATALOG_URL: undefined })).toBe(
      `CATALOG_URL is not set: with SERVICE_TYPE=${SERVICE_TYPE} it must be a URL that begins with http:// or https://.`,
    );
  });

  test('do not need the Catalog with SERVICE_TYPE=api', () => {
    const config = loadConfig({ ...LEAST, SERVICE_TYPE: 'api', CATALOG_URL: undefined });
    expect(config.CATALOG_URL).toBeUndefined();
  });
});

describe('a bad value', () => {
  const secret = 'hunter2';
  const bad: Env = {
    SERVICE_TYPE: secret,
    PORT: secret,
    BODY_LIMIT: secret,
    REQUEST_TIMEOUT: secret,
    CORS_ORIGINS: secret,
    TRUST_PROXY: secret,
    RATE_LIMIT: secret,
    RATE_BURST: secret,
    MAX_OPEN_JOBS: secret,
    MAX_OPEN_TASKS: secret,
    MAX_SCHEDULES: secret,
    SCHEDULE_MIN_INTERVAL: secret,
    DATABASE_URL: `mysql://ann:${secret}@host/db`,
    DATABASE_POOL: secret,
    REDIS_URL: `:${secret}@host`,
    REDIS_PREFIX: `${secret}!`,
    MAX_CONCURRENT_TASKS: secret,
    MAX_ACTIVE_PER_OWNER: secret,
    PRIORITY_AGEING: secret,
    MAX_SANDBOXES: secret,
    WORKER_TAGS: `${secret}!`,
    LEASE: secret,
    SWEEP_INTERVAL: secret,
    SYNC_CRON: secret,
    METRICS_PORT: secret,
    FINALIZE_LIMIT: secret,
    RETENTION: secret,
    SHUTDOWN_GRACE: secret,
    CATALOG_URL: `ftp://ann:${secret}@host`,
    CATALOG_TOKEN: `${secret} ä`,
    CATALOG_TIMEOUT: secret,
    CATALOG_LINK_URL: secret,
    INGEST_ROOTS: secret,
    LOG_LEVEL: secret,
    LOG_FIELDS: `${secret} `.repeat(2),
  };

  test.each(Object.entries(bad))('of %s is named and explained, but never printed', (name, value) => {
    const message = refusal({ ...LEAST, [name]: value });
    expect(message.startsWith(`${name} is not valid: it must be `)).toBe(true);
    expect(message).not.toContain('something else');
    expect(message).not.toContain('\n');
    expect(message).not.toContain(secret);
  });

  test('is never printed in any property of the error either', () => {
    try {
      loadConfig(bad);
      throw new Error('The settings were accepted.');
    } catch (error) {
      const shown = Object.getOwnPropertyNames(error).map((name) => String((error as never)[name]));
      expect(shown.join('\n')).not.toContain(secret);
      expect((error as Error).message.split('\n')).toHaveLength(Object.keys(bad).length);
    }
  });

  test('has words of its own for every variable that the service reads', () => {
    const words = refusal(bad);
    for (const name of Object.keys(bad)) expect(words).toContain(`${name} is not valid`);
    const free = ['HOST', 'CATALOG_LINK_NAME', 'CATALOG_LINK_DESCRIPTION', 'CATALOG_LINK_PROTOCOL'];
    expect([...Object.keys(bad), ...free].toSorted()).toEqual(NAMES.toSorted());
  });
});

describe('one setting', () => {
  test.each<[string, string, unknown]>([
    ['PORT', '0', 0],
    ['PORT', '65535', 65_535],
    [
      'CORS_ORIGINS',
      'https://a.example, http://localhost:3000',
      ['https://a.example', 'http://localhost:3000'],
    ],
    ['TRUST_PROXY', '10.0.0.0/8, ::1,fd00::/8', ['10.0.0.0/8', '::1', 'fd00::/8']],
    ['RATE_LIMIT', '1', 1],
    ['MAX_OPEN_TASKS', '99999999', 99_999_999],
    ['MAX_SCHEDULES', '1', 1],
    ['SCHEDULE_MIN_INTERVAL', '1s', 1000],
    ['DATABASE_POOL', '2', 2],
    ['DATABASE_POOL', '200', 200],
    ['MAX_CONCURRENT_TASKS', '1', 1],
    ['MAX_CONCURRENT_TASKS', '1000', 1_000],
    ['MAX_ACTIVE_PER_OWNER', '1', 1],
    ['PRIORITY_AGEING', '0ms', 0],
    ['PRIORITY_AGEING', '30d', 2_592_000_000],
    ['MAX_SANDBOXES', '1', 1],
    ['MAX_SANDBOXES', '1000', 1_000],
    ['LEASE', '500ms', 500],
    ['LEASE', '10m', 600_000],
    ['SWEEP_INTERVAL', '10ms', 10],
    ['SWEEP_INTERVAL', '1m', 60_000],
    ['METRICS_PORT', '9464', 9464],
    ['FINALIZE_LIMIT', '1s', 1000],
    ['RETENTION', '1s', 1000],
    ['RETENTION', '3650d', 315_360_000_000],
    ['SHUTDOWN_GRACE', '0s', 0],
    ['CATALOG_TIMEOUT', '5m', 300_000],
    ['DATABASE_URL', 'postgresql://ann:pw@host:5432/db?sslmode=require', undefined],
    ['REDIS_URL', 'rediss://:pw@host:6380/1', undefined],
    ['REDIS_PREFIX', 'team-7', undefined],
    ['CATALOG_URL', 'https://catalog/api', undefined],
    ['WORKER_TAGS', 'disk', ['disk']],
    ['WORKER_TAGS', 'disk, gpu-2 ,net', ['disk', 'gpu-2', 'net']],
    ['SYNC_CRON', '*/5 * * * *', undefined],
    ['SYNC_CRON', '0 0 4 * * 1-5', undefined],
    ['SYNC_CRON', '0 4 * JAN,MAR MON-FRI', undefined],
    ['CATALOG_TOKEN', 'eyJ.a-b_c~d+e/f==', undefined],
    ['INGEST_ROOTS', ['/data', '/mnt/b c'].join(delimiter), ['/data', '/mnt/b c']],
    ['INGEST_ROOTS', `/data${delimiter}`, ['/data']],
    ['LOG_LEVEL', 'silent', undefined],
    ['LOG_FIELDS', 'folder, fileCount,', ['folder', 'fileCount']],
  ])('%s takes %s', (name, text, value) => {
    const config: Record<string, unknown> = loadConfig({ ...LEAST, [name]: text });
    expect(config[name]).toEqual(value ?? text);
  });

  test.each([
    ['PORT', ['-1', '65536', '80.5', '0x50', '1e3', ' 80', '80 ']],
    ['BODY_LIMIT', ['0', '1023', '256k', '100000001']],
    [
      'CORS_ORIGINS',
      [
        '*',
        'null',
        'a.example',
        'https://a.example/',
        'https://a.example/x',
        'ftp://a.example',
        'https://a.example,',
      ],
    ],
    ['TRUST_PROXY', ['true', '1', 'loopback', '10.0.0.0/33', '10.0.0/8', '::1/129', '10.0.0.1,']],
    ['RATE_LIMIT', ['0', '-1', '1.5', '1000001']],
    ['DATABASE_POOL', ['1', '201']],
    ['MAX_CONCURRENT_TASKS', ['0', '1001', 'auto']],
    ['MAX_ACTIVE_PER_OWNER', ['0', '10000000', '-1']],
    ['PRIORITY_AGEING', ['31d', '1']],
    ['MAX_SANDBOXES', ['0', '1001', 'auto']],
    ['LEASE', ['10', '10 s', '1.5s', '-1s', '499ms', '601s', '0s', '1w', '1h30m', '9999999999ms', '10S']],
    ['SWEEP_INTERVAL', ['9ms', '61s', '0ms']],
    ['METRICS_PORT', ['0', '65536', 'x']],
    ['RETENTION', ['999ms', '3651d']],
    ['SHUTDOWN_GRACE', ['11m', '1d']],
    ['CATALOG_TIMEOUT', ['9ms', '6m']],
    ['DATABASE_URL', ['localhost', 'mysql://host/db', 'http://host', 'postgres']],
    ['REDIS_URL', ['localhost:6379', 'http://host', '/run/redis.sock']],
    ['REDIS_PREFIX', ['LH', 'a b', 'a:b', '{a}', 'x'.repeat(51)]],
    ['CATALOG_URL', ['catalog', 'ftp://catalog', 'file:///etc/passwd', 'javascript:1']],
    ['WORKER_TAGS', ['', ' ', ',', 'disk,', 'Disk', 'a b', '*', '2gpu', 'x'.repeat(41)]],
    ['CATALOG_TOKEN', ['a b', ' ', 'a\n', 'a\tb', 'hä', 'a\u0000b', 'a\u007f']],
    ['SYNC_CRON', ['*', '* * * *', '* * * * * * *', '5s', '@hourly', '*  * * * *']],
    ['SYNC_CRON', ['99 * * * * *', '60 * * * *', '*/0 * * * *', '5-2 * * * *', '1,,2 * * * *', 'a b c d e']],
    ['SYNC_CRON', ['* * * * 8', '0 0 30 2 *', '0 0 0 31 4 *']],
    ['INGEST_ROOTS', ['data', './data', `/data${delimiter}data`]],
    ['LOG_LEVEL', ['INFO', 'verbose']],
    ['LOG_FIELDS', ['a-b', '1st', 'a b', '*']],
  ])('%s refuses what is out of its range', (name, texts) => {
    for (const text of texts) {
      expect(refusal({ ...LEAST, [name]: text })).toContain(`${name} is not valid: it must be `);
    }
  });

  test('WORKER_TAGS left out means every tag, which an empty list does not', () => {
    expect(loadConfig(LEAST).WORKER_TAGS).toBeUndefined();
    expect(refusal({ ...LEAST, WORKER_TAGS: '' })).toContain('leave it out to hold every tag');
  });
});
