/** Nothing happens at import: no handle, no addon, no change to what is global. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { root } from '../support/source-tree.ts';

const PROGRAM = `
  const globals = Object.getOwnPropertyNames(globalThis).length;
  const listeners = () => process.eventNames().map((name) => process.listenerCount(name)).join();
  const before = listeners();
  await import('uvio');
  await import('uvio/fs');
  await import('uvio/node');
  await import('uvio/inspect');
  // Node closes the files that it loaded a little later.
  for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  const { sharedObjects } = process.report.getReport();
  console.log(JSON.stringify({
    resources: process.getActiveResourcesInfo().filter((name) => name !== 'TTYWrap'),
    globals: Object.getOwnPropertyNames(globalThis).length - globals,
    listeners: listeners() === before,
    addons: sharedObjects.filter((file) => file.endsWith('.node')),
  }));
`;

test('importing the built package does nothing but define names', () => {
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', PROGRAM], {
    cwd: join(root, 'test'),
    encoding: 'utf8',
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  const { resources, ...rest } = JSON.parse(output) as { resources: string[] };
  // Pipes are the ones to this test.
  expect(resources.filter((name) => !/Pipe/.test(name))).toEqual([]);
  expect(rest).toEqual({ globals: 0, listeners: true, addons: [] });
});
