import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { onServer } from '../../../scripts/db/database.js';
import { runCommand, type Surroundings } from '../../../scripts/db/commands.js';
import { diff, migrate } from '../../../scripts/db/migrate.js';
import { repositoryRoot } from '../../../scripts/local/paths.js';
import { absentDatabase, type TestDatabase } from '../../support/database.js';
import { migrationFolder, type MigrationFolder } from './migration-folder.js';

let database: TestDatabase;
let folder: MigrationFolder;
beforeEach(async () => {
  database = absentDatabase();
  folder = await migrationFolder();
});
afterEach(async () => {
  await database.drop();
  await folder.remove();
});

/** Runs a command on the test's database; answers the exit code and what it said and complained. */
async function command(words: string[], around: Partial<Surroundings> = {}) {
  const [said, complained]: [string[], string[]] = [[], []];
  const say = (sentence: string) => void said.push(sentence);
  const complain = (sentence: string) => void complained.push(sentence);
  const code = await runCommand(words, { databaseUrl: database.url, say, complain, ...around });
  return { code, said, complained };
}

const fails = (code: number, sentence: unknown) => ({ code, said: [], complained: [sentence] });

describe('migrate', () => {
  it('says what it applied, then that nothing is left', async () => {
    await folder.write('20260101000000_one', 'CREATE TABLE one (id int);');
    await folder.write('20260102000000_two', 'CREATE TABLE two (id int);');
    const said = ['Applied 20260101000000_one.', 'Applied 20260102000000_two.'];
    const within = { folder: folder.path };
    expect(await command(['migrate'], within)).toEqual({ code: 0, said, complained: [] });
    const nothing = ['The database is up to date.'];
    expect(await command(['migrate'], within)).toEqual({ code: 0, said: nothing, complained: [] });
  });

  it('refuses a URL in one sentence that does not repeat it', async () => {
    const cases: [string | undefined, string][] = [
      [undefined, 'DATABASE_URL is not set.'],
      ['', 'DATABASE_URL is not set.'],
      ['hush', 'DATABASE_URL must be a URL that begins with postgres:// or postgresql://.'],
      ['mysql://a@h/hush', 'DATABASE_URL must be a URL that begins with postgres:// or postgresql://.'],
      ['postgres://a:hush@127.0.0.1', 'DATABASE_URL must name a database after the host.'],
      ['postgres://a:hush@127.0.0.1:1/x', 'The database cannot be reached (ECONNREFUSED).'],
    ];
    for (const [databaseUrl, sentence] of cases) {
      expect(await command(['migrate'], { databaseUrl })).toEqual(fails(1, sentence));
    }
  });
});

describe('rolled-back', () => {
  it('lets a repaired migration be applied again', async () => {
    const within = { folder: folder.path };
    await folder.write('20260101000000_one', 'SELECT 1 / 0;');
    expect(await command(['migrate'], within)).toEqual(fails(1, expect.stringMatching(/division by zero/)));
    await folder.write('20260101000000_one', 'SELECT 1;');
    expect(await command(['rolled-back', '20260101000000_one'])).toMatchObject({ code: 0 });
    expect(await command(['migrate'], within)).toMatchObject({ said: ['Applied 20260101000000_one.'] });
  });

  it('knows only migrations that failed', async () => {
    await migrate(database.url);
    const outcome = await command(['rolled-back', 'unheard_of']);
    expect(outcome).toEqual(fails(1, expect.stringMatching(/unheard_of/)));
  });
});

describe('diff', () => {
  it('finds that the migrations of this repository agree with schema.prisma', async () => {
    expect(await diff(database.url)).toBe('');
  });

  it('writes what is missing behind the last migration, and then finds nothing', async () => {
    await folder.write('20990101000000_future', 'CREATE TABLE "settings" ("key" TEXT PRIMARY KEY);');
    const within = { folder: folder.path };
    const first = await command(['diff', 'catch_up'], within);
    expect(first).toEqual({
      code: 0,
      said: [expect.stringMatching(/^Wrote .*migration\.sql/)],
      complained: [],
    });
    expect((await readdir(folder.path)).filter((entry) => entry !== 'migration_lock.toml')).toEqual([
      '20990101000000_future',
      '20990101000001_catch_up',
    ]);
    const sql = await readFile(join(folder.path, '20990101000001_catch_up/migration.sql'), 'utf8');
    expect(sql).toMatch(/ALTER TABLE "settings" ADD COLUMN\s+"value" TEXT NOT NULL/);
    expect(sql).toMatch(/CREATE TABLE "jobs"/);
    const agree = ['The migrations and the schema agree; nothing was written.'];
    expect(await command(['diff', 'again'], within)).toEqual({ code: 0, said: agree, complained: [] });
  });

  it('leaves no shadow database behind', async () => {
    await folder.write('20260101000000_bad', 'SELECT 1 / 0;');
    const outcome = await command(['diff', 'x'], { folder: folder.path });
    expect(outcome).toEqual(fails(1, expect.stringMatching(/20260101000000_bad .*division by zero/)));
    const shadows = `SELECT datname FROM pg_database WHERE datname LIKE 'longhaul_shadow_%'`;
    expect((await onServer(database.url, (client) => client.query(shadows))).rows).toEqual([]);
  });

  it('and other commands are not guessed', async () => {
    expect(await command(['migrat'])).toEqual(fails(2, expect.stringMatching(/^Say .*db:migrate/)));
  });

  it('refuses names that no migration should have', async () => {
    for (const words of [[], ['Upper'], ['with-dash'], ['../x'], ['two', 'names'], ['_x'], ['x__y']]) {
      const outcome = await command(['diff', ...words], { folder: folder.path });
      expect(outcome).toEqual(fails(2, expect.stringMatching(/lower-case words with _/)));
    }
  });
});

/** The folders of servers that diff has started and not removed. */
const leftovers = async () => (await readdir(tmpdir())).filter((name) => name.startsWith('longhaul-diff-'));

describe('without a server', () => {
  it('diff compares on a Postgres of its own, of which nothing stays', async () => {
    const before = await leftovers();
    const said = ['The migrations and the schema agree; nothing was written.'];
    expect(await command(['diff', 'x'], { databaseUrl: undefined })).toEqual({
      code: 0,
      said,
      complained: [],
    });
    expect(await leftovers()).toEqual(before);
  });

  it('the program migrates nothing, and says so without a stack', async () => {
    const args = ['--import', '@swc-node/register/esm-register', 'scripts/db/main.ts', 'migrate'];
    const options = { cwd: repositoryRoot, env: { PATH: process.env['PATH'] } };
    const outcome = await promisify(execFile)(process.execPath, args, options).catch(
      (error: unknown) => error,
    );
    expect(outcome).toMatchObject({ code: 1, stdout: '', stderr: 'DATABASE_URL is not set.\n' });
  });
});
