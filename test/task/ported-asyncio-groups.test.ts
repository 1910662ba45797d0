/** Behaviour that CPython's test_taskgroups tests, written anew; group.test.ts has the rest. */
import { describe, expect } from 'vitest';
import { CancelledError, ExceptionGroup, TimeoutError } from '../../lib/base/errors.ts';
import { gather, waitFor } from '../../lib/task/combinators.ts';
import { ContextVar, copyContext } from '../../lib/task/context.ts';
import { Future } from '../../lib/task/future.ts';
import { TaskGroup, taskGroup } from '../../lib/task/group.ts';
import { getRunningLoop } from '../../lib/task/run.ts';
import { shielded, timeout } from '../../lib/task/scope.ts';
import { checkpoint, currentTime, sleep, sleepForever } from '../../lib/task/sleep.ts';
import { createTask, currentTask, type Task } from '../../lib/task/task.ts';
import { failure, never, virtualTest } from './support.ts';

class Boom extends Error {}
class Bang extends Error {}

async function failAfter(ms: number, error: Error = new Boom()): Promise<never> {
  await sleep(ms);
  throw error;
}

function kinds(group: unknown): unknown[] {
  return (group as ExceptionGroup).errors.map((error: Error) => error.constructor);
}

// covers: asyncio/taskgroup, seeds/C14, seeds/C16
describe('a task group, as in asyncio: failures', () => {
  virtualTest('gives results of its tasks after it ended', async () => {
    let tasks: Task<number>[] = [];
    await taskGroup((group) => {
      tasks = [group.createTask(() => sleep(10, 42)), group.createTask(() => sleep(5, 11))];
    });
    expect(tasks.map((task) => task.result())).toEqual([42, 11]);
  });

  virtualTest('fails while its body awaits another task of it', async () => {
    let other: Task | undefined;
    const error = await failure(
      taskGroup(async (group) => {
        group.createTask(failAfter, 5);
        other = group.createTask(sleep, never);
        await other;
      }),
    );
    expect([kinds(error), other?.cancelled, currentTime()]).toEqual([[Boom], true, 5]);
  });

  virtualTest('fails although its body swallows the cancellation', async () => {
    let went = false;
    const error = await failure(
      taskGroup(async (group) => {
        group.createTask(failAfter, 5);
        await sleep(never).catch(() => {});
        went = true;
      }),
    );
    expect([kinds(error), went]).toEqual([[Boom], true]);
  });

  virtualTest('waits for shielded clean-up of the siblings of what failed', async () => {
    let cleanedAt = 0;
    const error = await failure(
      taskGroup((group) => {
        group.createTask(failAfter, 5);
        group.createTask(async () => {
          try {
            await sleep(never);
          } finally {
            await shielded(() => sleep(20));
            cleanedAt = currentTime();
          }
        });
      }),
    );
    expect([kinds(error), cleanedAt]).toEqual([[Boom], 25]);
  });

  virtualTest('collects what siblings throw when they are cancelled, in order', async () => {
    const error = await failure(
      taskGroup((group) => {
        group.createTask(async () => {
          await sleep(never).catch(() => {});
          throw new Bang();
        });
        group.createTask(failAfter, 5);
        group.createTask(async () => {
          await sleep(never).catch(() => {});
          throw new RangeError();
        });
      }),
    );
    expect(kinds(error)).toEqual([Boom, Bang, RangeError]);
  });

  virtualTest('throws the error of its body together with those of its tasks', async () => {
    const error = await failure(
      taskGroup(async (group) => {
        group.createTask(async () => {
          await sleep(never).catch(() => {});
          throw new Bang();
        });
        await checkpoint();
        throw new Boom();
      }),
    );
    expect(kinds(error)).toEqual([Boom, Bang]);
  });

  virtualTest('keeps the structure of nested groups, and leaves() flattens it', async () => {
    const error = await failure(
      taskGroup((outer) => {
        outer.createTask(() =>
          taskGroup((inner) => {
            inner.createTask(failAfter, 5, new Boom('inner'));
            inner.createTask(sleep, never);
          }),
        );
        outer.createTask(async () => {
          await sleep(never).catch(() => {});
          throw new Bang('outer');
        });
      }),
    );
    expect(kinds(error)).toEqual([ExceptionGroup, Bang]);
    expect(error.leaves().map((one: Error) => one.message)).toEqual(['inner', 'outer']);
    const [booms, rest] = error.split((one: unknown) => one instanceof Boom);
    expect([booms.leaves().length, rest.leaves().length]).toEqual([1, 1]);
  });

  virtualTest('fails with the body of an outer group while inner tasks run', async () => {
    const ends: string[] = [];
    const error = await failure(
      taskGroup(async (outer) => {
        outer.createTask(() =>
          taskGroup((inner) => {
            inner.createTask(() => sleep(never).finally(() => ends.push('inner')));
          }),
        );
        await sleep(5);
        throw new Boom();
      }),
    );
    expect([kinds(error), ends]).toEqual([[Boom], ['inner']]);
  });

  virtualTest('has the error that cancelled the rest as the reason of their end', async () => {
    let reason: unknown;
    await failure(
      taskGroup((group) => {
        group.createTask(failAfter, 5);
        group.createTask(() =>
          sleep(never).catch((error: CancelledError) => {
            reason = error.reason;
            throw error;
          }),
        );
      }),
    );
    expect(reason).toBeInstanceOf(Boom);
  });

  virtualTest('is not failed by an error that a task took itself', async () => {
    const result = await taskGroup(async (group) => {
      group.createTask(() => failAfter(5).catch(() => 'handled'));
      await sleep(10);
      return 'fine';
    });
    expect(result).toBe('fine');
  });

  virtualTest('fails also when whoever awaited the task took its error', async () => {
    const error = await failure(
      taskGroup(async (group) => {
        const task = group.createTask(failAfter, 5);
        await task.catch(() => {});
      }),
    );
    expect(kinds(error)).toEqual([Boom]);
  });

  virtualTest('is left with no request to cancel on its task', async () => {
    await failure(taskGroup((group) => void group.createTask(failAfter, 5)));
    expect(currentTask()?.cancelling).toBe(0);
    await sleep(1);
  });
});

