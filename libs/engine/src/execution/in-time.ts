/** Waits for work no longer than a limit; what is late goes on, and nobody listens. */
export function inTime<T>(work: Promise<T>, limitMs: number, lateMessage: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(lateMessage)), limitMs);
    work.then(resolve, reject).finally(() => clearTimeout(late));
  });
}
