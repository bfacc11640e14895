import { describe, expect, it } from '@jest/globals';
import { ENVIRONMENT, loadConfig } from '../../libs/platform/src/config/config.js';
import { builtEntry, composeServices, read } from './deploy-files.js';

const services = composeServices();
const ours = ['api', 'task-worker', 'migrate', 'catalog-sim'];
const stores = ['postgres', 'redis'];
const service = (name: string) => services[name] ?? { image: '' };

describe('docker-compose.yml', () => {
  it('has one API, two workers, the catalog, the stores and a migration', () => {
    expect(Object.keys(services).toSorted()).toEqual([...ours, ...stores].toSorted());
    expect(service('task-worker').deploy?.replicas).toBe(2);
    expect(service('api').environment).toMatchObject({ SERVICE_TYPE: 'api' });
    expect(service('task-worker').environment).toMatchObject({ SERVICE_TYPE: 'task-worker' });
  });

  it.each(['api', 'task-worker'])('sets what %s needs, and nothing that it does not know', (name) => {
    const environment = service(name).environment ?? {};
    expect(Object.keys(environment).filter((variable) => !(variable in ENVIRONMENT.shape))).toEqual([]);
    expect(Object.keys(environment)).toEqual(
      expect.arrayContaining(['PORT', 'DATABASE_URL', 'REDIS_URL', 'CATALOG_URL', 'INGEST_ROOTS']),
    );
    expect(loadConfig(environment)).toMatchObject({ PORT: 3000, INGEST_ROOTS: ['/data'] });
  });

  it('sets what the other programs know', () => {
    expect(service('task-worker').environment).toHaveProperty('MAX_CONCURRENT_TASKS');
    expect(Object.keys(service('migrate').environment ?? {})).toEqual(['DATABASE_URL']);
    const known = read('apps/catalog-sim/src/main.ts').matchAll(/process\.env\['(\w+)'\]/g);
    expect(Object.keys(service('catalog-sim').environment ?? {}).toSorted()).toEqual(
      [...known].map(([, name]) => name).toSorted(),
    );
  });

  it('points at its own services and their ports', () => {
    const { DATABASE_URL, REDIS_URL, CATALOG_URL } = service('api').environment ?? {};
    const { POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB } = service('postgres').environment ?? {};
    expect(DATABASE_URL).toBe(
      `postgresql://${POSTGRES_USER}:${POSTGRES_PASSWORD}@postgres:5432/${POSTGRES_DB}`,
    );
    expect(service('migrate').environment?.['DATABASE_URL']).toBe(DATABASE_URL);
    expect(REDIS_URL).toBe('redis://redis:6379');
    expect(CATALOG_URL).toBe(`http://catalog-sim:${service('catalog-sim').environment?.['PORT']}`);
  });

  it.each([
    ['migrate', 'cli', ['migrate']],
    ['catalog-sim', 'catalog-sim', []],
  ])('starts %s from what the build makes', (name, project, args) => {
    expect(service(name).command).toEqual(['node', builtEntry(project), ...args]);
  });

  it('migrates once, before anything that uses the tables', () => {
    expect(service('migrate')).toMatchObject({ restart: 'no', healthcheck: { disable: true } });
    expect(service('migrate').depends_on).toEqual({ postgres: { condition: 'service_healthy' } });
    for (const name of ['api', 'task-worker']) {
      expect(service(name).depends_on).toEqual({
        postgres: { condition: 'service_healthy' },
        redis: { condition: 'service_healthy' },
        migrate: { condition: 'service_completed_successfully' },
      });
    }
  });

  it('checks the health of everything that stays up', () => {
    for (const name of ['catalog-sim', ...stores]) expect(service(name).healthcheck?.test?.[0]).toBe('CMD');
    // The check of these two is the image's own.
    for (const name of ['api', 'task-worker']) expect(service(name).healthcheck).toBeUndefined();
  });

  it('leaves time to stop', () => {
    for (const name of ours) expect(service(name).stop_grace_period).toBe('30s');
  });

  it('gives no container more than it needs (input 95)', () => {
    for (const name of [...ours, ...stores]) {
      expect(service(name)).toMatchObject({ cap_drop: ['ALL'], security_opt: ['no-new-privileges:true'] });
      expect(service(name).privileged).toBeUndefined();
      expect(service(name).cap_add).toBeUndefined();
    }
    for (const name of ours) {
      expect(service(name)).toMatchObject({ build: '.', read_only: true, tmpfs: ['/tmp'] });
      // The user is the image's own, 10001.
      expect(service(name).user).toBeUndefined();
    }
    for (const name of stores) expect(service(name).user).toBe(name);
    expect(read('docker-compose.yml')).not.toContain('docker.sock');
  });

  it('publishes the API alone, to this machine alone', () => {
    const published = Object.entries(services).filter(([, { ports }]) => ports !== undefined);
    expect(published.map(([name, { ports }]) => [name, ports])).toEqual([['api', ['127.0.0.1:3000:3000']]]);
    expect(read('docker-compose.yml')).not.toMatch(/network_mode|host_ip/);
  });

  it('pins each store to a major version and keeps its data', () => {
    expect(service('postgres').image).toMatch(/^postgres:1[78]-\w+$/);
    expect(service('postgres').volumes).toEqual(['postgres:/var/lib/postgresql']);
    expect(service('redis').image).toMatch(/^redis:\d+-\w+$/);
    expect(service('redis').command?.join(' ')).toBe(
      'redis-server --appendonly yes --maxmemory-policy noeviction',
    );
    expect(service('redis').volumes).toEqual(['redis:/data']);
  });

  it('shares the files to ingest among the workers', () => {
    const { environment, volumes } = service('task-worker');
    expect(volumes).toEqual([`ingest:${environment?.['INGEST_ROOTS']}`]);
  });
});
