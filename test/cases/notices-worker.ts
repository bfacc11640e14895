import { startEngine } from '../support/engine.js';

// As a program: a worker that has no job types and tells of ends, for a test to kill.
const [databaseUrl = '', url = '', prefix = '', env = '{}'] = process.argv.slice(2);
await startEngine({ databaseUrl, redis: { url, prefix }, jobTypes: [], env: JSON.parse(env) });