describe('a task group, as in asyncio: cancellation', () => {
  virtualTest('in a cancelled task is a CancelledError, through two levels', async () => {
    const ends: string[] = [];
    const task = createTask(() =>
      taskGroup(async (outer) => {
        outer.createTask(() => sleep(never).finally(() => ends.push('outer')));
        await taskGroup((inner) => {
          inner.createTask(() => sleep(never).finally(() => ends.push('inner')));
        });
      }),
    );
    await sleep(5);
    task.cancel('stop');
    const error = await failure(task);
    expect([error.constructor, error.reason, task.cancelled]).toEqual([
      CancelledError,
      'stop',
      true,
    ]);
    expect(ends.sort()).toEqual(['inner', 'outer']);
  });

  virtualTest('reaches a group in a task that is awaited', async () => {
    const ends: string[] = [];
    const task = createTask(async () => {
      await createTask(() =>
        taskGroup((group) => {
          group.createTask(() => sleep(never).finally(() => ends.push('child')));
        }),
      );
    });
    await sleep(5);
    task.cancel();
    await failure(task);
    expect(ends).toEqual(['child']);
  });

  virtualTest('asked for twice ends the group once', async () => {
    let times = 0;
    const task = createTask(() =>
      taskGroup((group) => {
        group.createTask(async () => {
          try {
            await sleep(never);
          } finally {
            times++;
            await shielded(() => sleep(10));
          }
        });
      }),
    );
    await sleep(5);
    task.cancel('first');
    await sleep(5);
    task.cancel('second');
    expect(await failure(task)).toBeInstanceOf(CancelledError);
    expect([times, currentTime(), task.cancelling]).toEqual([1, 15, 2]);
  });

  virtualTest('of the task that is pending reaches the body at its first wait', async () => {
    let begun = false;
    const task: Task<void> = createTask(() => {
      task.cancel();
      return taskGroup(async (group) => {
        group.createTask(async () => {
          begun = true;
          await checkpoint();
        });
        await checkpoint();
      });
    });
    expect(await failure(task)).toBeInstanceOf(CancelledError);
    // By level, a task that was begun runs to its first wait, as in trio.
    expect(begun).toBe(true);
  });

  virtualTest('of one task alone ends neither group nor siblings', async () => {
    const result = await taskGroup(async (group) => {
      const victim = group.createTask(sleepForever);
      const sibling = group.createTask(() => sleep(20, 'sibling'));
      await sleep(5);
      victim.cancel();
      return await sibling;
    });
    expect([result, currentTime()]).toEqual(['sibling', 20]);
  });

  virtualTest('of a task that then throws is a failure', async () => {
    const error = await failure(
      taskGroup(async (group) => {
        const victim = group.createTask(async () => {
          await sleep(never).catch(() => {});
          throw new Boom();
        });
        await checkpoint();
        victim.cancel();
        await sleep(never);
      }),
    );
    expect(kinds(error)).toEqual([Boom]);
  });

  virtualTest('that a body throws by itself ends the group', async () => {
    const ends: string[] = [];
    const error = await failure(
      taskGroup(async (group) => {
        group.createTask(() => sleep(never).finally(() => ends.push('child')));
        await checkpoint();
        throw new CancelledError('by hand');
      }),
    );
    expect([error.message, ends]).toEqual(['by hand', ['child']]);
  });

  virtualTest('while the group waits for its tasks comes after their clean-up', async () => {
    const task = createTask(() =>
      taskGroup((group) => {
        group.createTask(async () => {
          await sleep(never).catch(() => {});
          await shielded(() => sleep(30));
        });
      }),
    );
    await sleep(10);
    task.cancel();
    expect(await failure(task)).toBeInstanceOf(CancelledError);
    expect(currentTime()).toBe(40);
  });
});

