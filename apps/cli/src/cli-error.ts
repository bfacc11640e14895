/** Why a command cannot do what was asked, in one sentence that is shown as it is. Exit code 2: it was asked wrongly. */
export class CliError extends Error {
  override readonly name = 'CliError';
  constructor(
    message: string,
    readonly exitCode: 1 | 2,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
