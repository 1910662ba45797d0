/** Threads and processes do not keep a program alive when idle, and do when they work. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { policyName } from '../support/policy.ts';

interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
  readonly output: string;
}

function program(what: string, flags: string[] = []): Promise<Ended> {
  const file = fileURLToPath(new URL('programs/ends.mjs', import.meta.url));
  const child = spawn(process.execPath, [...flags, file, policyName, what], {
    stdio: ['ignore', 'pipe', 'pipe'],
    // Of its own group: one of the programs interrupts its group.
    detached: true,
  });
  let output = '';
  child.stdout.on('data', (chunk) => (output += chunk));
  child.stderr.on('data', (chunk) => (output += chunk));
  return new Promise((resolve) => {
    child.on('close', (code, signal) => resolve({ code, signal, output }));
  });
}

// covers: asyncio/to-thread, asyncio/shutdown-asyncgens
describe('a program', () => {
  test('ends by itself with idle threads and processes that nobody closed', async () => {
    const startMs = performance.now();
    expect(await program('idle')).toEqual({
      code: 0,
      signal: null,
      output: 'pool\ndefault process\n',
    });
    expect(performance.now() - startMs).toBeLessThan(9_000);
  }, 20_000);

  test('stays alive for a job that runs in a thread', async () => {
    expect(await program('running')).toEqual({ code: 0, signal: null, output: 'late\n' });
  }, 20_000);

  test('stays alive for a job that runs in a process', async () => {
    expect(await program('processRunning')).toEqual({ code: 0, signal: null, output: 'late\n' });
  }, 20_000);

  test('ends after its run, which ends all threads', async () => {
    const output = '0,1,2,3,4,5,6,7,8,9 1\nlate\nrun ended\n';
    expect(await program('inRun')).toEqual({ code: 0, signal: null, output });
  }, 20_000);

  test('is not kept alive by the channel for calls from other threads', async () => {
    expect(await program('channel')).toEqual({ code: 0, signal: null, output: 'called true\n' });
  }, 20_000);

  test('gets all that a job printed, also when the pool is closed at once', async () => {
    const { code, output } = await program('closedAtOnce');
    expect(code).toBe(0);
    expect(output.trimEnd().split('\n').length).toBe(200);
  }, 20_000);

  test('goes on when a thread runs out of memory', async () => {
    expect(await program('outOfMemory', ['--max-old-space-size=64'])).toMatchObject({
      code: 0,
      output: expect.stringContaining('BrokenResourceError ERR_WORKER_OUT_OF_MEMORY\ngoes on\n'),
    });
  }, 30_000);

  test('is interrupted by Ctrl-C as without processes of its own', async () => {
    expect(await program('interrupted')).toMatchObject({ code: null, signal: 'SIGINT' });
  }, 20_000);
});
