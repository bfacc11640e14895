import { describe, expect, it } from '@jest/globals';
import { read } from './deploy-files.js';

interface Locked {
  version?: string;
  resolved?: string;
  integrity?: string;
  link?: boolean;
}
const { packages } = JSON.parse(read('package-lock.json')) as { packages: Record<string, Locked> };
const locked = Object.entries(packages).filter(([path]) => path !== '');
const { dependencies, devDependencies } = JSON.parse(read('package.json')) as Record<
  'dependencies' | 'devDependencies',
  Record<string, string>
>;

const { allowScripts } = JSON.parse(read('package.json')) as { allowScripts: Record<string, boolean> };

describe('what is installed (input 94)', () => {
  it('is of one version each, which the lockfile knows by its digest', () => {
    expect(locked.length).toBeGreaterThan(100);
    const unproven = locked.filter(([, { integrity }]) => !/^sha512-[\w+/]+=*$/.test(integrity ?? ''));
    expect(unproven.map(([path]) => path)).toEqual([]);
    for (const version of Object.values({ ...dependencies, ...devDependencies })) {
      expect(version).toMatch(/^\d+\.\d+\.\d+(-[\w.]+)?$/);
    }
  });

  it('comes from the registry that is configured, and from no other place', () => {
    expect(locked.filter(([, { resolved, link }]) => resolved !== undefined || link)).toEqual([]);
  });

  it('runs no scripts of its own', () => {
    expect(Object.values(allowScripts)).not.toContain(true);
  });
});
