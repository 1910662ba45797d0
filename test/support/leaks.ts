/** After each test of a file: no stream, listener, connect, timer or task is left on its loop. */
import { afterEach, beforeEach, expect } from 'vitest';
import type { EventLoop } from '../../lib/loop/event-loop.ts';
import { setLoopPolicy } from '../../lib/loop/policy.ts';
import { currentLoop } from '../../lib/task/frame.ts';
import { policyName, testPolicy } from './policy.ts';

const patienceMs = 3_000;

export interface Leftovers {
  readonly streams: number;
  readonly listeners: number;
  readonly connecting: number;
  readonly datagrams: number;
  readonly timers: number;
  readonly tasks: number;
}

export const nothing: Leftovers = {
  streams: 0,
  listeners: 0,
  connecting: 0,
  datagrams: 0,
  timers: 0,
  tasks: 0,
};

export function leftovers(loop: EventLoop): Leftovers {
  const { streams, listeners, connecting, datagrams } = loop.backendHandle.counters();
  const { timers, tasks } = loop.metrics();
  return { streams, listeners, connecting, datagrams, timers, tasks };
}

/** Turns of Node's loop until nothing is left, or patience ends. */
export async function settled(loop: EventLoop): Promise<Leftovers> {
  const endMs = performance.now() + patienceMs;
  for (;;) {
    const left = leftovers(loop);
    const clean = Object.values(left).every((count) => count === 0);
    if (clean || performance.now() > endMs) return left;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function ofTestPolicy({ backend }: EventLoop): boolean {
  return policyName === 'native' ? backend !== 'pure' : backend === policyName;
}

/** Gives each test of the file a default loop of the tested policy, and checks it afterwards. */
export function checkLeaks(): void {
  let loop: EventLoop;
  beforeEach(async () => {
    setLoopPolicy(testPolicy());
    loop = currentLoop();
    // A file before this one, in the same process, may have left its loop open, on another policy.
    if (!ofTestPolicy(loop)) await loop.close();
    loop = currentLoop();
    expect(ofTestPolicy(loop)).toBe(true);
  });
  afterEach(async () => {
    const left = await settled(loop);
    // Closed in any case: a leak is one test's failure, not that of all after it.
    await loop.close();
    setLoopPolicy(null);
    expect(left).toEqual(nothing);
  });
}
