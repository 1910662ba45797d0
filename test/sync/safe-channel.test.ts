/** safeChannel, with the behaviours of trio's test_as_safe_channel_*. */
import { describe, expect, test } from 'vitest';
import {
  CancelledError,
  ClosedResourceError,
  EndOfChannel,
  ExceptionGroup,
  WouldBlock,
} from '../../lib/base/errors.ts';
import type { ReceiveChannel } from '../../lib/sync/channel.ts';
import { safeChannel } from '../../lib/sync/safe-channel.ts';
import { taskGroup } from '../../lib/task/group.ts';
import { CancelScope, moveOnAfter, timeout } from '../../lib/task/scope.ts';
import { currentTime, sleep, sleepForever } from '../../lib/task/sleep.ts';
import { allTasks, currentTask } from '../../lib/task/task.ts';
import { checkLeaks } from '../support/leaks.ts';
import { failure, inRun, never, runTest, virtualTest } from '../task/support.ts';
import { begun, idle, thrown } from './support.ts';

async function* count(to: number, log: string[] = []): AsyncGenerator<number> {
  try {
    for (let i = 0; i < to; i++) {
      log.push(`make ${i}`);
      yield i;
    }
  } finally {
    log.push('clean');
    await sleep(1);
    log.push('cleaned');
  }
}

// covers: trio/open-memory-channel
describe('safeChannel', () => {
  // test_as_safe_channel_exhaust
  runTest('gives what the generator yields, then ends', async () => {
    const channel = safeChannel(count, 3);
    const got: number[] = [];
    for await (const item of channel) got.push(item);
    expect(got).toEqual([0, 1, 2]);
    for await (const item of channel) throw new Error(`got ${item}`);
    expect(await failure(channel.receive())).toBeInstanceOf(EndOfChannel);
    expect(thrown(() => channel.receiveNowait())).toBeInstanceOf(EndOfChannel);
  });

  runTest('runs the generator in a task of its own', async () => {
    const channel = safeChannel(async function* () {
      yield currentTask()?.name;
    });
    expect(await channel.receive()).toBe('safeChannel');
    await channel[Symbol.asyncDispose]();
  });

  // test_as_safe_channel_buffer_size_too_small, test_as_safe_channel_no_interleave
  virtualTest('goes on only when the next item is asked for', async () => {
    const log: string[] = [];
    await moveOnAfter(5, async () => {
      for await (const item of safeChannel(count, 3, log)) {
        log.push(`got ${item}`);
        if (item === 1) await sleepForever();
      }
    });
    expect(log).toEqual(['make 0', 'got 0', 'make 1', 'got 1', 'clean', 'cleaned']);
    expect(currentTime()).toBe(6);
  });

  // test_as_safe_channel_cancelled, test_as_safe_channel_close_before_iteration,
  // test_as_safe_channel_dont_unwrap_user_exceptiongroup
  runTest('that nobody reads never begins', async () => {
    const log: string[] = [];
    const scope = new CancelScope();
    await scope.run(async () => {
      await using channel = safeChannel(count, 3, log);
      scope.cancel();
      expect(await failure(channel.receive())).toBeInstanceOf(CancelledError);
    });
    const channel = safeChannel(count, 3, log);
    await channel[Symbol.asyncDispose]();
    expect(await failure(channel.receive())).toBeInstanceOf(ClosedResourceError);
    expect(log).toEqual([]);
  });

  // test_as_safe_channel_no_race
  runTest('throws the error of the generator at its place, once', async () => {
    const channel = safeChannel(async function* () {
      yield 1;
      throw new RangeError('mine');
    });
    const got: number[] = [];
    const error = await failure(async () => {
      for await (const item of channel) got.push(item);
    });
    expect([got, error.message]).toEqual([[1], 'mine']);
    const second = safeChannel(async function* () {
      yield* [];
      throw new RangeError('mine');
    });
    expect((await failure(second.receive())).message).toBe('mine');
    expect(await failure(second.receive())).toBeInstanceOf(EndOfChannel);
    await second[Symbol.asyncDispose]();
  });

  // test_as_safe_channel_nested_loop
  runTest('may be nested', async () => {
    const pairs: number[][] = [];
    for await (const i of safeChannel(count, 2)) {
      for await (const j of safeChannel(count, 2)) pairs.push([i, j]);
    }
    expect(pairs).toEqual([
      [0, 0],
      [0, 1],
      [1, 0],
      [1, 1],
    ]);
  });

  // test_as_safe_channel_multiple_receiver
  runTest('serves several receivers in order of waiting', async () => {
    const channel = safeChannel(async function* () {
      await sleep(1);
      yield 0;
      yield 1;
    });
    const clone = channel.clone();
    const tasks = [channel, clone].map((own) => begun(() => own.receive()));
    expect(await Promise.all(tasks)).toEqual([0, 1]);
    expect(channel.statistics()).toMatchObject({ capacity: 0, receivers: 2 });
    channel.close();
    expect(await failure(clone.receive())).toBeInstanceOf(EndOfChannel);
    await clone[Symbol.asyncDispose]();
  });

  runTest('makes a clone of its own close nothing, until it is the last', async () => {
    const log: string[] = [];
    const channel = safeChannel(count, 3, log);
    const clone = channel.clone();
    for await (const _ of channel) break;
    expect(log).toEqual(['make 0']);
    for await (const _ of clone) break;
    expect(log).toEqual(['make 0', 'make 1', 'clean', 'cleaned']);
  });

  virtualTest('can be asked without waiting', async () => {
    const channel = safeChannel(count, 1);
    expect(thrown(() => channel.receiveNowait())).toBeInstanceOf(WouldBlock);
    await idle();
    expect(channel.receiveNowait()).toBe(0);
    expect(thrown(() => channel.receiveNowait())).toBeInstanceOf(WouldBlock);
    await sleep(5);
    expect(thrown(() => channel.receiveNowait())).toBeInstanceOf(EndOfChannel);
  });
});

