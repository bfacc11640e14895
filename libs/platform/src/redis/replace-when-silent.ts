import type { Redis } from 'ioredis';

/** How often a connection is asked for a sign of life. */
const ASK_MS = 2000;
/** It is taken for dead when it was silent after so many questions. Redis may be slow for a while. */
const SILENT_TIMES = 3;

/**
 * Replaces a connection that died without a word, as when a firewall or a failed host forgets it: nothing else would
 * find out before TCP gives up, after a quarter of an hour. Whatever comes counts as a sign of life, and the answer
 * to a ping is one, so that a connection with nothing to say is kept. Turns are counted instead of time, for a
 * process that was frozen has heard nothing either.
 */
export function replaceWhenSilent(client: Redis, askMs = ASK_MS): void {
  let unanswered = 0;
  const heard = () => (unanswered = 0);
  const timer = setInterval(() => {
    // Between two connections ioredis has time limits of its own.
    if (client.status !== 'ready' && client.status !== 'connect') return void heard();
    if (unanswered++ < SILENT_TIMES) {
      if (client.status === 'ready') client.ping().catch(() => {});
      return;
    }
    heard();
    client.stream.destroy(new Error('Redis is silent.'));
  }, askMs).unref();
  client.on('connect', () => {
    heard();
    client.stream.on('data', heard);
  });
  client.on('end', () => clearInterval(timer));
}
