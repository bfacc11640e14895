// The service as it runs under `npm run dev`. When the quickstart is gone, even by kill -9, the system closes the
// channel between them, and the service must not stay behind.
process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'));
// The service itself may end while the channel is open.
process.channel?.unref();

await import('../../apps/service/src/main.js');
