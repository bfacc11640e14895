import { Agent as HttpAgent, request as httpRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { LookupFunction } from 'node:net';
import type { CheckedAddress } from './check-address.js';

/** Bytes of an answer that are read, and thrown away, so that the connection may end in peace. */
const MOST_BYTES = 64 * 1024;

/** Limits of a call; `signal` covers all of it. */
export interface CallLimits {
  signal: AbortSignal;
  connectMs: number;
}

/**
 * Posts to the hosts that were checked and to no others, whatever the name resolves to by now; the name still goes into
 * the Host header and the certificate. Answers the status.
 * @throws when no head of an answer comes in time.
 */
export function postPinned(
  { url, hosts }: CheckedAddress,
  body: string,
  headers: Record<string, string>,
  { signal, connectMs }: CallLimits,
): Promise<number> {
  const secure = url.protocol === 'https:';
  // An agent of its own: nothing is kept alive, shared, or sent through a proxy.
  const agent = secure ? new HttpsAgent({ keepAlive: false }) : new HttpAgent({ keepAlive: false });
  const lookup: LookupFunction = (_name, options, answer) => {
    if (options.all) answer(null, hosts);
    else answer(null, hosts[0]!.address, hosts[0]!.family);
  };
  return new Promise((resolve, reject) => {
    const call = (secure ? httpsRequest : httpRequest)(url, {
      method: 'POST',
      agent,
      lookup,
      signal,
      headers: { ...headers, 'content-length': Buffer.byteLength(body), connection: 'close' },
      maxHeaderSize: 16 * 1024,
    });
    const slow = setTimeout(() => call.destroy(new DOMException('no connection', 'TimeoutError')), connectMs);
    const connected = () => clearTimeout(slow);
    call.once('socket', (socket) => socket.once(secure ? 'secureConnect' : 'connect', connected));
    // Also when nothing else is told of it, or its caller would wait for ever.
    const closed = () => {
      connected();
      reject(Object.assign(new Error('closed without an answer'), { code: 'ECONNRESET' }));
    };
    call.once('close', closed);
    call.once('error', reject);
    // Without a listener a 101 would be told of by nothing but the end of the connection.
    call.once('upgrade', (answer, socket) => {
      socket.destroy();
      resolve(answer.statusCode ?? 0);
    });
    call.once('response', (answer) => {
      call.off('close', closed).once('close', connected);
      const status = answer.statusCode ?? 0;
      const over = () => {
        resolve(status);
        call.destroy();
      };
      let bytes = 0;
      answer.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes >= MOST_BYTES) over();
      });
      // Also when the body is cut, by either side: the status has come, and it alone decides.
      call.off('error', reject).on('error', over);
      answer.once('end', over).on('error', over).once('close', over);
    });
    call.end(body);
  });
}
