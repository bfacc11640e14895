import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');

/** Frees at once what nothing holds, which else happens at some time. */
export const collectGarbage = runInNewContext('gc') as () => void;
