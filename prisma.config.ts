import { defineConfig } from 'prisma/config';

// `prisma generate` looks for the native schema engine and would download it, though the client that it
// writes needs none. Any existing file satisfies it, so generating works offline.
if (process.argv.includes('generate')) process.env['PRISMA_SCHEMA_ENGINE_BINARY'] ??= process.execPath;

export default defineConfig({
  schema: 'prisma/schema.prisma',
  migrations: { path: 'prisma/migrations' },
});
