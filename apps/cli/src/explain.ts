import { ApiError, UnexpectedAnswerError, UnreachableError } from './api-errors.js';
import { CliError } from './cli-error.js';
import { inOptions } from './in-options.js';
import { plain } from './plain-text.js';

/** One sentence on why a command failed and what helps, without a stack. */
export function explain(error: unknown): string {
  if (error instanceof CliError) return error.message;
  if (error instanceof ApiError) return refusal(error);
  if (error instanceof UnexpectedAnswerError) {
    return `${error.url} gave an answer (${error.status}) that Longhaul does not give: is the URL right?`;
  }
  if (error instanceof UnreachableError) {
    const { url, reason, sent } = error;
    const doubt = sent ? ' What was asked may have been done all the same.' : '';
    return `The service at ${url} cannot be reached (${plain(reason)}): start one with \`npm run quickstart\`, or give another --url.${doubt}`;
  }
  return `It did not work: ${plain(error instanceof Error ? error.message : String(error))}`;
}

function refusal({ url, status, problem }: ApiError): string {
  if (status === 401) {
    return (
      `The service at ${url} wants a valid API key: make one with \`npm run cli -- keys create --owner <you> ` +
      `--scopes jobs:read,jobs:write\`, and give it as LONGHAUL_API_KEY or --key.`
    );
  }
  const text = plain(inOptions(problem));
  if (status === 403) return `${text} Make a key that may, with \`npm run cli -- keys create\`.`;
  return status >= 500 ? `The service at ${url} answered ${status}: ${text}` : text;
}
