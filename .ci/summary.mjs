import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { stripVTControlCharacters } from 'node:util';

/**
 * Names each test that failed, with what it said first, and counts all: the last line is `N passed, N failed`.
 * Its arguments are Jest's report as JSON, the output of the fault scenarios and of the fuzz run, and the exit code of the
 * steps, 0 when all went well.
 */
const read = (file) => {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    // What has left no report has failed before it came to that.
    return '';
  }
};
const parse = (text) => {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
};
const [tests, faults, fuzz] = process.argv.slice(2, 5).map(read);
const code = Number(process.argv[5]);
const report = parse(tests);
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
const bad = Math.max(numFailedTests, numFailedTestSuites) + failed + 1 - fuzzed;
// A step may fail without a test that did.
if (code !== 0) console.log(`FAIL a step ended with ${code}`);
console.log(`${numPassedTests + passed + fuzzed} passed, ${code === 0 ? bad : Math.max(1, bad)} failed`);
