/**
 * A program for leaks.test.ts: makes many things of each kind, cancels them, and tells how much the
 * heap grew by a round of them and what is left. UVIO_LEAK_COUNT says how many of each kind;
 * UVIO_POLICY on which loop.
 */
import { getEventListeners } from 'node:events';
import { asCompleted, gather, waitFor } from '../../lib/task/combinators.ts';
import { Future } from '../../lib/task/future.ts';
import { taskGroup } from '../../lib/task/group.ts';
import { getRunningLoop, run } from '../../lib/task/run.ts';
import { CancelScope, moveOnAfter, shielded, timeout } from '../../lib/task/scope.ts';
import { abortable, currentSignal } from '../../lib/task/signal.ts';
import { checkpoint, sleep, sleepForever } from '../../lib/task/sleep.ts';
import { createTask, currentTask } from '../../lib/task/task.ts';

const count = Number(process.env['UVIO_LEAK_COUNT'] ?? 12_000);
const rounds = 4;
const batch = 500;
const longMs = 3_600_000;

/** Lives as long as the process, as the signal of a server may. */
const controller = new AbortController();
const { signal } = controller;
const swallow = (): void => {};

/** One of a kind: begun, and ended by a cancellation. */
const kinds: Record<string, () => unknown> = {
  'timeouts that are in time': () => timeout(longMs, () => checkpoint()),
  'timeouts that expire': () => timeout(0, () => sleepForever()).catch(swallow),
  'blocks of timeout': () =>
    createTask(async () => {
      await using _ = timeout(longMs);
      await checkpoint();
    }),
  'scopes that are cancelled': () =>
    new CancelScope({ timeoutMs: longMs }).run((scope) => {
      scope.cancel();
      return sleep(longMs);
    }),
  'scopes with a signal': () => new CancelScope({ signal }).run(() => checkpoint()),
  'signals of scopes': () =>
    moveOnAfter(longMs, async (scope) => {
      currentSignal().addEventListener('abort', swallow);
      scope.cancel();
      await checkpoint();
    }),
  'waits with a signal': async () => {
    const waiting = sleep(longMs, undefined, { signal });
    const scope = new CancelScope();
    const inner = scope.run(() => sleep(longMs, undefined, { signal }));
    scope.cancel();
    await inner;
    // Ends by its task, below.
    waiting.catch(swallow);
    currentTask()?.cancel();
    await checkpoint().catch(swallow);
    currentTask()?.uncancel();
  },
  'tasks that are cancelled': async () => {
    const task = createTask(() => sleep(longMs));
    await checkpoint();
    await task.cancelAndWait();
  },
  'tasks that are cancelled before they begin': () =>
    createTask(() => sleep(longMs)).cancelAndWait(),
  'limits on futures': () => waitFor(new Future(), 0).catch(swallow),
  'limits on what is done in time': () => waitFor(() => checkpoint(), longMs),
  'groups that are cancelled': () =>
    taskGroup((group) => {
      group.createTask(sleepForever);
      group.cancel();
    }),
  'groups that fail': () =>
    taskGroup((group) => {
      group.createTask(sleepForever);
      group.createTask(() => Promise.reject(new Error('failed')));
    }).catch(swallow),
  'shields with grace': () => shielded(() => checkpoint(), { graceMs: longMs }),
  'foreign promises': () =>
    new CancelScope().run((scope) => {
      scope.cancel();
      return abortable(new Promise(() => {}), swallow);
    }),
  'gathers that are cancelled': async () => {
    const task = createTask(() => gather(sleepForever, sleepForever));
    await checkpoint();
    await task.cancelAndWait();
  },
  'results as they come, left early': async () => {
    const slow = createTask(sleepForever);
    const sources = [() => checkpoint(), slow];
    for await (const _ of asCompleted<unknown>(sources, { timeoutMs: longMs })) break;
    slow.cancel();
  },
  'errors that are taken': async () => {
    const task = createTask(() => Promise.reject(new Error('taken')));
    await task.wait();
  },
  'cancelled callbacks': () => getRunningLoop().callLater(longMs, swallow).cancel(),
};

async function many(make: () => unknown, total: number): Promise<void> {
  for (let made = 0; made < total; made += batch) {
    await createTask(async () => {
      for (let i = 0; i < batch; i++) await make();
    });
  }
}

function heapBytes(): number {
  for (let i = 0; i < 3; i++) globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}

async function main(): Promise<void> {
  const loop = getRunningLoop();
  const grown: Record<string, number> = {};
  for (const [kind, make] of Object.entries(kinds)) {
    let before = Infinity;
    // The least of some rounds: V8's weak tables grow now and then by a lot, and stay so.
    for (let round = 0; round <= rounds; round++) {
      await many(make, count / rounds);
      // Finalizers and what waits for a turn.
      await sleep(2);
      const after = heapBytes();
      if (round > 0) grown[kind] = Math.min(after - before, grown[kind] ?? Infinity);
      before = after;
    }
  }
  const { tasks, timers } = loop.metrics();
  const listeners = getEventListeners(signal, 'abort').length;
  console.log(JSON.stringify({ count, grown, tasks, timers, listeners }));
}

await run(main);
