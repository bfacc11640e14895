import type { CatalogRecords } from './catalog-records.js';
import type { Reply } from './http-exchange.js';

/** A call under /metadata, read in full. `id` is the decoded last part of the path, undefined for the collection. */
export interface MetadataCall {
  method: string;
  id: string | undefined;
  idempotencyKey: string | null;
  body: string;
}

/** The record id of a path under /metadata; `notFound` for any other path, `malformed` for broken escapes. */
export function metadataId(path: string): { id: string | undefined } | 'notFound' | 'malformed' {
  if (path === '/metadata') return { id: undefined };
  const segment = /^\/metadata\/([^/]+)$/.exec(path)?.[1];
  if (segment === undefined) return 'notFound';
  try {
    return { id: decodeURIComponent(segment) };
  } catch {
    return 'malformed';
  }
}

/** The id that a fault may match: that of the path, else that of the posted body. */
export function idOfCall(call: MetadataCall): string | undefined {
  if (call.id !== undefined) return call.id;
  try {
    const body = JSON.parse(call.body) as { id?: unknown } | null;
    return typeof body?.id === 'string' ? body.id : undefined;
  } catch {
    return undefined;
  }
}

/** Does the work of a call on the records. `applied` tells whether they changed. */
export function handleMetadata(records: CatalogRecords, call: MetadataCall): Reply & { applied: boolean } {
  const { method, id } = call;
  if (id === undefined) {
    if (method === 'POST') return post(records, call);
    if (method !== 'GET') return notAllowed('GET, POST');
    const all = records.all();
    return all.length === 0 ? { status: 204, applied: false } : { status: 200, body: all, applied: false };
  }
  if (method === 'DELETE') return { status: 204, applied: records.remove(id) };
  if (method !== 'GET') return notAllowed('GET, DELETE');
  const record = records.find(id);
  if (record) return { status: 200, body: record, applied: false };
  return { status: 404, body: { message: 'no record has this id' }, applied: false };
}

function post(records: CatalogRecords, call: MetadataCall): Reply & { applied: boolean } {
  const result = records.write(call.body, call.idempotencyKey);
  if ('invalid' in result) return { status: 400, body: { message: result.invalid }, applied: false };
  return { status: 201, body: result.record, applied: result.applied };
}

function notAllowed(allow: string): Reply & { applied: boolean } {
  return { status: 405, headers: { allow }, body: { message: `only ${allow} here` }, applied: false };
}
