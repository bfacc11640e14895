import type { CatalogRecords } from './catalog-records.js';
import { type FaultScript, parseFaults } from './fault-script.js';
import type { Reply } from './http-exchange.js';
import type { RequestLog } from './request-log.js';

/** What the control plane reads and changes. */
export interface CatalogState {
  records: CatalogRecords;
  faults: FaultScript;
  log: RequestLog;
}

/**
 * Answers `POST|GET|DELETE /_sim/faults`, `GET /_sim/requests` and `GET /_sim/records`. These calls are neither
 * logged nor subject to faults.
 */
export function handleControl(state: CatalogState, method: string, path: string, body: string): Reply {
  switch (`${method} ${path}`) {
    case 'POST /_sim/faults':
      return queueFaults(state.faults, body);
    case 'GET /_sim/faults':
      return { status: 200, body: state.faults.pending() };
    case 'DELETE /_sim/faults':
      state.faults.clear();
      return { status: 204 };
    case 'GET /_sim/requests':
      return { status: 200, body: state.log.entries };
    case 'GET /_sim/records':
      return { status: 200, body: state.records.all() };
    default:
      return { status: 404, body: { message: 'no such control route' } };
  }
}

function queueFaults(faults: FaultScript, body: string): Reply {
  let json: unknown;
  try {
    json = JSON.parse(body);
  } catch {
    return { status: 400, body: { message: 'the body is not JSON' } };
  }
  const parsed = parseFaults(json);
  if ('invalid' in parsed) return { status: 400, body: { message: parsed.invalid } };
  faults.add(parsed.faults);
  return { status: 201, body: faults.pending() };
}
