import { Injectable } from '@nestjs/common';
import type { FastifyInstance } from 'fastify';

/** The routes of the service, to tell a method that an address does not take from an address that is not there. */
@Injectable()
export class KnownRoutes {
  private readonly patterns = new Map<string, { pattern: RegExp; methods: Set<string> }>();

  /** Must see the server before its routes are made. */
  watch(server: FastifyInstance): void {
    server.addHook('onRoute', ({ url, method }) => {
      if (url.includes('*')) return;
      const known = this.patterns.get(url) ?? { pattern: patternOf(url), methods: new Set() };
      for (const one of [method].flat()) known.methods.add(one);
      this.patterns.set(url, known);
    });
  }

  /** Every route, as `GET /jobs/:jobId`. */
  get all(): string[] {
    return [...this.patterns].flatMap(([url, { methods }]) =>
      [...methods].map((method) => `${method} ${url}`),
    );
  }

  /** What an address takes, in the order of the alphabet; nothing where there is no such address. */
  methodsOf(address: string): string[] {
    const [path = ''] = address.split('?');
    const methods = [...this.patterns.values()].flatMap((route) =>
      route.pattern.test(path) ? [...route.methods] : [],
    );
    return [...new Set(methods)].toSorted();
  }
}

function patternOf(url: string): RegExp {
  const parts = url.split('/').map((part) => (part.startsWith(':') ? '[^/]+' : part.replaceAll('.', '\\.')));
  return new RegExp(`^${parts.join('/')}$`);
}
