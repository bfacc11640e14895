import type { IncomingMessage, ServerResponse } from 'node:http';

/** What to answer: text goes as it is, undefined as no body, anything else as JSON. */
export interface Reply {
  status: number;
  body?: unknown;
  headers?: Record<string, string>;
}

const BODY_LIMIT_BYTES = 1024 * 1024;

/** Reads a request body as UTF-8 text; `tooLarge` beyond 1 MiB. Rejects when the caller breaks off. */
export async function readBody(request: IncomingMessage): Promise<{ text: string } | { tooLarge: true }> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request) {
    const buffer = chunk as Buffer;
    bytes += buffer.length;
    // The rest is still read and dropped: a caller that is busy sending would never see the 413.
    if (bytes <= BODY_LIMIT_BYTES) chunks.push(buffer);
  }
  return bytes > BODY_LIMIT_BYTES ? { tooLarge: true } : { text: Buffer.concat(chunks).toString('utf8') };
}

/** Answers; false when the caller has already gone. */
export function send(response: ServerResponse, reply: Reply): boolean {
  if (response.destroyed || response.writableEnded) return false;
  const isText = typeof reply.body === 'string';
  const text = isText ? String(reply.body) : reply.body === undefined ? '' : JSON.stringify(reply.body);
  response.writeHead(reply.status, {
    ...(text === '' ? {} : { 'content-type': isText ? 'text/plain; charset=utf-8' : 'application/json' }),
    ...reply.headers,
  });
  response.end(text);
  return true;
}

/** Sends the head of an answer and the first byte of a body that never ends. */
export function sendHeadOnly(response: ServerResponse, status: number): boolean {
  if (response.destroyed || response.writableEnded) return false;
  response.writeHead(status, { 'content-type': 'application/json' });
  response.write('{');
  return true;
}