describe('leaving the loop', () => {
  runTest('ends the generator where it yielded, and waits for its clean-up', async () => {
    const log: string[] = [];
    for await (const _ of safeChannel(count, 3, log)) break;
    expect(log).toEqual(['make 0', 'clean', 'cleaned']);
  });

  runTest('by an error does the same', async () => {
    const log: string[] = [];
    const error = await failure(async () => {
      for await (const _ of safeChannel(count, 3, log)) throw new RangeError('mine');
    });
    expect([error.message, log]).toEqual(['mine', ['make 0', 'clean', 'cleaned']]);
  });

  virtualTest('by a time limit while it waits cancels the generator where it waits', async () => {
    const log: string[] = [];
    async function* slow(): AsyncGenerator<number> {
      try {
        await sleep(never);
        yield 1;
      } catch (error) {
        log.push(String((error as Error).name));
        await sleep(3);
        log.push('cleaned');
        throw error;
      }
    }
    const error = await failure(
      timeout(5, async () => {
        for await (const item of safeChannel(slow)) log.push(`got ${item}`);
      }),
    );
    expect([error.code, log, currentTime()]).toEqual([
      'ETIMEDOUT',
      ['CancelledError', 'cleaned'],
      8,
    ]);
  });

  // test_as_safe_channel_multi_cancel
  virtualTest('by task.cancel() and by a cancelled scope awaits the clean-up', async () => {
    const log: string[] = [];
    const task = begun(async () => {
      for await (const _ of safeChannel(count, 3, log)) await sleepForever();
    });
    await sleep(1);
    task.cancel();
    expect(await failure(task)).toBeInstanceOf(CancelledError);
    expect(log.splice(0)).toEqual(['make 0', 'clean', 'cleaned']);
    const scope = new CancelScope();
    await scope.run(async () => {
      for await (const _ of safeChannel(count, 3, log)) {
        scope.cancel();
        await sleep(1);
      }
    });
    expect([scope.cancelledCaught, log]).toEqual([true, ['make 0', 'clean', 'cleaned']]);
  });

  // test_as_safe_channel_genexit_finally
  runTest('throws an error of the clean-up', async () => {
    const channel = safeChannel(async function* () {
      try {
        yield 1;
      } finally {
        await Promise.reject(new RangeError('from the clean-up'));
      }
    });
    const error = await failure(async () => {
      for await (const _ of channel) break;
    });
    expect(error.message).toBe('from the clean-up');
  });

  // test_as_safe_channel_genexit_filter
  virtualTest('ends a task group that the generator waits in, and throws its errors', async () => {
    async function* grouped(): AsyncGenerator<number> {
      await taskGroup((group) => {
        group.createTask(async () => {
          expect(await failure(sleepForever())).toBeInstanceOf(CancelledError);
          throw new RangeError('from the child');
        });
      });
      yield 1;
    }
    const error = await failure(
      moveOnAfter(5, async () => {
        for await (const _ of safeChannel(grouped)) throw new Error('not reached');
      }),
    );
    expect(error).toBeInstanceOf(ExceptionGroup);
    expect(error.leaves()).toEqual([new RangeError('from the child')]);
  });
});