describe('TaskGroup.cancel, as in asyncio 3.15', () => {
  virtualTest('before any task ends the body at its first wait', async () => {
    let went = false;
    await taskGroup(async (group) => {
      group.cancel();
      await checkpoint();
      went = true;
    });
    expect(went).toBe(false);
  });

  virtualTest('twice is the same as once', async () => {
    await taskGroup(async (group) => {
      group.createTask(sleepForever);
      group.cancel();
      group.cancel();
    });
    expect(currentTask()?.cancelling).toBe(0);
  });

  virtualTest('does not hide an error', async () => {
    const error = await failure(
      taskGroup(async (group) => {
        group.createTask(async () => {
          await sleep(never).catch(() => {});
          throw new Boom();
        });
        await checkpoint();
        group.cancel();
      }),
    );
    expect(kinds(error)).toEqual([Boom]);
  });

  virtualTest('gives way to a cancellation of the task', async () => {
    const task: Task<void> = createTask(() =>
      taskGroup(async (group) => {
        group.cancel();
        task.cancel();
        await sleepForever();
      }),
    );
    expect(await failure(task)).toBeInstanceOf(CancelledError);
  });

  virtualTest('comes from a callback of the loop as well', async () => {
    await taskGroup((group) => {
      group.createTask(sleepForever);
      getRunningLoop().callLater(10, () => group.cancel());
    });
    expect(currentTime()).toBe(10);
  });

  virtualTest('after the end does nothing', async () => {
    const group = await taskGroup((inner) => ({ inner }));
    group.inner.cancel();
    await checkpoint();
  });
});

describe('what tasks of a group are', () => {
  virtualTest('they have names and contexts as told', async () => {
    const colour = new ContextVar('colour', { defaultValue: 'none' });
    const context = copyContext();
    context.run(() => colour.set('blue'));
    await taskGroup(async (group) => {
      const task = group.createTask({ name: 'painter', context }, async () => colour.get());
      expect([task.name, task.parent, await task]).toEqual(['painter', group, 'blue']);
    });
    expect(colour.get()).toBe('none');
  });

  virtualTest('they start at once with eagerStart, and fail the group from there', async () => {
    const error = await failure(
      taskGroup(async (group) => {
        group.createTask({ eagerStart: true }, () => {
          throw new Boom();
        });
        await sleepForever();
      }),
    );
    expect(kinds(error)).toEqual([Boom]);
  });

  virtualTest('they may be gathered', async () => {
    const results = await taskGroup((group) =>
      gather(
        [1, 2, 3].map((n) => group.createTask(() => sleep(n, n))),
        {},
      ),
    );
    expect(results).toEqual([1, 2, 3]);
  });

  virtualTest('one may wait for another', async () => {
    const gate = new Future<string>();
    await taskGroup((group) => {
      const first = group.createTask(async () => await gate);
      group.createTask(async () => expect(await first).toBe('open'));
      group.createTask(() => gate.setResult('open'));
    });
  });

  virtualTest('they may be limited, one by one and all together', async () => {
    const results: string[] = [];
    await timeout(100, () =>
      taskGroup((group) => {
        group.createTask(async () => {
          const error = await failure(waitFor(sleepForever, 10));
          results.push(error.constructor.name);
        });
        group.createTask(async () => void results.push(await sleep(20, 'in time')));
      }),
    );
    expect(results).toEqual([TimeoutError.name, 'in time']);
  });

  virtualTest('a group object of its own can be handed around', async () => {
    const seen: number[] = [];
    await using group = new TaskGroup({ name: 'pool' });
    const add = (n: number): unknown => group.createTask(async () => void seen.push(n));
    add(1);
    add(2);
    await group.join();
    expect([group.name, seen]).toEqual(['pool', [1, 2]]);
  });
});
