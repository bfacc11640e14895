import { findChangedValues } from './find-changed-values.js';
import { ProblemError, validationError } from './problems/problem.js';

/** Arrays and objects within one another; deeper ones would end recursive code, such as a schema's. */
const DEEPEST = 100;

/**
 * Reads a JSON body. An empty one is no body: a cancel may come without.
 * @throws {ProblemError} when it is not JSON, nested too deeply, or has values that would be changed.
 */
export function parseJson(body: Buffer): unknown {
  if (body.length === 0) return undefined;
  const text = body.toString('utf8');
  if (depthOf(text) > DEEPEST) {
    throw new ProblemError('malformed-request', `The body is nested more than ${DEEPEST} levels deep.`);
  }
  const value = parse(text);
  const changed = findChangedValues(text);
  if (changed.length > 0) throw validationError(changed);
  return value;
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
