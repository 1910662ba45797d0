import { describe, expect } from 'vitest';
import { CancelledError, ExceptionGroup, InvalidStateError } from '../../lib/base/errors.ts';
import { openNursery, TaskGroup, taskGroup } from '../../lib/task/group.ts';
import { CancelScope, moveOnAfter, timeout } from '../../lib/task/scope.ts';
import { checkpoint, sleep, sleepForever } from '../../lib/task/sleep.ts';
import { createTask, currentTask } from '../../lib/task/task.ts';
import { failure, never, runTest, virtualTest } from './support.ts';

async function fail(error: Error, afterMs = 0): Promise<never> {
  await sleep(afterMs);
  throw error;
}

describe('taskGroup', () => {
  runTest('gives the result of its body', async () => {
    expect(await taskGroup(() => 5)).toBe(5);
    expect(await taskGroup(async () => 'async')).toBe('async');
  });

  runTest('ends when all its tasks have ended', async () => {
    const order: string[] = [];
    await taskGroup(async (group) => {
      group.createTask(async () => {
        await sleep(5);
        order.push('slow');
      });
      group.createTask(async () => void order.push('fast'));
    });
    expect(order).toEqual(['fast', 'slow']);
  });

  runTest('waits for tasks that its tasks start', async () => {
    let ended = false;
    await taskGroup((group) => {
      group.createTask(async () => {
        await checkpoint();
        group.createTask(async () => {
          await sleep(1);
          ended = true;
        });
      });
    });
    expect(ended).toBe(true);
  });

  runTest('gives the tasks at once, to be awaited or not', async () => {
    const sum = await taskGroup(async (group) => {
      const a = group.createTask(async (x: number) => x, 1);
      const b = group.startSoon({ name: 'b' }, async (x: number) => x, 2);
      expect([b.name, a.parent === group]).toEqual(['b', true]);
      return (await a) + (await b);
    });
    expect(sum).toBe(3);
  });

  runTest('throws an ExceptionGroup also for one error', async () => {
    const error = await failure(
      taskGroup((group) => void group.createTask(fail, new RangeError())),
    );
    expect(error).toBeInstanceOf(ExceptionGroup);
    expect(error.errors[0]).toBeInstanceOf(RangeError);
  });

  runTest('cancels its other tasks when one fails', async () => {
    const steps: string[] = [];
    const error = await failure(
      taskGroup((group) => {
        group.createTask(fail, new RangeError('first'), 1);
        group.createTask(async () => {
          try {
            await sleep(never);
          } finally {
            steps.push('cleaned up');
          }
        });
      }),
    );
    expect(error.leaves().map((leaf: Error) => leaf.message)).toEqual(['first']);
    expect(steps).toEqual(['cleaned up']);
  });

  runTest('cancels its body when a task fails', async () => {
    let caught: unknown;
    const error = await failure(
      taskGroup(async (group) => {
        group.createTask(fail, new RangeError());
        caught = await failure(sleep(never));
        throw caught;
      }),
    );
    expect(caught).toBeInstanceOf(CancelledError);
    expect(error.errors).toHaveLength(1);
  });

  runTest('cancels its tasks when the body throws, and puts the error into the group', async () => {
    let cancelled = false;
    const error = await failure(
      taskGroup(async (group) => {
        group.createTask(async () => {
          await sleep(never).catch(() => {
            cancelled = true;
          });
        });
        await checkpoint();
        throw new RangeError('body');
      }),
    );
    expect(cancelled).toBe(true);
    expect(error.errors[0].message).toBe('body');
  });

  runTest('collects errors of clean-up after the first failure', async () => {
    const error = await failure(
      taskGroup((group) => {
        group.createTask(fail, new RangeError('first'), 1);
        group.createTask(async () => {
          await sleep(never).catch(() => fail(new TypeError('second')).catch(() => {}));
          throw new TypeError('second');
        });
      }),
    );
    expect(error.leaves().map((leaf: Error) => leaf.message)).toEqual(['first', 'second']);
  });

  runTest('collects errors of tasks that fail in the same turn', async () => {
    const error = await failure(
      taskGroup((group) => {
        for (const name of ['a', 'b', 'c']) group.createTask(() => Promise.reject(new Error(name)));
      }),
    );
    expect(error.errors.map((each: Error) => each.message)).toEqual(['a', 'b', 'c']);
  });

  runTest('does not count the cancellation of one task as a failure', async () => {
    let other = false;
    await taskGroup(async (group) => {
      const task = group.createTask(() => sleep(never));
      group.createTask(async () => {
        await sleep(2);
        other = true;
      });
      await checkpoint();
      task.cancel();
    });
    expect(other).toBe(true);
  });

  runTest('nests, and an inner failure is a group in the outer one', async () => {
    const error = await failure(
      taskGroup((outer) => {
        outer.createTask(() =>
          taskGroup((inner) => void inner.createTask(fail, new RangeError('deep'))),
        );
      }),
    );
    expect(error.errors[0]).toBeInstanceOf(ExceptionGroup);
    expect(error.leaves()[0].message).toBe('deep');
  });

  runTest('lets an error of an inner group be handled without touching the outer', async () => {
    let whole = false;
    await taskGroup(async (outer) => {
      outer.createTask(async () => {
        await sleep(2);
        whole = true;
      });
      await failure(taskGroup((inner) => void inner.createTask(fail, new Error())));
    });
    expect(whole).toBe(true);
  });

  runTest('passes a cancellation of its task on and rethrows it', async () => {
    let child: unknown;
    const task = createTask(() =>
      taskGroup(async (group) => {
        group.createTask(async () => {
          child = await failure(sleep(never));
          throw child;
        });
      }),
    );
    await checkpoint();
    await checkpoint();
    task.cancel('outer');
    expect((await failure(task)).reason).toBe('outer');
    expect(child).toBeInstanceOf(CancelledError);
  });

  runTest('prefers errors to a cancellation, which comes at the next wait', async () => {
    const seen: unknown[] = [];
    const task = createTask(async () => {
      seen.push(
        await failure(
          taskGroup((group) => {
            group.createTask(async () => {
              await sleep(never).catch(() => {});
              throw new RangeError('in clean-up');
            });
          }),
        ),
      );
      await sleep(0);
    });
    await checkpoint();
    await checkpoint();
    task.cancel();
    expect(await failure(task)).toBeInstanceOf(CancelledError);
    expect(seen[0]).toBeInstanceOf(ExceptionGroup);
  });

  runTest('refuses tasks after its end', async () => {
    let kept: TaskGroup | undefined;
    await taskGroup((group) => {
      kept = group;
    });
    expect(() => kept?.createTask(async () => {})).toThrow(InvalidStateError);
  });

  runTest('refuses promises in place of functions', async () => {
    await taskGroup((group) => {
      expect(() => group.createTask(Promise.resolve() as never)).toThrow(/createTask\(f, x\)/);
    });
    expect(await failure(taskGroup(Promise.resolve() as never))).toBeInstanceOf(TypeError);
  });

  runTest('is the same as openNursery', () => {
    expect(openNursery).toBe(taskGroup);
  });

  runTest('starts its tasks in order of creation', async () => {
    const order: number[] = [];
    await taskGroup((group) => {
      for (let i = 0; i < 5; i++) group.createTask(async () => void order.push(i));
    });
    expect(order).toEqual([0, 1, 2, 3, 4]);
  });

  runTest('knows its tasks that are not done', async () => {
    await taskGroup(async (group) => {
      const task = group.createTask(() => sleep(1));
      group.createTask(async () => {});
      expect(group.tasks.size).toBe(2);
      await checkpoint();
      expect([...group.tasks]).toEqual([task]);
      await task;
      expect(group.tasks.size).toBe(0);
    });
  });

  runTest('runs 10,000 tasks', async () => {
    let count = 0;
    await taskGroup((group) => {
      for (let i = 0; i < 10_000; i++) group.createTask(async () => void count++);
    });
    expect(count).toBe(10_000);
  });

  runTest('nests 10,000 deep and is cancelled from outside', async () => {
    const scope = new CancelScope();
    let depth = 0;
    const nest = (): Promise<unknown> =>
      taskGroup(async (group) => {
        depth++;
        if (depth < 10_000) group.createTask(nest);
        else scope.cancel();
        await sleepForever();
      });
    await scope.run(nest);
    expect([depth, scope.cancelledCaught]).toEqual([10_000, true]);
  });

  runTest('nests 10,000 deep without a wait between', async () => {
    const nest = (left: number): Promise<number> =>
      taskGroup(() => (left === 0 ? 0 : nest(left - 1).then((depth) => depth + 1)));
    expect(await nest(10_000)).toBe(10_000);
  });
});

