/** Our figures are measurements that a reader can repeat: they name command, date and machine. */
import { expect, test } from 'vitest';
import { text } from '../support/source-tree.ts';

interface Summary {
  readonly scenario: string;
  readonly peer: string;
  readonly cpuUsPerMessage: { readonly median: number };
}

const results: {
  command: string;
  date: string;
  machine: { cores: number };
  node: string;
  summary: Summary[];
} = JSON.parse(text('bench/results/echo.json'));

function cpu(scenario: string, peer: string): number {
  const found = results.summary.find((row) => row.scenario === scenario && row.peer === peer);
  return found?.cpuUsPerMessage.median ?? Number.NaN;
}

test('the figures of echo name their command, date, machine and Node', () => {
  expect(results.command).toMatch(/^node bench\/run\.mjs /);
  expect(results.date).toMatch(/^\d{4}-\d\d-\d\d/);
  expect(results.machine.cores).toBeGreaterThan(0);
  expect(results.node).toMatch(/^v\d+/);
});

const scenarios = ['64B-64', '1K-10', '1K-256', '64B-256-p16', '64K-8', '1M-4'];

// covers: seeds/C22, seeds/C28
test('every scenario costs less on native than on node:net', () => {
  const ratios = scenarios.map((name) => cpu(name, 'uvio-native') / cpu(name, 'node-net'));
  expect(ratios.filter((ratio) => !(ratio < 1))).toEqual([]);
});
