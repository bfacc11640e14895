import { chown, readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { LocalStackError } from './types.js';

/** How a server is launched: as ourselves, or, when we are root, as a user without rights. */
export interface Launcher {
  /** The command and its arguments as to be spawned. */
  command(file: string, args: string[]): [file: string, args: string[]];
  /** Options for spawn. */
  user: { uid?: number; gid?: number };
  /** Who the server runs as; undefined where users have no numbers. */
  uid: number | undefined;
  /** Gives a path to the user that the server runs as. */
  own(path: string): Promise<void>;
}

const asOurselves: Launcher = {
  command: (file, args) => [file, args],
  user: {},
  uid: process.getuid?.(),
  own: async () => {},
};

/**
 * A launcher for a server that uses these paths. Postgres refuses to run as root, so root becomes `nobody`.
 * When `nobody` cannot reach a path (a checkout below a private home folder), it keeps one capability of root,
 * to pass through folders; its own identity is `nobody` all the same.
 */
export async function launcherFor(paths: string[]): Promise<Launcher> {
  if (process.getuid?.() !== 0) return asOurselves;
  const { uid, gid } = await nobody();
  const own = (path: string) => chown(path, uid, gid);
  const reachable = await Promise.all(paths.map((path) => canReach(path, uid)));
  if (reachable.every(Boolean))
    return { command: (file, args) => [file, args], user: { uid, gid }, uid, own };
  if (process.platform !== 'linux') {
    throw new LocalStackError(
      `The user nobody cannot reach ${paths.join(' or ')}: start it as an ordinary user.`,
    );
  }
  const become = [
    `--reuid=${uid}`,
    `--regid=${gid}`,
    '--clear-groups',
    '--inh-caps=+dac_override',
    '--ambient-caps=+dac_override',
  ];
  return { command: (file, args) => ['setpriv', [...become, '--', file, ...args]], user: {}, uid, own };
}

/** Refuses files that another user's run has made: the server could not use them, or that user could not any more. */
export async function assertOwned(path: string, as: Launcher): Promise<void> {
  const { uid } = await stat(path);
  if (as.uid === undefined || uid === as.uid || uid === process.getuid?.()) return;
  throw new LocalStackError(
    `${path} belongs to another user (${uid}): start as that user, or choose another folder with LONGHAUL_DIR.`,
  );
}

async function nobody(): Promise<{ uid: number; gid: number }> {
  const users = await readFile('/etc/passwd', 'utf8').catch(() => '');
  const [, uid, gid] = /^nobody:[^:]*:(\d+):(\d+):/m.exec(users) ?? [];
  return { uid: Number(uid ?? 65_534), gid: Number(gid ?? 65_534) };
}

async function canReach(path: string, uid: number): Promise<boolean> {
  for (let folder = path; ; folder = dirname(folder)) {
    const found = await stat(folder).catch(() => undefined);
    const mayPass = !found || (found.uid === uid ? found.mode & 0o100 : found.mode & 0o001);
    if (found?.isDirectory() && !mayPass) return false;
    if (folder === dirname(folder)) return true;
  }
}
