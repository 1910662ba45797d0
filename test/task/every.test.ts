import { describe, expect, test } from 'vitest';
import { CancelledError } from '../../lib/base/errors.ts';
import { every } from '../../lib/task/every.ts';
import { getRunningLoop } from '../../lib/task/run.ts';
import { CancelScope, moveOnAfter } from '../../lib/task/scope.ts';
import { currentTime, sleep } from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/task.ts';
import { failure, runTest, virtualTest } from './support.ts';

/** Writes down each call, which takes so long. */
function work(...durationsMs: number[]): {
  fn: (tick: number) => Promise<void>;
  calls: [tick: number, atMs: number][];
} {
  const calls: [number, number][] = [];
  return {
    calls,
    fn: async (tick) => {
      calls.push([tick, currentTime()]);
      const durationMs = durationsMs[calls.length - 1] ?? 0;
      if (durationMs > 0) await sleep(durationMs);
    },
  };
}

// covers: seeds/X3
describe('every', () => {
  virtualTest('calls at once and then once a period, without drift', async () => {
    const { fn, calls } = work(3, 9, 1, 5);
    await every(10, fn, { times: 5 });
    expect(calls).toEqual([
      [0, 0],
      [1, 10],
      [2, 20],
      [3, 30],
      [4, 40],
    ]);
  });

  virtualTest('begins its grid when it is called', async () => {
    await sleep(7);
    const { fn, calls } = work();
    await every(10, fn, { times: 2 });
    expect(calls).toEqual([
      [0, 7],
      [1, 17],
    ]);
  });

  virtualTest('with immediate: false waits for a period first', async () => {
    const { fn, calls } = work();
    await every(10, fn, { immediate: false, times: 2 });
    expect(calls).toEqual([
      [1, 10],
      [2, 20],
    ]);
  });

  virtualTest('skips ticks that were missed and stays on the grid', async () => {
    const { fn, calls } = work(25, 0, 11);
    await every(10, fn, { times: 5 });
    expect(calls).toEqual([
      [0, 0],
      [3, 30],
      [4, 40],
      [6, 60],
      [7, 70],
    ]);
  });

  virtualTest('does not skip a tick that is due when the call ends', async () => {
    const { fn, calls } = work(10, 20);
    await every(10, fn, { times: 3 });
    expect(calls).toEqual([
      [0, 0],
      [1, 10],
      [3, 30],
    ]);
  });

  virtualTest('runs all that were missed with burst, then is on the grid again', async () => {
    const { fn, calls } = work(35);
    await every(10, fn, { missed: 'burst', times: 6 });
    expect(calls).toEqual([
      [0, 0],
      [1, 35],
      [2, 35],
      [3, 35],
      [4, 40],
      [5, 50],
    ]);
  });

  virtualTest('lets others run between the calls of a burst', async () => {
    const order: string[] = [];
    const task = createTask(() =>
      every(
        10,
        async (tick) => {
          order.push(`tick ${tick}`);
          if (tick > 0) return;
          await sleep(25);
          createTask(() => order.push('other'));
        },
        { missed: 'burst', times: 3 },
      ),
    );
    await task;
    expect(order).toEqual(['tick 0', 'other', 'tick 1', 'tick 2']);
  });

  virtualTest('does not drift in ten thousand fractions of a millisecond', async () => {
    let calls = 0;
    let last = 0;
    await every(
      0.1,
      (tick) => {
        expect(tick).toBe(calls++);
        last = currentTime();
      },
      { times: 10_000 },
    );
    expect(last).toBe(9_999 * 0.1);
  });

  virtualTest('a late call moves no later one', async () => {
    const { fn, calls } = work();
    const done = createTask(() => every(10, fn, { times: 3 }));
    await sleep(1);
    // The process is busy: when the timer of tick 1 fires, it is 25.
    const { backendHandle } = getRunningLoop();
    const now = backendHandle.now.bind(backendHandle);
    backendHandle.now = () => now() + 24;
    await done;
    expect(calls.slice(0, 2)).toEqual([
      [0, 0],
      [1, 25],
    ]);
    expect(calls[2]?.[0]).toBe(3);
  });

  virtualTest('never runs two calls at once', async () => {
    let running = 0;
    await every(
      1,
      async () => {
        expect(++running).toBe(1);
        await sleep(2.5);
        running--;
      },
      { times: 20, missed: 'burst' },
    );
  });

  virtualTest('with times: 0 calls nothing', async () => {
    await every(10, () => expect.unreachable(), { times: 0 });
    expect(currentTime()).toBe(0);
  });

  virtualTest('throws what the function throws, and calls it no more', async () => {
    let calls = 0;
    const error = await failure(
      every(10, (tick) => {
        calls++;
        if (tick === 2) throw new RangeError('third');
      }),
    );
    expect([error.message, calls, currentTime()]).toEqual(['third', 3, 20]);
  });

  runTest('keeps to the grid on the real clock', async () => {
    const startMs = currentTime();
    const { fn, calls } = work();
    await every(5, fn, { times: 4 });
    for (const [tick, atMs] of calls) expect(atMs).toBeGreaterThanOrEqual(startMs + tick * 5);
  });

  test('works outside of a run', async () => {
    let calls = 0;
    await every(1, () => void calls++, { times: 2 });
    expect(calls).toBe(2);
  });
});

