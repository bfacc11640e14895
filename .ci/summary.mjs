import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { stripVTControlCharacters } from 'node:util';

/**
 * Names each test that failed, with what it said first, and counts all: the last line is `N passed, N failed`.
 * Its arguments are Jest's report as JSON, and the output of the fault scenarios and of the fuzz run.
 */
const read = (file) => {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    // What has left no report has failed before it came to that.
    return '';
  }
};
const [tests, faults, fuzz] = process.argv.slice(2).map(read);
const report = JSON.parse(tests || '{}');
const { numPassedTests = 0, numFailedTests = 0, numFailedTestSuites = 1, testResults = [] } = report;

const firstLines = (message = '') =>
  stripVTControlCharacters(message)
    .split('\n')
    .filter((line) => line.trim() && !/^\s*at /.test(line))
    .slice(0, 12)
    .map((line) => `      ${line.trimEnd()}`)
    .join('\n');
for (const file of testResults) {
  const failed = file.assertionResults.filter(({ status }) => status === 'failed');
  if (failed.length || file.status === 'failed') console.log(`FAIL ${relative(process.cwd(), file.name)}`);
  for (const test of failed) console.log(`  ${test.fullName}\n${firstLines(test.failureMessages[0])}`);
  // A file that could not even begin.
  if (!failed.length && file.status === 'failed') console.log(firstLines(file.message));
}
const [, passed, failed] = (/(\d+) passed, (\d+) failed\s*$/.exec(faults) ?? [0, 0, 1]).map(Number);
if (failed) console.log('FAIL the fault scenarios');
// The fuzz run is one test, however many requests it makes.
const fuzzed = / passed, 0 failed\s*$/.test(fuzz) ? 1 : 0;
if (!fuzzed) console.log('FAIL the fuzz run');
const all = numPassedTests + passed + fuzzed;
console.log(`${all} passed, ${Math.max(numFailedTests, numFailedTestSuites) + failed + 1 - fuzzed} failed`);
