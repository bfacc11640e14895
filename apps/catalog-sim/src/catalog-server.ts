import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type CatalogRecord, CatalogRecords } from './catalog-records.js';
import type { CatalogState } from './control-plane.js';
import { type FaultInput, FaultScript, parseFaults } from './fault-script.js';
import { type LoggedRequest, RequestLog } from './request-log.js';
import { serve } from './serve-request.js';

export interface CatalogOptions {
  /** 0 (the default) takes a free port */
  port?: number;
  /** default 127.0.0.1 */
  host?: string;
  /** gets one line for each call under /metadata */
  log?: (line: string) => void;
}

export interface RunningCatalog {
  /** base URL without a slash at its end */
  readonly url: string;
  readonly port: number;
  /** a copy of the records, by id */
  records(): Map<string, CatalogRecord>;
  /** every call under /metadata so far, a live list */
  readonly requests: readonly LoggedRequest[];
  /** queues faults behind those that wait; throws a TypeError on a malformed one */
  script(...faults: FaultInput[]): void;
  clearFaults(): void;
  /** stops listening and breaks every connection, hanging calls included */
  stop(): Promise<void>;
}

const SLOWEST_REQUEST_MS = 30_000;

/**
 * Starts a catalog that keeps its records in memory and misbehaves on request.
 * @throws the error of `listen` when the port is taken.
 */
export async function startCatalog(options: CatalogOptions = {}): Promise<RunningCatalog> {
  const { port = 0, host = '127.0.0.1', log } = options;
  const state: CatalogState = {
    records: new CatalogRecords(),
    faults: new FaultScript(),
    log: new RequestLog(),
  };
  const stopping = new AbortController();
  const server = createServer({ requestTimeout: SLOWEST_REQUEST_MS }, (request, response) => {
    serve(state, request, response, stopping.signal, log).catch(() => response.destroy());
  });
  server.listen(port, host);
  await once(server, 'listening');
  const bound = (server.address() as AddressInfo).port;
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${bound}`,
    port: bound,
    records: () => new Map(state.records.all().map((record) => [record.id, record])),
    requests: state.log.entries,
    script: (...faults) => {
      const parsed = parseFaults(faults);
      if ('invalid' in parsed) throw new TypeError(parsed.invalid);
      state.faults.add(parsed.faults);
    },
    clearFaults: () => state.faults.clear(),
    stop: async () => {
      if (!server.listening) return;
      stopping.abort();
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
