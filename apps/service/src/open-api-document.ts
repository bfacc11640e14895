import type { OpenAPIObject } from '@nestjs/swagger';
import { EXAMPLES } from './open-api-examples.js';

/** A part of the document, which is JSON. */
type Part = Record<string, unknown>;

interface Operation {
  security?: Part[];
  parameters?: Part[];
  requestBody?: { required?: boolean; content: Record<string, Part> };
  responses: Record<string, { description?: string; headers?: Part; content?: Record<string, unknown> }>;
}

/** Bodies that may be left out, which their schemas do not tell. */
const OPTIONAL_BODIES = [
  'post /jobs/{jobId}/cancel',
  'put /pauses/types/{name}',
  'put /pauses/tags/{name}',
  'post /schedules/{scheduleId}/pause',
];

/** Reads of a job that are answered with 304 when nothing has changed. */
const TAGGED = ['get /jobs/{jobId}', 'get /jobs/{jobId}/progress', 'get /jobs/{jobId}/status'];

/** What is made, and has an address that the answer names. */
const MADE: Record<string, string> = {
  'post /jobs': 'job',
  'post /schedules': 'schedule',
  'post /schedules/{scheduleId}/trigger': 'job',
  'post /webhooks': 'webhook',
  'post /api-keys': 'key',
};

/** Answers with server-sent events too. */
const STREAMED = 'get /jobs/{jobId}/events';

const text = (description: string): Part => ({ description, schema: { type: 'string' } });
const REQUEST_ID = text('Names the request; that of the request, if it had one.');

/**
 * Makes of what is generated the document of OpenAPI 3.1 that is served: null as a type, problems by their media type,
 * the headers of answers, examples, and the filters that depend on the job types.
 * @param searchable the keys of labels by which jobs can be listed
 */
export function finishDocument(document: OpenAPIObject, searchable: string[]): OpenAPIObject {
  const finished = { ...(modern(document) as OpenAPIObject), openapi: '3.1.0', servers: [{ url: '/' }] };
  for (const [path, methods] of Object.entries(finished.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      if (typeof operation === 'object' && 'responses' in operation) {
        finishOperation(`${method} ${path}`, operation as unknown as Operation);
      }
    }
  }
  addLabels(finished, searchable);
  const { Json: json } = finished.components?.schemas ?? {};
  // Said without a schema of itself, at which generators of clients stumble: what has no type may be anything.
  if (json) finished.components!.schemas!['Json'] = { description: 'Any JSON value.' };
  return finished;
}

function finishOperation(name: string, operation: Operation): void {
  const { requestBody, responses } = operation;
  // What names no credential is public.
  operation.security ??= [];
  if (requestBody) {
    requestBody.required = !OPTIONAL_BODIES.includes(name);
    const examples = EXAMPLES[name];
    for (const content of Object.values(requestBody.content)) if (examples) content['examples'] = examples;
  }
  if (TAGGED.includes(name)) {
    operation.parameters?.push({
      name: 'If-None-Match',
      in: 'header',
      required: false,
      description: 'The ETag of an earlier answer: 304 without a body when nothing has changed since.',
      schema: { type: 'string' },
    });
    responses['304'] = {
      description: 'Nothing has changed.',
      headers: { ETag: text('Of the job as it is.') },
    };
  }
  if (name === STREAMED) {
    const answer = (responses['200'] ??= {});
    answer.content = { ...answer.content, 'text/event-stream': { schema: { type: 'string' } } };
    responses['204'] = { description: 'Of a stream: the job is over, and all of it was told.' };
  }
  if (name.includes('/health/')) responses['503'] = { description: 'It is not.' };
  for (const [status, response] of Object.entries(responses)) {
    const headers: Part = { ...response.headers, 'X-Request-Id': REQUEST_ID };
    if (status === '201' && name in MADE) headers['Location'] = text(`The address of the ${MADE[name]}.`);
    if (status === '201' && name === 'post /jobs') {
      headers['Idempotency-Replayed'] = text('`true`: the job of an earlier request with this key.');
    }
    if (status === '200' && TAGGED.includes(name)) headers['ETag'] = text('Of the job as it is.');
    if (status === '429' || status === '503') headers['Retry-After'] = text('Seconds.');
    if (status === '401') headers['WWW-Authenticate'] = text('How to prove who one is.');
    response.headers = headers;
    const { content } = response;
    // What is refused is told as a problem.
    if (Number(status) >= 400 && content?.['application/json'] && !name.includes('/health/')) {
      response.content = { 'application/problem+json': content['application/json'] };
    }
  }
}

function addLabels(document: OpenAPIObject, searchable: string[]): void {
  const description = 'Jobs with this label. Several with commas between them, 20 at most.';
  const schema = { type: 'string' as const };
  document.paths['/jobs']?.get?.parameters?.push(
    ...searchable.map((key) => ({
      name: `labels.${key}`,
      in: 'query' as const,
      required: false,
      description,
      schema,
    })),
  );
}

/** A schema of OpenAPI 3.0, with all that is in it, as 3.1 has it: there null is a type, and a schema may be `false`. */
function modern(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(modern);
  if (value === null || typeof value !== 'object') return value;
  const { nullable, ...part } = Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [key, modern(inner)]),
  );
  if (part['additionalProperties'] && JSON.stringify(part['additionalProperties']) === '{"not":{}}') {
    part['additionalProperties'] = false;
  }
  if (JSON.stringify(part['enum']) === '[null]') return { type: 'null' };
  // Their formats say the same, and generators stumble over the patterns.
  if (part['format'] === 'date-time' || part['format'] === 'uuid') delete part['pattern'];
  if (part['minimum'] === Number.MIN_SAFE_INTEGER) delete part['minimum'];
  if (part['maximum'] === Number.MAX_SAFE_INTEGER) delete part['maximum'];
  const only =
    Array.isArray(part['allOf']) && part['allOf'].length === 1 ? (part['allOf'][0] as Part) : undefined;
  if (only) delete part['allOf'];
  const whole = { ...only, ...part };
  return nullable === true ? orNull(whole) : whole;
}

function orNull(part: Part): Part {
  if (typeof part['type'] !== 'string') return { anyOf: [part, { type: 'null' }] };
  const { enum: values } = part;
  return { ...part, type: [part['type'], 'null'], ...(Array.isArray(values) && { enum: [...values, null] }) };
}