describe('group.cancel', () => {
  runTest('ends tasks and body without an error', async () => {
    let child: unknown;
    const result = await taskGroup(async (group) => {
      group.createTask(async () => {
        child = await failure(sleepForever());
        throw child;
      });
      await checkpoint();
      group.cancel('enough');
      await sleepForever();
      return 'not reached';
    });
    expect(result).toBeUndefined();
    expect((child as CancelledError).reason).toBe('enough');
  });

  runTest('from inside a child ends all', async () => {
    let after = false;
    await taskGroup(async (group) => {
      group.createTask(async () => {
        await checkpoint();
        group.cancel();
      });
      await sleepForever();
      after = true;
    });
    expect(after).toBe(false);
  });

  runTest('lets tasks begun after it run to their first wait only', async () => {
    const steps: string[] = [];
    await taskGroup((group) => {
      group.cancel();
      group.createTask(async () => {
        steps.push('begun');
        await checkpoint();
        steps.push('not reached');
      });
    });
    expect(steps).toEqual(['begun']);
  });

  runTest('works through a deadline of its scope', async () => {
    await taskGroup(async (group) => {
      expect(group.cancelScope.deadlineMs).toBe(Infinity);
      group.createTask(() => sleepForever());
      await checkpoint();
      group.cancelScope.deadlineMs = 0;
    });
  });
});