describe('cancellation of every', () => {
  virtualTest('by a deadline ends it for ever', async () => {
    const { fn, calls } = work();
    expect(await moveOnAfter(25, () => every(10, fn))).toBe(undefined);
    await sleep(100);
    expect(calls.length).toBe(3);
  });

  virtualTest('of its task reaches the function, too', async () => {
    let cleaned = false;
    const task = createTask(() =>
      every(10, async () => {
        try {
          await sleep(1000);
        } finally {
          cleaned = true;
        }
      }),
    );
    await sleep(5);
    task.cancel();
    expect(await failure(task)).toBeInstanceOf(CancelledError);
    expect([cleaned, currentTime()]).toEqual([true, 5]);
  });

  virtualTest('before the start calls nothing', async () => {
    const scope = new CancelScope();
    scope.cancel();
    await scope.run(() => every(10, () => expect.unreachable()));
    expect(scope.cancelledCaught).toBe(true);
  });

  virtualTest('comes between the calls of a burst that does not wait', async () => {
    const scope = new CancelScope();
    let calls = 0;
    await scope.run(() =>
      every(
        1,
        async () => {
          if (calls++ === 0) await sleep(1000);
          if (calls === 5) scope.cancel();
        },
        { missed: 'burst' },
      ),
    );
    expect(calls).toBe(5);
  });

  virtualTest('by a signal rejects with its reason', async () => {
    const controller = new AbortController();
    const { fn, calls } = work();
    const task = createTask(() => every(10, fn, { signal: controller.signal }));
    await sleep(15);
    controller.abort('stop');
    expect(await failure(task)).toBe('stop');
    expect(calls.length).toBe(2);
  });

  virtualTest('by a signal that aborted before calls nothing', async () => {
    const options = { signal: AbortSignal.abort('early') };
    expect(await failure(every(10, () => expect.unreachable(), options))).toBe('early');
  });

  virtualTest('by a signal during the last call comes too late', async () => {
    const controller = new AbortController();
    await every(10, () => controller.abort(), { times: 1, signal: controller.signal });
  });
});

describe('bad arguments of every', () => {
  runTest('are rejected', async () => {
    const fn = (): void => expect.unreachable();
    const cases: [unknown[], string][] = [
      [[0, fn], 'RangeError'],
      [[-1, fn], 'RangeError'],
      [[Infinity, fn], 'RangeError'],
      [[Number.NaN, fn], 'TypeError'],
      [['10', fn], 'TypeError'],
      [[10, undefined], 'TypeError'],
      [[10, Promise.resolve()], 'TypeError'],
      [[10, fn, { missed: 'wait' }], 'TypeError'],
      [[10, fn, { times: -1 }], 'RangeError'],
      [[10, fn, { times: 1.5 }], 'RangeError'],
      [[10, fn, { times: '1' }], 'TypeError'],
    ];
    for (const [args, name] of cases) {
      const error = await failure(every(...(args as Parameters<typeof every>)));
      expect([args, error.name]).toEqual([args, name]);
    }
  });
});
