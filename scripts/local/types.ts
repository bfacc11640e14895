/** Told in one sentence what is going on. */
export type Log = (sentence: string) => void;

/** How a local server is started. */
export interface ServerOptions {
  /** The server's own folder; made when absent. */
  dir: string;
  /** Whether what was written survives a crash of the machine. */
  durable?: boolean;
  log?: Log;
  /** Cuts short what may take long before the server is started. */
  signal?: AbortSignal;
}

/** A local server that runs. */
export interface LocalServer {
  url: string;
  port: number;
  pid: number;
  /** Ends the server and waits until its process is gone; may be called twice. */
  stop(): Promise<void>;
}

/** A failure that one sentence explains; whoever prints it leaves out the stack trace. */
export class LocalStackError extends Error {
  override readonly name = 'LocalStackError';
}
