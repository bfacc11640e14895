/** A refusal as the service words it. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  errors?: { pointer: string; message: string }[];
}

/** The service answered that it does not do it. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  constructor(
    readonly url: string,
    readonly status: number,
    readonly problem: Problem,
  ) {
    super(problem.detail);
  }
}

/** No answer came. `sent` tells that the service may have got the request and done its work all the same. */
export class UnreachableError extends Error {
  override readonly name = 'UnreachableError';
  constructor(
    readonly url: string,
    readonly reason: string,
    readonly sent: boolean,
    options?: ErrorOptions,
  ) {
    super(`${url}: ${reason}`, options);
  }
}

/** An answer came that Longhaul does not give. */
export class UnexpectedAnswerError extends Error {
  override readonly name = 'UnexpectedAnswerError';
  constructor(
    readonly url: string,
    readonly status: number,
  ) {
    super(`${url}: an answer ${status} that is none of Longhaul`);
  }
}

/** Whether the same request may soon succeed: nobody answers, or the one who does says that it cannot now. */
export function isPassing(error: unknown): boolean {
  return (
    error instanceof UnreachableError ||
    ((error instanceof ApiError || error instanceof UnexpectedAnswerError) &&
      [502, 503, 504].includes(error.status))
  );
}
