import { execFile } from 'node:child_process';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { repositoryRoot } from '../local/paths.js';
import { LocalStackError, type Log } from '../local/types.js';

const run = promisify(execFile);
const generated = join(repositoryRoot, 'libs/platform/src/prisma/generated');

/** Generates the Prisma client, which git does not hold, when it is absent or was made from another schema. */
export async function ensurePrismaClient(log: Log, signal: AbortSignal): Promise<void> {
  const schema = await readFile(join(repositoryRoot, 'prisma/schema.prisma'), 'utf8');
  const client = await readFile(join(generated, 'internal/class.ts'), 'utf8').catch(() => '');
  // The client keeps the text of the schema that it was made from.
  if (client.includes(JSON.stringify(schema))) return;
  log('Generating the database client from prisma/schema.prisma.');
  const prisma = join(repositoryRoot, 'node_modules/prisma/build/index.js');
  // Telling its maker, and asking for newer versions, is no part of a quickstart.
  const env = { ...process.env, CHECKPOINT_DISABLE: '1', PRISMA_HIDE_UPDATE_MESSAGE: '1' };
  try {
    await run(process.execPath, [prisma, 'generate'], { cwd: repositoryRoot, env, signal });
  } catch (error) {
    // Half a client must not be taken for a whole one by the next start.
    await rm(generated, { recursive: true, force: true }).catch(() => {});
    signal.throwIfAborted();
    const { stderr, message } = error as Error & { stderr?: string };
    const [reason = ''] = (stderr?.trim() || message).split('\n');
    throw new LocalStackError(
      `The database client could not be generated (${reason}): see what npm run generate says.`,
      { cause: error },
    );
  }
}