describe('closing', () => {
  // test_as_safe_channel_broken_resource, test_as_safe_channel_recv_closed
  virtualTest('cancels the generator, and receives fail', async () => {
    const log: string[] = [];
    const channel = safeChannel(count, 3, log);
    expect(await channel.receive()).toBe(0);
    channel.close();
    channel.close();
    expect(await failure(channel.receive())).toBeInstanceOf(ClosedResourceError);
    await sleep(5);
    expect(log).toEqual(['make 0', 'clean', 'cleaned']);
    expect(allTasks().size).toBe(1);
  });

  // test_as_safe_channel_close_between_iteration
  runTest('by another task ends the loop with an error', async () => {
    const channel = safeChannel(count, Infinity);
    await taskGroup(async (group) => {
      group.createTask(async () => {
        await idle();
        await channel[Symbol.asyncDispose]();
      });
      const error = await failure(async () => {
        for await (const _ of channel) await sleep(0);
      });
      expect(error).toBeInstanceOf(ClosedResourceError);
    });
  });

  // test_as_safe_channel_close_during_iteration
  runTest('by the generator itself ends the loop with an error', async () => {
    let channel: ReceiveChannel<number>;
    async function* suicidal(): AsyncGenerator<number> {
      yield 0;
      await channel[Symbol.asyncDispose]();
      yield 1;
      throw new Error('not reached');
    }
    channel = safeChannel(suicidal);
    const got: number[] = [];
    const error = await failure(async () => {
      for await (const item of channel) got.push(item);
    });
    expect([got, error]).toEqual([[0], expect.any(ClosedResourceError)]);
  });

  virtualTest('at the end of an await using waits for the clean-up', async () => {
    const log: string[] = [];
    {
      await using channel = safeChannel(count, 3, log);
      await channel.receive();
    }
    expect(log).toEqual(['make 0', 'clean', 'cleaned']);
  });
});

describe('a receive that is cancelled', () => {
  virtualTest('loses nothing, and a loop that begins later goes on', async () => {
    const channel = safeChannel(async function* () {
      for (let i = 0; i < 3; i++) {
        await sleep(10);
        yield i;
      }
    });
    expect(await moveOnAfter(5, () => channel.receive())).toBeUndefined();
    const controller = new AbortController();
    const aborted = begun(() => channel.receive({ signal: controller.signal }));
    controller.abort('why');
    expect(await failure(aborted)).toBe('why');
    const got: number[] = [];
    for await (const item of channel) got.push(item);
    expect(got).toEqual([0, 1, 2]);
  });
});

describe('the end of a run', () => {
  test('cleans up what was abandoned half-way', async () => {
    const log: string[] = [];
    const error = await failure(
      inRun(async () => {
        await safeChannel(count, 3, log).receive();
      }),
    );
    // The run's own check finds the task; its end cancels it and awaits the clean-up.
    expect(error.message).toContain('tasks');
    expect(log).toEqual(['make 0', 'clean', 'cleaned']);
  });
});

describe('misuse', () => {
  checkLeaks();

  test('anything but a function is a TypeError', () => {
    for (const wrong of [undefined, 5, count(1), Promise.resolve()]) {
      expect(thrown(() => safeChannel(wrong as never))).toBeInstanceOf(TypeError);
    }
  });

  test('a function that gives no generator is a TypeError of the first receive', async () => {
    const wrong = (() => 5) as never;
    expect(await failure(safeChannel(wrong).receive())).toBeInstanceOf(TypeError);
  });

  test('outside of run() all works', async () => {
    const got: number[] = [];
    for await (const item of safeChannel(count, 3)) got.push(item);
    expect(got).toEqual([0, 1, 2]);
  });
});
