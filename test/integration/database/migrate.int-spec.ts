import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { onDatabase } from '../../../scripts/db/database.js';
import { markRolledBack, migrate, MigrationError } from '../../../scripts/db/migrate.js';
import { migrationList } from '../../../scripts/db/migration-files.js';
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

const select = async (sql: string) =>
  (await onDatabase(database.url, (client) => client.query<Record<string, unknown>>(sql))).rows;
const tables = async () =>
  (
    await select(`SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename COLLATE "C"`)
  ).map(({ tablename }) => tablename);
const names = async () => (await migrationList()).migrationDirectories.map(({ path }) => path);
const failure = (outcome: Promise<unknown>) =>
  outcome.then(
    () => undefined,
    (error: Error) => error,
  );
const once = () => migrate(database.url, { folder: folder.path });

describe('the migrations of this repository', () => {
  it('make an absent database and bring it up to date, once', async () => {
    expect(await migrate(database.url)).toEqual(await names());
    expect(await tables()).toEqual(
      expect.arrayContaining(['_prisma_migrations', 'jobs', 'tasks', 'settings']),
    );
    const before = await select('SELECT * FROM settings ORDER BY key');
    expect(await migrate(database.url)).toEqual([]);
    expect(await select('SELECT * FROM settings ORDER BY key')).toEqual(before);
  });

  it('are applied once when several runners start together', async () => {
    const outcomes = await Promise.all([1, 2, 3].map(() => migrate(database.url)));
    expect(outcomes.flat()).toEqual(await names());
    const recorded = await select(
      'SELECT migration_name, finished_at, rolled_back_at FROM _prisma_migrations ORDER BY migration_name',
    );
    expect(recorded).toEqual(
      (await names()).map((name) => ({
        migration_name: name,
        finished_at: expect.any(Date),
        rolled_back_at: null,
      })),
    );
  });

  it('wait for another runner, but not for ever', async () => {
    await migrate(database.url);
    await onDatabase(database.url, async (client) => {
      await client.query('SELECT pg_advisory_lock(4851067213)');
      const outcome = await failure(migrate(database.url, { patience: 250 }));
      expect(outcome?.message).toBe('Another migration runner has not finished in time.');
    });
    expect(await migrate(database.url)).toEqual([]);
  });
});

describe('a migration', () => {
  it('may hold semicolons in bodies, strings, names and comments', async () => {
    await folder.write(
      '20260101000000_tricky',
      `-- a comment; with a semicolon, and 'half a string
       /* another; /* nested; */ one */
       CREATE TABLE "odd;name" (id int PRIMARY KEY, said text DEFAULT 'it''s; so');
       CREATE FUNCTION twice(n int) RETURNS int LANGUAGE plpgsql AS $body$
       DECLARE answer int;
       BEGIN
         answer := n * 2; -- comment;
         RETURN answer;
       END;
       $body$;
       INSERT INTO "odd;name" VALUES (twice(21));`,
    );
    expect(await once()).toEqual(['20260101000000_tricky']);
    expect(await select('SELECT id, said FROM "odd;name"')).toEqual([{ id: 42, said: "it's; so" }]);
  });

  it('that fails leaves nothing, is named without the password, and can be repaired', async () => {
    const [good, bad] = ['20260101000000_good', '20260102000000_bad'];
    await folder.write(good, 'CREATE TABLE kept (id int);');
    await folder.write(bad, 'CREATE TABLE lost (id int); INSERT INTO lost VALUES (1); SELECT 1 / 0;');
    const error = await failure(once());
    expect(error).toBeInstanceOf(MigrationError);
    expect(error?.message).toBe(`Migration ${bad} failed: division by zero.`);
    expect(error?.message).not.toContain(new URL(database.url).password);
    expect(await tables()).toEqual(['_prisma_migrations', 'kept']);

    expect((await failure(once()))?.message).toBe(
      `Migration ${bad} failed earlier: repair its cause, then say \`npm run db:rolled-back -- ${bad}\` and migrate again.`,
    );
    await folder.write(bad, 'CREATE TABLE lost (id int);');
    await markRolledBack(database.url, bad);
    expect(await once()).toEqual([bad]);
    expect(await tables()).toEqual(['_prisma_migrations', 'kept', 'lost']);
  });

  it('that does not parse leaves nothing either', async () => {
    await folder.write('20260101000000_typo', 'CREATE TABLE lost (id int); CREATE TABEL other (id int);');
    expect((await failure(once()))?.message).toBe(
      'Migration 20260101000000_typo failed: syntax error at or near "TABEL".',
    );
    expect(await tables()).toEqual(['_prisma_migrations']);
  });

  it('may build an index concurrently when it is alone in its file', async () => {
    await folder.write('20260101000000_table', 'CREATE TABLE big (id int);');
    await folder.write('20260102000000_index', 'CREATE INDEX CONCURRENTLY big_id ON big (id);');
    const both = await Promise.all([once(), once()]);
    expect(both.flat()).toHaveLength(2);
  });
});

describe('a database that cannot be used', () => {
  it.each([
    ['a wrong password', (url: URL) => (url.password = 'hush-hush'), /password authentication failed/],
    ['nobody listening', (url: URL) => (url.port = '1'), /cannot be reached \(ECONNREFUSED\)/],
    [
      'a password that is no escape',
      (url: URL) => (url.password = 'hush%ZZ'),
      /password authentication failed/,
    ],
  ])('is told in one sentence without secrets: %s', async (_case, spoil, sentence) => {
    const url = new URL(database.url);
    spoil(url);
    const error = await failure(migrate(url.href));
    expect(error).toBeInstanceOf(MigrationError);
    expect(error?.message).toMatch(sentence);
    expect(error?.message).not.toMatch(/hush|\n/);
  });
});
