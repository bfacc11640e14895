import { isUtf8 } from 'node:buffer';
import type { IncomingHttpHeaders } from 'node:http';
import { findChangedValues } from './find-changed-values.js';
import { ProblemError, validationError } from './problems/problem.js';

/** Arrays and objects within one another; deeper ones would end recursive code, such as a schema's. */
const DEEPEST = 100;

/**
 * Reads a JSON body. An empty one is no body: a cancel may come without.
 * @throws {ProblemError} when it is not JSON in UTF-8, nested too deeply, or has values that would be changed.
 */
export function parseJson(body: Buffer, headers: IncomingHttpHeaders = {}): unknown {
  refuseEncodings(headers);
  if (body.length === 0) return undefined;
  if (!isUtf8(body)) throw new ProblemError('malformed-request', 'The body is not valid UTF-8.');
  const text = body.toString('utf8');
  if (depthOf(text) > DEEPEST) {
    throw new ProblemError('malformed-request', `The body is nested more than ${DEEPEST} levels deep.`);
  }
  const value = parse(text);
  const changed = findChangedValues(text);
  if (changed.length > 0) throw validationError(changed);
  return value;
}

/** A compressed body is not unpacked: it can be a thousand times what it says. JSON is UTF-8 and nothing else. */
function refuseEncodings(headers: IncomingHttpHeaders): void {
  const encoding = headers['content-encoding'] ?? 'identity';
  const [, charset = 'utf-8'] = /;\s*charset\s*=\s*"?([^\s;"]*)/i.exec(headers['content-type'] ?? '') ?? [];
  if (encoding.toLowerCase() === 'identity' && charset.toLowerCase() === 'utf-8') return;
  throw new ProblemError('unsupported-media-type', 'Send the body as it is, in UTF-8 and not compressed.');
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new ProblemError('malformed-request', 'The body is not valid JSON.');
  }
}

function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  let inText = false;
  for (let at = 0; at < text.length; at++) {
    const letter = text[at];
    if (inText) {
      if (letter === '\\') at++;
      else if (letter === '"') inText = false;
    } else if (letter === '"') inText = true;
    else if (letter === '[' || letter === '{') deepest = Math.max(deepest, ++depth);
    else if (letter === ']' || letter === '}') depth--;
  }
  return deepest;
}
