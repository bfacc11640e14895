import { PrismaPg } from '@prisma/adapter-pg';
import { PrismaClient } from './generated/client.js';

/** Runs something on a database outside of the service, with connections of its own that are closed afterwards. */
export async function withClient<T>(
  databaseUrl: string,
  use: (client: PrismaClient) => Promise<T>,
): Promise<T> {
  const adapter = new PrismaPg({ connectionString: databaseUrl, max: 2, connectionTimeoutMillis: 5000 });
  const client = new PrismaClient({ adapter });
  try {
    return await use(client);
  } finally {
    await client.$disconnect();
  }
}
