// `npm run demo`: set-up, then one echo and one line-protocol program, whose code does not change,
// on node:net (an equivalent program), pure() and native(), under load, and a table of it.
//
//   npm run demo -- --short      a second each, to see that it works
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { compileExamples, measure } from './support/demo-run.mjs';
import { main, step } from './support/progress.mjs';
import { root, run, which } from './support/run.mjs';
import { setUp } from './support/setup.mjs';

const { values: flags } = parseArgs({ options: { short: { type: 'boolean', default: false } } });
const seconds = flags.short ? 1 : 4;
const CONNECTIONS = 64;
const COLUMNS = [
  '',
  'loop',
  'messages/s',
  'p50 µs',
  'p99 µs',
  'server CPU µs/message',
  '× node:net',
];

/** The C++ load generator of bench/, or null where it cannot be built. */
async function buildGenerator() {
  if (!which('cmake')) return null;
  return await step('load generator', async () => {
    const { code } = await run(process.execPath, [join(root, 'bench/build.mjs')]);
    return code === 0 ? join(root, 'bench/.build/load/load') : null;
  });
}

const number = (value, digits = 0) => {
  if (!Number.isFinite(value)) return '–';
  const fixed = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return value.toLocaleString('en', fixed);
};

function cells({ program, loop, result }, reference) {
  const { messagesPerSecond, latencyUs, cpuUs } = result;
  return [
    program,
    loop,
    number(messagesPerSecond),
    number(latencyUs.p50),
    number(latencyUs.p99),
    number(cpuUs, 2),
    number(reference.cpuUs / cpuUs, 2),
  ];
}

function printTable(measured) {
  const rows = measured.map((row) => {
    const same = (other) => other.program === row.program && other.loop === 'node:net';
    return cells(row, measured.find(same).result);
  });
  const widths = COLUMNS.map((head, i) => {
    return Math.max(head.length, ...rows.map((row) => row[i].length));
  });
  const line = (row) => {
    const padded = row.map((cell, i) => {
      return i < 2 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]);
    });
    return padded.join('   ').trimEnd();
  };
  console.log(`\n${line(COLUMNS)}\n${line(widths.map((width) => '─'.repeat(width)))}`);
  for (const [i, row] of rows.entries()) {
    if (i > 0 && row[0] !== rows[i - 1][0]) console.log('');
    console.log(line(row));
  }
}

async function measureAll(loops, generator) {
  const measured = [];
  for (const program of ['echo', 'lines']) {
    for (const loop of loops) {
      const what = { program, loop, seconds, connections: CONNECTIONS, generator };
      const name = `${program} on ${loop}`;
      const result = await step(name, (note) => measure(what, note));
      console.log(`  ${number(result.messagesPerSecond)} messages/s`);
      measured.push({ program, loop, result });
    }
  }
  return measured;
}

await main(async () => {
  mkdirSync(join(root, 'build'), { recursive: true });
  const { native } = await setUp();
  await compileExamples();
  const generator = await buildGenerator();
  const loops = native ? ['node:net', 'pure', 'native'] : ['node:net', 'pure'];
  const measured = await measureAll(loops, generator);
  printTable(measured);
  console.log(`
${CONNECTIONS} connections on loopback, server and load on a core each, ${seconds} s each.
echo: 64-byte messages, one in flight. lines: SET and GET of a key-value store, 8 in flight.
The last column compares server CPU time per message. pure and native run the same programs,
examples/demo/echo.ts and examples/demo/lines.ts; node:net runs their twins beside them.`);
  if (!native) {
    console.log('native() is missing from the table: the addon could not be built here.');
  }
});
