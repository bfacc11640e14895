import { Agent, type IncomingHttpHeaders, request } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { addressOf, type FuzzRequest } from './fuzz-request.js';

/** How long an answer may take, in milliseconds. */
const PATIENCE_MS = 30_000;

/** An answer, read to its end. */
export interface Exchange {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
}

/** Sends requests of all kinds to a service, one after the other. */
export class Exchanges {
  private readonly agent = new Agent({ keepAlive: true, maxSockets: 1 });

  /** @param url of a service on this machine */
  constructor(private readonly url: string) {
    if (new URL(url).hostname !== '127.0.0.1') throw new Error('Only what runs here is asked.');
  }

  /** @throws when there is no answer */
  send(fuzz: FuzzRequest, credential: Record<string, string>): Promise<Exchange> {
    const body = fuzz.raw ?? (fuzz.body === undefined ? undefined : Buffer.from(JSON.stringify(fuzz.body)));
    const headers = {
      ...credential,
      ...(body === undefined ? {} : { 'content-type': 'application/json', 'content-length': body.length }),
      ...fuzz.headers,
    };
    const { hostname, port } = new URL(this.url);
    const { agent } = this;
    return new Promise((settle, reject) => {
      const { method } = fuzz;
      const asked = request({ agent, hostname, port, method, path: addressOf(fuzz), headers }, (response) => {
        // One that tells what happens has no end; that it has begun is all that is judged.
        if (response.headers['content-type']?.startsWith('text/event-stream')) {
          response.once('error', () => {}).destroy();
          return settle({ status: response.statusCode ?? 0, headers: response.headers, text: '' });
        }
        return buffer(response).then(
          (bytes) =>
            settle({
              status: response.statusCode ?? 0,
              headers: response.headers,
              text: bytes.toString(),
            }),
          reject,
        );
      });
      asked.setTimeout(PATIENCE_MS, () => asked.destroy(new Error(`no answer within ${PATIENCE_MS} ms`)));
      let answered = false;
      asked.once('response', () => (answered = true));
      asked.once('error', (error: NodeJS.ErrnoException) => {
        // The answer came while the body was still being sent, or the kept connection had been closed.
        if (answered) return;
        if (asked.reusedSocket && error.code === 'ECONNRESET') settle(this.send(fuzz, credential));
        else reject(error);
      });
      asked.end(body);
    });
  }

  close(): void {
    this.agent.destroy();
  }
}
