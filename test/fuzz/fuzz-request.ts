import type { ApiDocument, Operation } from './api-document.js';
import type { Random } from './random.js';
import { type Known, valueOf } from './schema-values.js';

/** A request before it is sent. Mutations change it. */
export interface FuzzRequest {
  operation: Operation;
  method: string;
  /** Of the parameters of the path, by name. */
  path: Record<string, string>;
  query: [name: string, value: string][];
  headers: Record<string, string | string[]>;
  body: unknown;
  /** The bytes that are sent instead of the body as JSON. */
  raw?: Buffer;
  /** The address that is asked for instead of the one of the path and query. */
  address?: string;
  /** What was changed of it; empty: it is as the document has it. */
  mutations: string[];
}

/** A request as the document has it. */
export function validRequest(
  document: ApiDocument,
  operation: Operation,
  random: Random,
  known: Known,
): FuzzRequest {
  const request: FuzzRequest = {
    operation,
    method: operation.method,
    path: {},
    query: [],
    headers: {},
    body: undefined,
    mutations: [],
  };
  for (const { name, in: place, required, schema = {} } of operation.parameters) {
    if (!required && !random.chance(0.3)) continue;
    const value = String(valueOf(document, schema, random, known, name));
    if (place === 'path') request.path[name] = value;
    else if (place === 'query') request.query.push([name, value]);
    // A header has no other characters.
    else request.headers[name.toLowerCase()] = value.replace(/[^\x21-\x7e]/g, 'x');
  }
  if (operation.body) {
    request.body =
      operation.examples.length > 0 && random.chance(0.6)
        ? structuredClone(random.pick(operation.examples))
        : valueOf(document, operation.body, random, known);
  }
  return request;
}

/** The address that is asked for. */
export function addressOf({ operation, path, query, address }: FuzzRequest): string {
  if (address !== undefined) return address;
  const filled = operation.path.replace(/\{(\w+)\}/g, (_all, name: string) => encode(path[name] ?? 'x'));
  const search = query.map(([name, value]) => `${encode(name)}=${encode(value)}`).join('&');
  return search === '' ? filled : `${filled}?${search}`;
}

/** Percent-encoded, but for what is encoded already. */
function encode(text: string): string {
  if (/^%[0-9a-fA-F]{2}/.test(text)) return text;
  return encodeURIComponent(text.toWellFormed());
}
