/** A migration that could not be done; the message is one sentence without secrets. */
export class MigrationError extends Error {
  override readonly name = 'MigrationError';
}

/** Turns whatever the driver or the engine threw into a sentence that names the cause and no password. */
export function oneSentence(error: unknown, databaseUrl: string): MigrationError {
  if (error instanceof MigrationError) return error;
  return new MigrationError(withoutSecret(sentence(error), databaseUrl));
}

/** Where the engine names the migration: in the report, in the trace behind it, and of one that failed earlier. */
const namePatterns = [
  /Migration name: (\S+)/,
  /migration_name="([^"]+)"/,
  /Migration `(.+?)` failed/,
  /The `(.+?)` migration started at/,
];

function sentence(error: unknown): string {
  const message = textOf(error);
  const code = (error as { code?: string } | undefined)?.code ?? '';
  const name = namePatterns.map((pattern) => pattern.exec(message)?.[1]).find(Boolean);
  const cause = /(?:Database error:|Error querying the database:)\s*(?:ERROR:\s*)?([^\n]+)/.exec(
    message,
  )?.[1];
  if (name && cause) return `Migration ${name} failed: ${cause.trim().replace(/\.$/, '')}.`;
  if (name && /failed migrations/.test(message)) {
    return `Migration ${name} failed earlier: repair its cause, then say \`npm run db:rolled-back -- ${name}\` and migrate again.`;
  }
  if (/ECONNREFUSED|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|timeout|Can't reach/i.test(`${code} ${message}`)) {
    return `The database cannot be reached (${code || message}).`;
  }
  return `The database could not be migrated: ${message.trim().split('\n')[0]?.replace(/\.$/, '')}.`;
}

function textOf(error: unknown): string {
  if (error instanceof AggregateError) return textOf(error.errors[0]);
  if (error instanceof Error) return error.message || error.name;
  if (typeof error === 'object' && error && 'message' in error) return String(error.message);
  return String(error);
}

function withoutSecret(text: string, databaseUrl: string): string {
  const password = URL.canParse(databaseUrl) ? new URL(databaseUrl).password : '';
  const secrets = [databaseUrl, password, decoded(password)];
  return secrets.reduce<string>((safe, secret) => (secret ? safe.replaceAll(secret, '***') : safe), text);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return '';
  }
}
