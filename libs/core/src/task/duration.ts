const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** A length of time as written in code and configuration: a whole number and a unit, such as `'10m'`. */
export type Duration = `${number}${keyof typeof UNITS}`;

const PATTERN = /^(\d{1,9})(ms|s|m|h|d)$/;

/**
 * Milliseconds of a duration.
 * @throws {RangeError} when the text is not a whole number followed by ms, s, m, h or d.
 */
export function durationMs(text: string): number {
  const match = PATTERN.exec(text);
  if (!match) throw new RangeError('A duration is a whole number with a unit: ms, s, m, h or d.');
  return Number(match[1]) * UNITS[match[2] as keyof typeof UNITS];
}

/** A length of time in the largest unit in which it is a whole number. */
export function durationText(ms: number): Duration {
  const units = Object.entries(UNITS).toReversed();
  const [unit, size] = units.find(([, length]) => ms % length === 0) ?? ['ms', 1];
  return `${ms / size}${unit}` as Duration;
}
