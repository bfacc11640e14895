import { CliError } from './cli-error.js';

/** Where text goes: a terminal, or a pipe or file. */
export type Output = NodeJS.WritableStream & { isTTY?: boolean; columns?: number };

/** What the command line is run with. */
export interface Surroundings {
  stdout: Output;
  stderr: Output;
  env: Record<string, string | undefined>;
  /** What `--payload -` reads. */
  stdin?: AsyncIterable<Buffer | string>;
  /** Where the quickstart leaves its settings; by default .longhaul/dev.json of the repository. */
  devFile?: string;
  /** Calls `stop` with an exit code when the user wants to end; the answer takes it back. */
  onInterrupt?: (stop: (exitCode: number) => void) => () => void;
}

/** What a command works with. */
export interface Cli extends Surroundings {
  devFile: string;
  /** One line on stdout: what was asked for. */
  say(line: string): void;
  /** One line on stderr: what a person wants to know beside it. */
  note(line: string): void;
  /** With which code the program exits, 0 unless told. */
  exitWith(exitCode: number): void;
}

/** Everything of stdin as text. */
export async function readStdin({ stdin }: Cli): Promise<string> {
  if (!stdin) throw new CliError('There is no standard input to read from.', 2);
  const chunks: Buffer[] = [];
  for await (const chunk of stdin) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString('utf8');
}
