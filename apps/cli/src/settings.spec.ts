import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CliError } from './cli-error.js';
import { readConnection, readDatabaseUrl } from './settings.js';
import type { Cli } from './surroundings.js';

const DEV = {
  url: 'http://127.0.0.1:4000',
  apiKey: 'lh_dev',
  databaseUrl: 'postgresql://u:secret@127.0.0.1/dev',
};
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'longhaul-settings-'));
  await writeFile(join(folder, 'dev.json'), JSON.stringify(DEV));
  await writeFile(join(folder, 'damaged.json'), '{"url":');
});

afterAll(() => rm(folder, { recursive: true }));

function cli(env: Cli['env'], devFile = 'dev.json'): Cli {
  return { env, devFile: join(folder, devFile) } as Cli;
}

describe('the connection', () => {
  test('is that of the options before that of the environment before that of the quickstart', async () => {
    const env = { LONGHAUL_URL: 'http://env.test', LONGHAUL_API_KEY: 'lh_env' };
    const flags = { url: 'http://flag.test/base/', key: 'lh_flag' };
    expect(await readConnection(cli(env), flags)).toEqual({
      url: 'http://flag.test/base',
      apiKey: 'lh_flag',
    });
    expect(await readConnection(cli(env), {})).toEqual({ url: 'http://env.test', apiKey: 'lh_env' });
    expect(await readConnection(cli({ LONGHAUL_URL: '' }), {})).toEqual({ url: DEV.url, apiKey: DEV.apiKey });
    expect(await readConnection(cli({}, 'absent.json'), {})).toEqual({ url: 'http://127.0.0.1:3000' });
  });

  test('keeps the key of the quickstart on this machine', async () => {
    expect(await readConnection(cli({}), { url: 'http://localhost:5000' })).toMatchObject({
      apiKey: 'lh_dev',
    });
    expect(await readConnection(cli({}), { url: 'http://[::1]:5000' })).toMatchObject({ apiKey: 'lh_dev' });
    for (const url of ['https://longhaul.test', 'http://127.0.0.1.longhaul.test']) {
      expect(await readConnection(cli({}), { url })).toEqual({ url });
    }
  });

  test.each(['nonsense', 'ftp://host', 'http://u:p@host', 'http://host/?a=b', 'http://host/#a'])(
    'is refused for %s',
    async (url) => {
      await expect(readConnection(cli({}), { url })).rejects.toMatchObject({ exitCode: 2 });
    },
  );

  test('is refused for a key that no header can carry', async () => {
    await expect(readConnection(cli({}), { key: 'lh_ä' })).rejects.toMatchObject({ exitCode: 2 });
  });

  test('is refused for a damaged file, which is named', async () => {
    const damaged = readConnection(cli({}, 'damaged.json'), {});
    await expect(damaged).rejects.toThrow(join(folder, 'damaged.json'));
    await expect(damaged).rejects.toBeInstanceOf(CliError);
  });
});

describe('the database', () => {
  test('is that of the environment before that of the quickstart', async () => {
    const DATABASE_URL = 'postgres://127.0.0.1/env';
    expect(await readDatabaseUrl(cli({ DATABASE_URL }))).toBe(DATABASE_URL);
    expect(await readDatabaseUrl(cli({}))).toBe(DEV.databaseUrl);
  });

  test.each(['', 'nonsense', 'mysql://u:secret@host/db', 'postgres://u:secret@host'])(
    'is refused for "%s", which is not repeated',
    async (DATABASE_URL) => {
      const refused = readDatabaseUrl(cli({ DATABASE_URL }, 'absent.json'));
      await expect(refused).rejects.toMatchObject({
        exitCode: 2,
        message: expect.stringMatching(/DATABASE_URL/),
      });
      await expect(refused).rejects.not.toThrow(/secret|nonsense/);
    },
  );
});
