import { startStack } from '../../../scripts/local/stack.js';

// A program that starts a stack on the folder it is given and then waits: tests kill it.
const [dir = ''] = process.argv.slice(2);
const { databaseUrl, redisUrl } = await startStack({ dir, durable: false });
process.stdout.write(`${JSON.stringify({ databaseUrl, redisUrl })}\n`);
process.stdin.resume();
