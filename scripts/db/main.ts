import { runCommand } from './commands.js';

process.exitCode = await runCommand(process.argv.slice(2), {
  databaseUrl: process.env['DATABASE_URL'],
  say: (sentence) => console.log(sentence),
  complain: (sentence) => console.error(sentence),
});
