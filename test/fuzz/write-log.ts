import { Client } from 'pg';

/** Notes every row that is written to a database, whoever writes it. */
export class WriteLog {
  private last = 0n;

  private constructor(private readonly client: Client) {}

  static async open(databaseUrl: string): Promise<WriteLog> {
    const client = new Client({ connectionString: databaseUrl });
    await client.connect();
    await client.query(`
      CREATE SCHEMA fuzz;
      CREATE TABLE fuzz.writes (nth bigserial PRIMARY KEY, what text NOT NULL);
      CREATE FUNCTION fuzz.note() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO fuzz.writes (what) VALUES (TG_OP || ' ' || TG_TABLE_NAME); RETURN NULL; END $$;
      DO $$ DECLARE name text; BEGIN
        FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
          EXECUTE format('CREATE TRIGGER fuzz AFTER INSERT OR UPDATE OR DELETE ON public.%I
            FOR EACH ROW EXECUTE FUNCTION fuzz.note()', name);
        END LOOP;
      END $$`);
    return new WriteLog(client);
  }

  /** What was written, and committed, since the last call. */
  async take(): Promise<string[]> {
    const { rows } = await this.client.query<{ nth: string; what: string }>(
      'SELECT max(nth) AS nth, what FROM fuzz.writes WHERE nth > $1 GROUP BY what',
      [String(this.last)],
    );
    for (const { nth } of rows) if (BigInt(nth) > this.last) this.last = BigInt(nth);
    return rows.map(({ what }) => what);
  }

  close(): Promise<void> {
    return this.client.end();
  }
}
