import { run } from './run.js';

// A reader that has seen enough, such as `head`, is no failure to report.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => process.exit(141));

process.exitCode = await run(process.argv.slice(2), {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  onInterrupt: (stop) => {
    const interrupted = () => stop(130);
    const terminated = () => stop(143);
    process.once('SIGINT', interrupted).once('SIGTERM', terminated);
    return () => void process.off('SIGINT', interrupted).off('SIGTERM', terminated);
  },
});
