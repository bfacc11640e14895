/**
 * Does something that heeds a signal, which is aborted after so many milliseconds, with a TimeoutError, or by `stop`.
 *
 * AbortSignal.any() and .timeout() would do, but nothing holds the timeout that Node 20 joins in this way: it is collected
 * as garbage before its time has come, and the signal is never aborted.
 */
export async function withinLimit<T>(
  limitMs: number,
  stop: AbortSignal | undefined,
  work: (limit: AbortSignal) => Promise<T>,
): Promise<T> {
  const limit = new AbortController();
  const giveUp = () => limit.abort(stop?.reason);
  const late = () => limit.abort(new DOMException(`not done within ${limitMs} ms`, 'TimeoutError'));
  const timer = setTimeout(late, limitMs);
  stop?.addEventListener('abort', giveUp, { once: true });
  if (stop?.aborted) giveUp();
  try {
    return await work(limit.signal);
  } finally {
    clearTimeout(timer);
    stop?.removeEventListener('abort', giveUp);
  }
}
