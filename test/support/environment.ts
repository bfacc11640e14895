/** A value that global-setup.ts has left for the test files. */
export function fromGlobalSetup(name: 'LONGHAUL_TEST_DATABASE_URL' | 'LONGHAUL_TEST_REDIS_URL'): string {
  const value = process.env[name];
  if (!value)
    throw new Error(`${name} is not set: run this test in a Jest project with test/support/global-setup.ts`);
  return value;
}
