// Progress while measuring, tables at the end, JSON for the plots.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const resultsFolder = fileURLToPath(new URL('../results', import.meta.url));

/** Three significant digits, thousands as k. */
export function short(value) {
  if (!Number.isFinite(value)) return '-';
  if (Math.abs(value) >= 1_000_000) return `${(value / 1_000_000).toPrecision(3)}M`;
  if (Math.abs(value) >= 10_000) return `${Math.round(value / 1000)}k`;
  if (Math.abs(value) >= 1_000) return `${(value / 1000).toPrecision(3)}k`;
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

/** A line that is overwritten on a terminal, and a line each elsewhere. */
export function makeProgress(total) {
  const start = Date.now();
  let done = 0;
  return {
    step(text) {
      done += 1;
      const leftS = ((Date.now() - start) / done) * (total - done) * 0.001;
      const line = `[${done}/${total}, ${Math.ceil(leftS)} s left] ${text}`;
      if (process.stdout.isTTY) process.stdout.write(`\r\x1b[K${line.slice(0, 110)}`);
      else console.log(line);
    },
    end() {
      if (process.stdout.isTTY) process.stdout.write('\r\x1b[K');
    },
  };
}

/** Columns are as wide as they must be; the first is aligned left, the others right. */
export function printTable(title, head, rows) {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column].length)));
  const format = (row) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  ');
  console.log(`\n${title}`);
  console.log(format(head));
  console.log(widths.map((width) => '-'.repeat(width)).join('  '));
  for (const row of rows) console.log(format(row));
}

/** 1.52x [1.48-1.60], or with a ~ in front where no conclusion is allowed. */
export function ratioText(ratio) {
  if (ratio === null) return '(reference)';
  const digits = (value) => value.toFixed(2);
  const mark = ratio.certain ? '' : '~';
  return `${mark}${digits(ratio.median)}x [${digits(ratio.low)}-${digits(ratio.high)}]`;
}

/** JSON with a line per field, and a line per element of the fields that are arrays. */
function toText(result) {
  const lines = Object.entries(result).map(([key, value]) => {
    const isList = Array.isArray(value) && value.length > 0;
    const items = isList ? value.map((item) => `  ${JSON.stringify(item)}`).join(',\n') : '';
    return ` ${JSON.stringify(key)}: ${isList ? `[\n${items}\n ]` : JSON.stringify(value)}`;
  });
  return `{\n${lines.join(',\n')}\n}\n`;
}

/** Writes bench/results/NAME.json. */
export function save(name, result) {
  mkdirSync(resultsFolder, { recursive: true });
  const path = join(resultsFolder, `${name}.json`);
  writeFileSync(path, toText(result));
  console.log(`\nwritten: ${relative(process.cwd(), path)}`);
}

/** Writes the file that --json names; nothing without one. */
export function saveAs(path, result) {
  if (path !== undefined) writeFileSync(path, toText(result));
}