describe('a group with limits', () => {
  runTest('runs no more tasks at once than told, in order', async () => {
    let running = 0;
    let most = 0;
    const order: number[] = [];
    await taskGroup(
      (group) => {
        for (let i = 0; i < 9; i++) {
          group.createTask(async () => {
            order.push(i);
            most = Math.max(most, ++running);
            await sleep(1);
            running--;
          });
        }
      },
      { limit: 3 },
    );
    expect([most, order]).toEqual([3, [0, 1, 2, 3, 4, 5, 6, 7, 8]]);
  });

  runTest('never begins what waits when it is cancelled', async () => {
    let begun = 0;
    await taskGroup(
      async (group) => {
        for (let i = 0; i < 5; i++) {
          group.createTask(async () => {
            begun++;
            await sleepForever();
          });
        }
        await checkpoint();
        group.cancel();
      },
      { limit: 2 },
    );
    expect(begun).toBe(2);
  });

  runTest('goes on with the next when a waiting task is cancelled', async () => {
    const done: number[] = [];
    await taskGroup(
      async (group) => {
        const tasks = [0, 1, 2].map((i) =>
          group.createTask(async () => {
            await sleep(1);
            done.push(i);
          }),
        );
        await tasks[1]?.cancelAndWait();
      },
      { limit: 1 },
    );
    expect(done).toEqual([0, 2]);
  });

  virtualTest('does not begin one in the place of the one that failed', async () => {
    const begun: number[] = [];
    const error = await failure(
      taskGroup(
        async (group) => {
          for (const id of [1, 2]) {
            group.createTask(async () => {
              begun.push(id);
              await sleep(1);
              throw new RangeError(`failed ${id}`);
            });
          }
        },
        { limit: 1 },
      ),
    );
    expect(error.errors.map(String)).toEqual(['RangeError: failed 1']);
    expect(begun).toEqual([1]);
  });

  runTest('refuses a limit below one', () => {
    expect(() => new TaskGroup({ limit: 0 })).toThrow(RangeError);
  });
});

describe('a supervising group', () => {
  runTest('keeps siblings alive and throws all errors at the end', async () => {
    let whole = false;
    const error = await failure(
      taskGroup(
        (group) => {
          group.createTask(fail, new Error('a'));
          group.createTask(fail, new Error('b'), 1);
          group.createTask(async () => {
            await sleep(3);
            whole = true;
          });
        },
        { supervise: true },
      ),
    );
    expect(whole).toBe(true);
    expect(error.errors.map((each: Error) => each.message)).toEqual(['a', 'b']);
  });
});

describe('a group inside time limits', () => {
  virtualTest('ends as a whole at the deadline', async () => {
    const ended: string[] = [];
    await moveOnAfter(5, () =>
      openNursery((nursery) => {
        nursery.startSoon(async () => {
          await sleep(1);
          ended.push('short');
        });
        nursery.startSoon(async () => {
          await sleep(never);
          ended.push('long');
        });
      }),
    );
    expect(ended).toEqual(['short']);
  });

  runTest('gives TimeoutError, not ExceptionGroup, when only the limit ended it', async () => {
    const error = await failure(
      timeout(1, () => taskGroup((group) => void group.createTask(sleepForever))),
    );
    expect(error.name).toBe('TimeoutError');
  });

  runTest('has tasks whose limits are their own', async () => {
    const results = await taskGroup(async (group) => {
      const limited = group.createTask(() => moveOnAfter(1, () => sleep(never, 'no')));
      const free = group.createTask(() => sleep(3, 'yes'));
      return [await limited, await free, currentTask()?.cancelling];
    });
    expect(results).toEqual([undefined, 'yes', 0]);
  });
});
