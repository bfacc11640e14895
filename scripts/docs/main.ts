import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { repositoryRoot } from '../local/paths.js';
import { stateMachinePage } from './state-machine.js';

// Writes docs/state-machine.md, or the file that is named.
const [file = join(repositoryRoot, 'docs/state-machine.md')] = process.argv.slice(2);
await writeFile(file, stateMachinePage());
