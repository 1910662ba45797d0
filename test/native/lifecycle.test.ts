/** How threads and processes with open handles end: no crash, no leak, nothing that hangs. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { policyName } from '../support/policy.ts';

interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
  readonly output: string;
}

function program(name: string, ...args: string[]): Promise<Ended> {
  const file = fileURLToPath(new URL(`programs/${name}`, import.meta.url));
  const child = spawn(process.execPath, [file, policyName, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  child.stdout.on('data', (chunk) => (output += chunk));
  child.stderr.on('data', (chunk) => (output += chunk));
  return new Promise((resolve) => {
    child.on('close', (code, signal) => resolve({ code, signal, output }));
  });
}

test('20 workers are terminated in the middle of reading and writing', async () => {
  const ended = await program('workers.mjs', '20', 'terminate');
  expect(ended).toMatchObject({ code: 0, signal: null });
  expect(ended.output).toContain('ended 20');
}, 60_000);

test('8 workers call process.exit with open connections', async () => {
  const ended = await program('workers.mjs', '8', 'exit');
  expect(ended).toMatchObject({ code: 0, signal: null });
  expect(ended.output).toContain('ended 8');
}, 60_000);

test('process.exit inside a protocol callback', async () => {
  expect(await program('ends.mjs', 'exit-in-callback')).toMatchObject({ code: 7, signal: null });
});

test('an uncaught exception ends the process as in any Node program', async () => {
  const ended = await program('ends.mjs', 'throw-in-callback');
  expect(ended).toMatchObject({ code: 1, signal: null });
  expect(ended.output).toContain('on purpose');
});

test('an unhandled rejection ends the process as in any Node program', async () => {
  const ended = await program('ends.mjs', 'reject');
  expect(ended).toMatchObject({ code: 1, signal: null });
  expect(ended.output).toContain('on purpose');
});

test('a handled uncaught exception of a microtask costs the batch nothing', async () => {
  const ended = await program('ends.mjs', 'uncaught-handled');
  expect(ended.output).toContain('handled');
  expect(ended.output).toContain('done');
  expect(ended.code).toBe(0);
});

test('run closes what main left open, and the process ends', async () => {
  const ended = await program('ends.mjs', 'leave-open');
  expect(ended).toMatchObject({ code: 0, signal: null });
  expect(ended.output).toContain('done');
});

test('main closes all, and the process ends', async () => {
  expect(await program('ends.mjs', 'tidy')).toMatchObject({ code: 0, output: 'done\n' });
});

test('without run the process ends when the last handle is closed', async () => {
  const ended = await program('ends.mjs', 'top-level');
  expect(ended).toMatchObject({ code: 0, signal: null, output: 'bye\ndone\n' });
});
