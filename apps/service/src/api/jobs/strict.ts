import { z } from 'zod';

/** An object whose unknown keys are refused one by one, each at its own place. */
export function strict<Shape extends z.core.$ZodLooseShape>(
  shape: Shape,
  unknown = 'There is no such field.',
): z.ZodObject<Shape, z.core.$strict> {
  // A plain z.never() would make one issue, at the object, of all unknown keys.
  const refused = z.nonoptional(z.never(unknown));
  return z.object(shape, { error: missing }).catchall(refused) as unknown as z.ZodObject<
    Shape,
    z.core.$strict
  >;
}

function missing({ input }: { input?: unknown }): string | undefined {
  return input === undefined ? 'Send a JSON object.' : undefined;
}
