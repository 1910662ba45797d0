/** Children for the tests of subprocesses, and a check that none of them is left. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { openChildren } from '../../lib/process/child.ts';
import { getRunningLoop } from '../../lib/task/run.ts';
import { runTest } from '../task/support.ts';

export const node: string = process.execPath;

/** A turn of Node's loop. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Turns until the condition holds. */
export async function until(condition: () => boolean): Promise<void> {
  const endMs = performance.now() + 8_000;
  while (!condition()) {
    if (performance.now() > endMs) throw new Error(`never came true: ${condition}`);
    await turn();
  }
}

/** Whether the process is there, be it as a zombie. */
export function exists(pid: number): boolean {
  return existsSync(`/proc/${pid}`);
}

export function isStopped(pid: number): boolean {
  return /^State:\s+T/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
}

export function openFds(): number {
  return readdirSync('/proc/self/fd').length;
}

/** As `runTest`; at the end no child runs and no pipe to one is open. */
export function processTest(title: string, main: () => unknown): void {
  runTest(title, async () => {
    await main();
    const loop = getRunningLoop();
    await until(() => openChildren(loop) === 0);
  });
}

/** Puts the clock of the running loop forward; what is due then fires. */
export async function advance(ms: number): Promise<void> {
  // What was begun just now has armed its timers then.
  for (let i = 0; i < 5; i++) await turn();
  const loop = getRunningLoop();
  const backend = loop.backendHandle;
  const now = backend.now.bind(backend);
  backend.now = (): number => now() + ms;
  loop.onTimers();
}

/** A child that says `ready`, then ignores SIGTERM, until it is killed. */
export const stubborn = "trap '' TERM; echo ready; while :; do read line; done";

/** A child that says `ready`, and on SIGTERM `bye`, and ends with code 7. */
export const polite = "trap 'echo bye; exit 7' TERM; echo ready; while :; do read line; done";
