import { Client } from 'pg';

/**
 * Plans are kept, and always go by the indexes: kept plans outlive the hour in which a table was small. A statement ends
 * before we stop waiting for it, so that nothing is committed later that nobody knows of.
 */
const OPTIONS =
  '-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c enable_bitmapscan=off -c enable_mergejoin=off -c statement_timeout=14000';
/** Statements with a name; all of ours are constant texts and far fewer. */
const MOST_NAMES = 300;

/** How connections are opened: with the options of a session and names for its statements, or plainly. */
export interface Sessions {
  connectionString: string;
  statementName: ((sql: string) => string | undefined) | undefined;
}

/**
 * Finds out whether a connection is a session of Postgres, which keeps its settings and its prepared statements. Behind
 * a pooler that lends connections for a transaction at a time (PgBouncer) it is not: there an option of a session is
 * refused or has no effect, and every statement is planned each time, for some 2 ms.
 * @throws when the database cannot be reached.
 */
export async function findSessions(url: string, connectTimeoutMs: number): Promise<Sessions> {
  const connectionString = withOptions(url);
  const plain: Sessions = { connectionString: url, statementName: undefined };
  const client = new Client({ connectionString, connectionTimeoutMillis: connectTimeoutMs });
  client.on('error', () => {});
  try {
    await client.connect();
    const { rows } = await client.query<{ enable_seqscan: string }>('SHOW enable_seqscan');
    return rows[0]?.enable_seqscan === 'off' ? { connectionString, statementName: namer() } : plain;
  } catch (error) {
    if (!isRefusedOption(error)) throw error;
    return plain;
  } finally {
    await client.end().catch(() => {});
  }
}

/** A pooler that knows no such option says so in the protocol (08P01) or with its own code, always at the start. */
function isRefusedOption(error: unknown): boolean {
  return /startup parameter|options/i.test(error instanceof Error ? error.message : '');
}

function withOptions(url: string): string {
  const target = new URL(url);
  const given = target.searchParams.get('options');
  target.searchParams.set('options', given === null ? OPTIONS : `${given} ${OPTIONS}`);
  return target.href;
}

function namer(): (sql: string) => string | undefined {
  const names = new Map<string, string>();
  return (sql) => {
    const known = names.get(sql);
    if (known !== undefined || names.size === MOST_NAMES) return known;
    const name = `longhaul_${names.size}`;
    names.set(sql, name);
    return name;
  };
}
