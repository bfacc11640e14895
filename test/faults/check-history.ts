import { checkCatalog } from './checks/catalog.js';
import { checkExecutions } from './checks/executions.js';
import { checkLedger } from './checks/ledger.js';
import { checkRows } from './checks/rows.js';
import { checkTold } from './checks/told.js';
import type { Violation } from './checks/violation.js';
import type { Evidence } from './evidence.js';

/**
 * Judges a run from the outside: from what clients were told, what handlers did, what the Catalog was asked, and the
 * rows that are left. It shares no code with the engine. An empty list means that every promise was kept.
 */
export function checkHistory(evidence: Evidence): Violation[] {
  return [checkTold, checkLedger, checkExecutions, checkCatalog, checkRows].flatMap((check) =>
    check(evidence),
  );
}
