import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { type CatalogState, handleControl } from './control-plane.js';
import type { Fault } from './fault-script.js';
import { readBody, type Reply, send, sendHeadOnly } from './http-exchange.js';
import { handleMetadata, idOfCall, type MetadataCall, metadataId } from './metadata-routes.js';
import type { LoggedRequest } from './request-log.js';

/**
 * Serves one request: health, control plane or catalog. Rejects when the caller breaks off while it sends, and when
 * `stopping` fires during a scripted delay; there is nobody left to answer then.
 */
export async function serve(
  state: CatalogState,
  request: IncomingMessage,
  response: ServerResponse,
  stopping: AbortSignal,
  log?: (line: string) => void,
): Promise<void> {
  const method = request.method ?? 'GET';
  const path = (request.url ?? '/').split('?')[0] ?? '/';
  const at = new Date().toISOString();
  const read = await readBody(request);
  const tooLarge: Reply = { status: 413, body: { message: 'the body is larger than 1 MiB' } };
  const body = 'text' in read ? read.text : '';
  if (path === '/health') return void send(response, { status: 200, body: { status: 'ok' } });
  if (path.startsWith('/_sim/')) {
    return void send(response, 'text' in read ? handleControl(state, method, path, body) : tooLarge);
  }
  const target = metadataId(path);
  if (target === 'notFound') return void send(response, { status: 404, body: { message: 'no such route' } });

  const idempotencyKey = request.headers['idempotency-key']?.toString() ?? null;
  const authorization = request.headers.authorization !== undefined;
  const seen = { at, method, path, idempotencyKey, authorization, body };
  const entry: LoggedRequest = { ...seen, status: null, applied: false };
  state.log.append(entry);
  if (target === 'malformed') {
    answer(response, entry, { status: 400, body: { message: 'the id is not a valid path' } });
  } else if ('tooLarge' in read) {
    answer(response, entry, tooLarge);
  } else {
    const call: MetadataCall = { method, id: target.id, idempotencyKey, body };
    const fault = state.faults.take(method, idOfCall(call));
    if (fault && fault.delayMs > 0) await delay(fault.delayMs, undefined, { signal: stopping });
    play(state, call, fault, response, entry);
  }
  log?.(`${method} ${path} ${entry.status ?? 'no answer'}${entry.applied ? ' applied' : ''}`);
}

/** Handles a call the usual way, or the way that its fault says. */
function play(
  state: CatalogState,
  call: MetadataCall,
  fault: Fault | undefined,
  response: ServerResponse,
  entry: LoggedRequest,
): void {
  const work = (): Reply => {
    const { applied, ...reply } = handleMetadata(state.records, call);
    entry.applied = applied;
    return reply;
  };
  switch (fault?.mode) {
    case 'hang':
      return;
    case 'hang-body':
      if (sendHeadOnly(response, fault.status ?? 200)) entry.status = fault.status ?? 200;
      return;
    case 'reset':
      return void response.socket?.resetAndDestroy();
    case 'apply-then-drop':
      work();
      return void response.socket?.destroy();
    case 'apply-then-500':
      work();
      return answer(response, entry, scripted(fault, fault.status ?? 500));
    default:
      return answer(response, entry, fault?.status === undefined ? work() : scripted(fault, fault.status));
  }
}

function scripted(fault: Fault, status: number): Reply {
  const body = fault.body === undefined ? { message: `scripted ${status}` } : fault.body;
  return { status, body, ...(fault.headers && { headers: fault.headers }) };
}

function answer(response: ServerResponse, entry: LoggedRequest, reply: Reply): void {
  if (send(response, reply)) entry.status = reply.status;
}
