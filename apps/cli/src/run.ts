import { join } from 'node:path';
import { Command, CommanderError } from 'commander';
import { localFolder } from '../../../scripts/local/paths.js';
import { CliError } from './cli-error.js';
import { addCancel } from './commands/cancel.js';
import { addKeys } from './commands/keys.js';
import { addList } from './commands/list.js';
import { addMigrate } from './commands/migrate.js';
import { addSchedules } from './commands/schedules.js';
import { addSubmit } from './commands/submit.js';
import { addWatch } from './commands/watch.js';
import { explain } from './explain.js';
import type { Cli, Surroundings } from './surroundings.js';

/** Runs one command and answers the exit code: 2 when it was asked wrongly, else what the command says. */
export async function run(argv: string[], around: Surroundings): Promise<number> {
  let exitCode = 0;
  const cli: Cli = {
    ...around,
    devFile: around.devFile ?? join(localFolder, 'dev.json'),
    say: (line) => void around.stdout.write(`${line}\n`),
    note: (line) => void around.stderr.write(`${line}\n`),
    exitWith: (code) => {
      exitCode = code;
    },
  };
  try {
    await program(cli).parseAsync(argv, { from: 'user' });
    return exitCode;
  } catch (error) {
    // Commander has already said it.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    cli.note(explain(error));
    return error instanceof CliError ? error.exitCode : 1;
  }
}

function program(cli: Cli): Command {
  const program = new Command('npm run cli --')
    .description('Submits, watches and cancels long background jobs.')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void cli.stdout.write(text),
      writeErr: (text) => void cli.stderr.write(text),
      getOutHelpWidth: () => cli.stdout.columns ?? 80,
      getErrHelpWidth: () => cli.stderr.columns ?? 80,
    });
  for (const add of [addSubmit, addList, addWatch, addCancel, addSchedules, addKeys, addMigrate])
    add(program, cli);
  return program;
}
