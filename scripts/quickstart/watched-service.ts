// The service as it runs under `node --watch`. When the quickstart is gone, even by kill -9, the system closes its end
// of standard input, and neither the watcher nor the service must stay behind.
process.stdin.once('close', () => {
  for (const pid of [process.ppid, process.pid]) process.kill(pid, 'SIGTERM');
});
process.stdin.resume();
// The service itself may end while the pipe is open. A pipe is a socket, which the type does not tell.
(process.stdin as Partial<{ unref(): void }>).unref?.();

await import('../../apps/service/src/main.js');
