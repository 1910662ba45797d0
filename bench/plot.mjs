// Draws the charts of the documents from the JSON of the benchmarks, and from nothing else.
// `node bench/plot.mjs [NAME ...]`: bench/results/NAME.json -> docs/img/NAME.svg; default: all.
//
// A chart is a list of panels, a panel a list of bars: {label, value, low, high, family, note}.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { drawChart } from './lib/svg.mjs';

const results = fileURLToPath(new URL('results', import.meta.url));
const images = fileURLToPath(new URL('../docs/img', import.meta.url));

function toBar(result, cell, summary, gain) {
  const peer = result.peers.find((one) => one.name === cell.peer);
  const times = gain === null ? '' : `${gain.median.toFixed(2)}×`;
  return {
    label: peer.label,
    family: peer.family,
    value: summary.median,
    low: summary.min,
    high: summary.max,
    // Where the rounds allow no conclusion the chart claims none.
    note: gain === null || gain.certain ? times : `≈ ${times}`,
  };
}

const byValue = (a, b) => a.value - b.value;

function echoChart(result) {
  const label = result.peers.find((peer) => peer.name === result.reference)?.label;
  return {
    title: 'TCP echo: CPU time of the server per message',
    subtitle: `µs, less is better; ×: times less than ${label}; whiskers: fastest, slowest round`,
    digits: 2,
    panels: result.scenarios.map((scenario) => ({
      title: scenario.title,
      bars: result.summary
        .filter((cell) => cell.scenario === scenario.name)
        .map((cell) => toBar(result, cell, cell.cpuUsPerMessage, cell.cpuGain))
        .sort(byValue),
    })),
  };
}

function memoryChart(result) {
  const bars = result.summary.map((cell) =>
    toBar(result, cell, cell.bytesPerConnection, cell.gain),
  );
  return {
    title: 'Private memory per idle connection',
    subtitle: 'bytes, less is better; ×: times less than node:net',
    digits: 0,
    panels: [{ title: `${result.connections} connections`, bars: bars.sort(byValue) }],
  };
}

/** A file may also bring its panels itself: {kind: 'bars', title, subtitle, digits, panels}. */
const charts = { echo: echoChart, memory: memoryChart, bars: (result) => result };

function caption(result) {
  const peers = result.peers ?? [];
  const versions = [
    ...new Set([`Node ${result.node}`, ...peers.map((peer) => peer.version)]),
  ].filter(Boolean);
  const rounds = result.rounds === undefined ? '' : `median of ${result.rounds} rounds, `;
  const cpu = `${result.machine.cores} cores (${result.machine.cpu})`;
  return [
    `${result.command} — ${result.date} UTC, commit ${result.commit}`,
    `${rounds}Linux ${result.machine.kernel}, ${cpu}; ratios travel, figures do not`,
    versions.join(' · '),
  ];
}

function plot(name) {
  const result = JSON.parse(readFileSync(join(results, `${name}.json`), 'utf8'));
  const make = charts[result.kind];
  if (make === undefined) {
    console.log(`${name}: no chart for kind ${result.kind}`);
    return;
  }
  const path = join(images, `${name}.svg`);
  writeFileSync(path, drawChart(make(result), caption(result)));
  console.log(`drawn: ${relative(process.cwd(), path)}`);
}

for (const folder of [results, images]) mkdirSync(folder, { recursive: true });
const asked = process.argv.slice(2);
const all = readdirSync(results).filter((file) => file.endsWith('.json'));
for (const name of asked.length > 0 ? asked : all.map((file) => file.slice(0, -5))) plot(name);
