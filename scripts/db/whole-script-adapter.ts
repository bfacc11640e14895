import { randomUUID } from 'node:crypto';
import { PrismaPg } from '@prisma/adapter-pg';
import {
  ColumnTypeEnum,
  DriverAdapterError,
  type ColumnType,
  type SqlDriverAdapter,
  type SqlMigrationAwareDriverAdapterFactory,
} from '@prisma/driver-adapter-utils';
import { DatabaseError, type Pool, type QueryResult } from 'pg';
import { onServer, withDatabase } from './database.js';

type PgAdapter = SqlDriverAdapter & { underlyingDriver(): Pool };

/** A factory that can also end everything that it has connected; the engine itself does not. */
export type ClosableFactory = SqlMigrationAwareDriverAdapterFactory & { close(): Promise<void> };

/**
 * Prisma's Postgres adapter with two repairs. It cuts a script at every `;`, which breaks function bodies, strings
 * and comments and leaves a failing file half applied: here the whole file is one simple query, which Postgres
 * takes apart itself and runs as one transaction (as `prisma migrate deploy` does). And it cannot read the type
 * `"char"` of the system catalogs, which the engine asks for when it describes a database.
 */
export function wholeScriptAdapter(databaseUrl: string): ClosableFactory {
  const factory = new PrismaPg({ connectionString: databaseUrl });
  const closers: (() => Promise<void>)[] = [];
  const tracked = (adapter: SqlDriverAdapter): SqlDriverAdapter => {
    let closed: Promise<void> | undefined;
    const dispose = adapter.dispose.bind(adapter);
    adapter.dispose = () => (closed ??= dispose());
    closers.push(adapter.dispose);
    return adapter;
  };
  return {
    provider: factory.provider,
    adapterName: factory.adapterName,
    connect: async () => tracked(repaired(await factory.connect())),
    connectToShadowDb: async () => tracked(await shadow(databaseUrl)),
    close: async () => {
      await Promise.all(closers.map((close) => close()));
    },
  };
}

/** A throw-away database on the same server; the adapter's own drops it while still connected to it. */
async function shadow(databaseUrl: string): Promise<SqlDriverAdapter> {
  const name = `longhaul_shadow_${randomUUID().replaceAll('-', '')}`;
  await onServer(databaseUrl, (client) => client.query(`CREATE DATABASE "${name}" TEMPLATE template0`));
  const adapter = await new PrismaPg({ connectionString: withDatabase(databaseUrl, name) }).connect();
  const dispose = adapter.dispose.bind(adapter);
  adapter.dispose = async () => {
    await dispose();
    await onServer(databaseUrl, (client) => client.query(`DROP DATABASE IF EXISTS "${name}" WITH (FORCE)`));
  };
  return repaired(adapter);
}

function repaired(adapter: PgAdapter): SqlDriverAdapter {
  const pool = adapter.underlyingDriver();
  const query = pool.query.bind(pool) as (...words: unknown[]) => Promise<QueryResult | QueryResult[]>;
  adapter.executeScript = async (script) => {
    try {
      await query(script);
    } catch (error) {
      throw described(error);
    }
  };
  const readable = async (...words: unknown[]) => {
    const result = await query(...words);
    for (const { fields } of [result].flat()) fields.forEach(catalogCharToItsArray);
    return result;
  };
  Object.assign(pool, { query: readable });
  const queryRaw = adapter.queryRaw.bind(adapter);
  adapter.queryRaw = async (words) => {
    const { columnTypes, ...result } = await queryRaw(words);
    return { ...result, columnTypes: columnTypes.map(arrayToCharacter) };
  };
  return adapter;
}

const [charType, charArrayType] = [18, 1002];

// The adapter throws at `"char"` but knows its array, which the engine never reads: it carries the type through.
function catalogCharToItsArray(field: { dataTypeID: number }): void {
  if (field.dataTypeID === charType) field.dataTypeID = charArrayType;
}

function arrayToCharacter(type: ColumnType): ColumnType {
  return type === ColumnTypeEnum.CharacterArray ? ColumnTypeEnum.Character : type;
}

/** The engine reports only errors of this shape with their text. */
function described(error: unknown): unknown {
  if (!(error instanceof DatabaseError)) return error;
  return new DriverAdapterError({
    kind: 'postgres',
    code: error.code ?? 'XX000',
    severity: error.severity ?? 'ERROR',
    message: error.message,
    detail: error.detail,
    hint: error.hint,
    column: error.column,
    originalCode: error.code,
    originalMessage: error.message,
  });
}
