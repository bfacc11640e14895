/** How the statements are known on the wire, by words that stand in no other. */
export const STATEMENTS = {
  accept: /INSERT INTO jobs \(/,
  claim: /fence = t\.fence \+ 1, attempt = t\.attempt \+ 1/,
  finish: /crashes = t\.crashes \+/,
  renewal: /UPDATE workers SET seen_at = clock_timestamp\(\), running =/,
  cancel: /SET status = 'canceled', outcome = 'canceled'/,
  ending: /INSERT INTO job_events[^;]*FROM j\s*\)\s*DELETE FROM dispatch/,
};
