import { text } from 'node:stream/consumers';
import { spawnService } from './service.js';

/** A route as the router of a running service has it, such as `GET /jobs/:jobId`. */
export interface ServedRoute {
  method: string;
  path: string;
}

/** Every route that a service with these settings serves, as told by its own router. */
export async function servedRoutes(environment: Record<string, string>): Promise<ServedRoute[]> {
  const child = spawnService(environment, 'routes');
  const [tree, complaints] = await Promise.all([text(child.stdout!), text(child.stderr!)]);
  const routes = routesOf(tree);
  if (routes.length === 0) throw new Error(`No routes were listed:\n${complaints}`);
  return routes;
}

/** Reads the tree that Fastify prints: each level is four characters further in, and adds to the path above it. */
function routesOf(tree: string): ServedRoute[] {
  const paths: string[] = [];
  return tree.split('\n').flatMap((line) => {
    const [, indent = '', part = '', methods = ''] =
      /^([│ ]*)[├└]── (\S+)(?: \(([A-Z, ]+)\))?$/.exec(line) ?? [];
    if (part === '') return [];
    const depth = indent.length / 4;
    paths.length = depth;
    paths.push(part);
    const path = paths.join('');
    return methods === '' ? [] : methods.split(', ').map((method) => ({ method, path }));
  });
}
