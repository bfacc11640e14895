import { parseArgs } from 'node:util';
import { compareZone } from './oracle.js';

const say = (line: string) => void process.stdout.write(`${line}\n`);
const { values } = parseArgs({
  options: {
    oracle: { type: 'boolean', default: false },
    years: { type: 'string', default: '1' },
    from: { type: 'string', default: '2024' },
    days: { type: 'string', default: '3' },
    samples: { type: 'string', default: '4' },
    zones: { type: 'string' },
  },
});
if (!values.oracle)
  throw new Error('Say --oracle: compares the slots of every zone with an independent oracle.');
const from = new Date(`${values.from}-01-01T00:00:00Z`);
const to = new Date(`${Number(values.from) + Number(values.years)}-01-01T00:00:00Z`);
const zones = values.zones?.split(',') ?? ['UTC', ...Intl.supportedValuesOf('timeZone')];
const sums = { zones: 0, transitions: 0, instants: 0, differences: 0 };
for (const zone of zones) {
  const found = compareZone(zone, from, to, Number(values.days), Number(values.samples));
  sums.zones++;
  sums.transitions += found.transitions;
  sums.instants += found.instants;
  sums.differences += found.differences.length;
  for (const difference of found.differences) say(difference);
  if (process.stdout.isTTY) process.stdout.write(`\r${sums.zones}/${zones.length} zones `);
}
say(
  `${from.toISOString().slice(0, 10)} to ${to.toISOString().slice(0, 10)}: ${sums.zones} zones, ${sums.transitions} transitions, ` +
    `${sums.instants} instants compared, ${sums.differences} differences`,
);
process.exitCode = sums.differences === 0 ? 0 : 1;
