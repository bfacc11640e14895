import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Writes a migration that sorts behind all others, and answers the path of its file. */
export async function writeMigration(folder: string, name: string, sql: string): Promise<string> {
  const stamps = (await readdir(folder)).map((entry) => Number(/^(\d{14})_/.exec(entry)?.[1] ?? 0));
  const now = new Date().toISOString().replace(/\D/g, '').slice(0, 14);
  // Migrations run in the order of their names: a clock that is behind must not put this one before an older one.
  const stamp = Math.max(Number(now), ...stamps.map((earlier) => earlier + 1));
  const target = join(folder, `${stamp}_${name}`);
  await mkdir(target);
  const file = join(target, 'migration.sql');
  await writeFile(file, `${sql}\n`, { flag: 'wx' });
  return file;
}
