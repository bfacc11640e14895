import { randomUUID } from 'node:crypto';
import { onServer, withDatabase } from '../../scripts/db/database.js';
import { fromGlobalSetup } from './environment.js';

/** A database of a test's own. */
export interface TestDatabase {
  url: string;
  /** Deletes it, whoever is still connected. */
  drop(): Promise<void>;
}

/** A fresh, migrated database: a copy of the run's template, about as quick as opening a few connections. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const template = fromGlobalSetup('LONGHAUL_TEST_DATABASE_URL');
  const source = new URL(template).pathname.slice(1);
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  await onServer(template, async (client) => {
    // A template cannot be copied by two at once: they take turns instead of failing.
    await client.query(`SELECT pg_advisory_lock(hashtext('longhaul-template'))`);
    await client.query(`CREATE DATABASE "${name}" TEMPLATE "${source}"`);
  });
  return {
    url: withDatabase(template, name),
    drop: () => onServer(template, async (client) => void (await client.query(dropping(name)))),
  };
}

/** The URL of an empty database that does not exist yet; for tests of the migrations themselves. */
export function absentDatabase(): TestDatabase {
  const template = fromGlobalSetup('LONGHAUL_TEST_DATABASE_URL');
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  return {
    url: withDatabase(template, name),
    drop: () => onServer(template, async (client) => void (await client.query(dropping(name)))),
  };
}

function dropping(name: string): string {
  return `DROP DATABASE IF EXISTS "${name}" WITH (FORCE)`;
}
