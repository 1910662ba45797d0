/** The examples of the texts that uvio started from, on a clock that jumps. */
import { beforeEach, describe, expect } from 'vitest';
import { CancelledError, TimeoutError } from '../../lib/base/errors.ts';
import { gather, waitFor } from '../../lib/task/combinators.ts';
import { Future } from '../../lib/task/future.ts';
import { openNursery } from '../../lib/task/group.ts';
import { getRunningLoop } from '../../lib/task/run.ts';
import { moveOnAfter } from '../../lib/task/scope.ts';
import { currentTime, sleep } from '../../lib/task/sleep.ts';
import { createTask, spawn } from '../../lib/task/task.ts';
import { virtualTest } from './support.ts';

let lines: string[] = [];
beforeEach(() => {
  lines = [];
});

function print(line: string): void {
  lines.push(line);
}

async function valueAfter<T>(delayMs: number, value: T): Promise<T> {
  await sleep(delayMs);
  return value;
}

async function talk(name: string, delayMs: number): Promise<void> {
  print(`${name} starting`);
  await sleep(delayMs);
  print(`${name} completed`);
}

describe('asyncio', () => {
  // covers: seeds/E1
  virtualTest('E1: two tasks are gathered in the order of input', async () => {
    const tasks = [createTask(valueAfter, 2000, 'Hello'), createTask(valueAfter, 1000, 'World')];
    expect(await gather(tasks)).toEqual(['Hello', 'World']);
    expect(currentTime()).toBe(2000);
  });

  // covers: seeds/E10, seeds/E16, seeds/E26
  virtualTest('E10, E16, E26: hello, a second, world', async () => {
    await talk('Hello', 1000);
    expect([lines.length, currentTime()]).toEqual([2, 1000]);
  });

  // covers: seeds/E12, seeds/E18
  virtualTest('E12, E18: running calls are gathered', async () => {
    const results = await gather(
      valueAfter(1000, 'hello'),
      valueAfter(2000, 'world'),
      valueAfter(2000, '!'),
    );
    expect([results, currentTime()]).toEqual([['hello', 'world', '!'], 2000]);
  });

  // covers: seeds/E17
  virtualTest('E17: one after the other takes the sum', async () => {
    await valueAfter(1000, 'hello');
    await valueAfter(2000, 'world');
    expect(currentTime()).toBe(3000);
  });

  for (const eagerStart of [false, true]) {
    // covers: seeds/E19
    const title = `E19: a task and other work, eagerStart ${eagerStart}`;
    virtualTest(title, async () => {
      print('Creating');
      const task = createTask({ eagerStart }, talk, 'fetch', 2000);
      print('Other work');
      await sleep(1000);
      print('Still working');
      await task;
      const begin = ['Other work', 'fetch starting'];
      if (eagerStart) begin.reverse();
      expect(lines).toEqual(['Creating', ...begin, 'Still working', 'fetch completed']);
      expect(currentTime()).toBe(2000);
    });
  }

  // covers: seeds/E20
  virtualTest('E20: a task takes too long', async () => {
    try {
      await waitFor(() => sleep(5000), 2000);
    } catch (error) {
      if (!(error instanceof TimeoutError)) throw error;
      print('Task took too long!');
    }
    expect([lines, currentTime()]).toEqual([['Task took too long!'], 2000]);
  });

  // covers: seeds/E22
  virtualTest('E22: a background worker prints each second until it is cancelled', async () => {
    const background = createTask(async () => {
      for (;;) {
        print('running');
        await sleep(1000);
      }
    });
    await sleep(4999);
    await background.cancelAndWait();
    expect([lines.length, currentTime()]).toEqual([5, 4999]);
  });

  // covers: seeds/E23
  virtualTest('E23: a cancelled task tells and passes it on', async () => {
    const task = createTask(async () => {
      try {
        print('started');
        await sleep(10_000);
        print('not reached');
      } catch (error) {
        if (error instanceof CancelledError) print('task was cancelled');
        throw error;
      }
    });
    await sleep(2000);
    task.cancel();
    try {
      await task;
    } catch (error) {
      if (!(error instanceof CancelledError)) throw error;
      print('main: task was cancelled');
    }
    expect(lines).toEqual(['started', 'task was cancelled', 'main: task was cancelled']);
    expect(currentTime()).toBe(2000);
  });

  // covers: seeds/E27
  virtualTest('E27: two running calls end in the order of their delays', async () => {
    await gather(talk('One', 2000), talk('Two', 1000));
    expect(lines).toEqual(['One starting', 'Two starting', 'Two completed', 'One completed']);
  });

  // covers: seeds/E28
  virtualTest('E28: fetching and processing overlap', async () => {
    await gather(
      () => talk('fetch', 3000),
      () => talk('process', 2000),
    );
    expect(currentTime()).toBe(3000);
  });

  // covers: seeds/E29
  virtualTest('E29: tasks that are awaited in turn run at the same time', async () => {
    const first = createTask(talk, 'A', 2000);
    const second = createTask(talk, 'B', 1000);
    await first;
    await second;
    expect(lines).toEqual(['A starting', 'B starting', 'B completed', 'A completed']);
    expect(currentTime()).toBe(2000);
  });

  // covers: seeds/E30
  virtualTest('E30: a future is set by hand', async () => {
    const future = new Future<number>();
    getRunningLoop().callLater(1000, () => future.setResult(42));
    expect(await future).toBe(42);
  });

  // covers: seeds/E31
  virtualTest('E31: an error comes through await', async () => {
    const mayFail = async (): Promise<void> => {
      throw new RangeError('Something went wrong!');
    };
    await mayFail().catch((error: Error) => print(`Caught an error: ${error.message}`));
    expect(lines).toEqual(['Caught an error: Something went wrong!']);
  });
});

describe('trio and curio', () => {
  // covers: seeds/E5
  virtualTest('E5: a nursery waits for its three children', async () => {
    await openNursery((nursery) => {
      nursery.startSoon(talk, 'A', 2000);
      nursery.startSoon(talk, 'B', 1000);
      nursery.startSoon(talk, 'C', 3000);
    });
    const starts = ['A starting', 'B starting', 'C starting'];
    expect(lines).toEqual([...starts, 'B completed', 'A completed', 'C completed']);
    expect(currentTime()).toBe(3000);
  });

  // covers: seeds/E6
  virtualTest('E6: a call is moved on from after three seconds', async () => {
    const result = await moveOnAfter(3000, () => valueAfter(5000, 'Done'));
    expect([result, currentTime()]).toEqual([undefined, 3000]);
  });

  // covers: seeds/C15
  virtualTest('E6: a group of tasks, too', async () => {
    await moveOnAfter(3000, () =>
      openNursery((nursery) => {
        nursery.startSoon(talk, 'A', 2000);
        nursery.startSoon(talk, 'B', 9000);
      }),
    );
    expect(lines).toEqual(['A starting', 'B starting', 'A completed']);
    expect(currentTime()).toBe(3000);
  });

  // covers: seeds/E7
  virtualTest('E7: two countdowns are spawned and joined', async () => {
    const countdown = async (name: string, n: number): Promise<void> => {
      for (let left = n; left > 0; left--) {
        print(`${name}${left}`);
        await sleep(1000);
      }
      print(`${name} done`);
    };
    const first = spawn(countdown, 'A', 3);
    const second = spawn(countdown, 'B', 2);
    await first.join();
    await second.join();
    expect(lines).toEqual(['A3', 'B2', 'A2', 'B1', 'A1', 'B done', 'A done']);
    expect(currentTime()).toBe(3000);
  });
});
