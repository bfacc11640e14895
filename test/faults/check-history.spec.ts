import { describe, expect, it } from '@jest/globals';
import { checkHistory } from './check-history.js';
import { RULES } from './checks/violation.js';
import { cleanEvidence } from './clean-evidence.js';
import { PLANTED } from './planted.js';

describe('checkHistory', () => {
  it('finds nothing in a clean run', () => {
    expect(checkHistory(cleanEvidence())).toEqual([]);
  });

  it.each(PLANTED.map(([rule, plant], index) => ({ rule, plant, index })))(
    'finds the planted violation $index of "$rule", and no other',
    ({ rule, plant }) => {
      const evidence = cleanEvidence();
      plant(evidence);
      const found = checkHistory(evidence).map((violation) => violation.rule);
      expect([...new Set(found)]).toEqual([rule]);
    },
  );

  it('has a planted violation for every rule', () => {
    const planted = new Set(PLANTED.map(([rule]) => rule));
    expect(Object.keys(RULES).filter((rule) => !planted.has(rule as keyof typeof RULES))).toEqual([]);
  });
});
