/** Behaviour of anyio's tests of task groups and scopes on asyncio, written anew: level
 * cancellation beside the edge kind. group.test.ts and the files after trio have the rest. */
import { describe, expect } from 'vitest';
import { CancelledError, type ExceptionGroup } from '../../lib/base/errors.ts';
import { gather } from '../../lib/task/combinators.ts';
import { Future } from '../../lib/task/future.ts';
import { type TaskGroup, type TaskStatus, taskGroup } from '../../lib/task/group.ts';
import { getRunningLoop } from '../../lib/task/run.ts';
import { CancelScope, moveOnAfter, shielded, timeout } from '../../lib/task/scope.ts';
import { checkpoint, currentTime, sleep, sleepForever } from '../../lib/task/sleep.ts';
import { createTask, currentTask } from '../../lib/task/task.ts';
import { failure, never, virtualTest } from './support.ts';

class Fault extends Error {}

async function fault(ms: number, message: string): Promise<never> {
  await sleep(ms);
  throw new Fault(message);
}

function messages(group: ExceptionGroup): string[] {
  return group.leaves().map((error) => (error as Error).message);
}

// covers: trio/open-nursery, asyncio/taskgroup
describe('starting, as in anyio', () => {
  virtualTest('tasks begin in the order of createTask, after the body waits', async () => {
    const log: string[] = [];
    await taskGroup(async (group) => {
      group.startSoon(async () => void log.push('a'));
      group.startSoon(async () => void log.push('b'));
      log.push('body');
      await checkpoint();
    });
    expect(log).toEqual(['body', 'a', 'b']);
  });

  virtualTest('in a cancelled group a task runs to its first wait', async () => {
    let began = false;
    await taskGroup((group) => {
      group.cancel();
      group.createTask(async () => {
        began = true;
        await sleep(never);
        began = false;
      });
    });
    expect(began).toBe(true);
  });

  virtualTest('after an error of the body a task is refused', async () => {
    let kept: TaskGroup | undefined;
    await failure(
      taskGroup((group) => {
        kept = group;
        throw new Fault('body');
      }),
    );
    expect(() => kept?.createTask(() => {})).toThrow('has ended');
  });

  virtualTest('start() of what fails leaves the group usable', async () => {
    const log: string[] = [];
    await taskGroup(async (group) => {
      const error = await failure(group.start(() => fault(1, 'early')));
      log.push((error as Error).message);
      group.createTask(async () => void log.push('still'));
    });
    expect(log).toEqual(['early', 'still']);
  });

  virtualTest('start() in a group that fails meanwhile ends, and the group tells why', async () => {
    const error = await failure(
      taskGroup(async (group) => {
        group.createTask(fault, 5, 'sibling');
        await group.start(async (_status: TaskStatus<void>) => sleepForever());
      }),
    );
    expect(messages(error)).toEqual(['sibling']);
  });

  virtualTest('start() whose task fails in clean-up gives that error', async () => {
    await taskGroup(async (group) => {
      const error = await failure(
        timeout(5, () =>
          group.start(async (_status: TaskStatus<void>) => {
            try {
              await sleepForever();
            } finally {
              // biome-ignore lint/correctness/noUnsafeFinally: that is what is tested.
              throw new Fault('clean-up');
            }
          }),
        ),
      );
      expect(error.message).toBe('clean-up');
    });
  });

  virtualTest('start() by several callers in turn gives each its value', async () => {
    await taskGroup(async (group) => {
      const serve = async (name: string, status: TaskStatus<string>): Promise<void> => {
        await sleep(1);
        status.started(name);
      };
      const values = await gather(
        () => group.start(serve, 'a'),
        () => group.start(serve, 'b'),
      );
      expect(values).toEqual(['a', 'b']);
    });
  });
});

describe('failing, as in anyio', () => {
  virtualTest('a child cancels the host in its wait', async () => {
    let cancelled = false;
    const error = await failure(
      taskGroup(async (group) => {
        group.createTask(fault, 1, 'child');
        try {
          await sleep(never);
        } catch (caught) {
          cancelled = caught instanceof CancelledError;
          throw caught;
        }
      }),
    );
    expect([messages(error), cancelled]).toEqual([['child'], true]);
  });

  virtualTest('the host cancels the children', async () => {
    const log: string[] = [];
    const error = await failure(
      taskGroup(async (group) => {
        group.createTask(() => sleep(never).finally(() => log.push('child')));
        await checkpoint();
        throw new Fault('host');
      }),
    );
    expect([messages(error), log]).toEqual([['host'], ['child']]);
  });

  virtualTest('errors of two children come in the order in time', async () => {
    const error = await failure(
      taskGroup((group) => {
        group.createTask(async () => {
          await sleep(never).catch(() => {});
          throw new Fault('second');
        });
        group.createTask(fault, 1, 'first');
      }),
    );
    expect(messages(error)).toEqual(['first', 'second']);
  });

  virtualTest('cancellations are never among the errors', async () => {
    const error = await failure(
      taskGroup((group) => {
        for (let i = 0; i < 5; i++) group.createTask(sleepForever);
        group.createTask(fault, 1, 'only');
      }),
    );
    expect([error.errors.length, messages(error)]).toEqual([1, ['only']]);
  });

  virtualTest('an error and a cancellation of the host: the error is told', async () => {
    const host = createTask(() =>
      taskGroup((group) => {
        group.createTask(async () => {
          await sleep(never).catch(() => {});
          throw new Fault('child');
        });
      }),
    );
    await sleep(1);
    host.cancel();
    expect(messages(await failure(host))).toEqual(['child']);
  });

  virtualTest('an inner group that fails can be handled, the outer one goes on', async () => {
    const log: string[] = [];
    await taskGroup(async (outer) => {
      outer.createTask(async () => {
        await sleep(20);
        log.push('outer child');
      });
      await taskGroup((inner) => void inner.createTask(fault, 1, 'inner')).catch(
        (error: ExceptionGroup) => log.push(...messages(error)),
      );
      await sleep(5);
      log.push('outer body');
    });
    expect(log).toEqual(['inner', 'outer body', 'outer child']);
  });

  virtualTest('an error reaches through three groups and cancels all siblings', async () => {
    const log: string[] = [];
    const sibling = (name: string) => () => sleep(never).finally(() => log.push(name));
    const error = await failure(
      taskGroup(async (a) => {
        a.createTask(sibling('a'));
        await taskGroup(async (b) => {
          b.createTask(sibling('b'));
          await taskGroup((c) => {
            c.createTask(sibling('c'));
            c.createTask(fault, 5, 'deep');
          });
        });
      }),
    );
    expect([messages(error), log]).toEqual([['deep'], ['c', 'b', 'a']]);
  });

  virtualTest('an error that is caught at the wait of a child is still the group’s', async () => {
    const error = await failure(
      taskGroup(async (group) => {
        const child = group.createTask(fault, 1, 'seen twice');
        expect((await failure(child.join())).message).toBe('seen twice');
      }),
    );
    expect(messages(error)).toEqual(['seen twice']);
  });
});

describe('cancelling, as in anyio', () => {
  virtualTest('is by level: each wait of the host rejects until it leaves', async () => {
    let refused = 0;
    await taskGroup(async (group) => {
      group.cancel();
      for (let i = 0; i < 3; i++) await checkpoint().catch(() => refused++);
    });
    expect(refused).toBe(3);
  });

  virtualTest('is by level in children, too', async () => {
    let refused = 0;
    await taskGroup(async (group) => {
      group.createTask(async () => {
        for (let i = 0; i < 3; i++) await sleep(never).catch(() => refused++);
      });
      await checkpoint();
      group.cancel();
    });
    expect(refused).toBe(3);
  });

  virtualTest('a scope in another task is seen there alone', async () => {
    const scope = new CancelScope();
    const log: string[] = [];
    await taskGroup(async (group) => {
      group.createTask(async () => {
        await scope.run(() => sleepForever());
        log.push(`left ${scope.cancelledCaught}`);
        await sleep(1);
        log.push('went on');
      });
      await sleep(5);
      scope.cancel();
      await sleep(5);
      log.push('host');
    });
    expect(log).toEqual(['left true', 'went on', 'host']);
  });

  virtualTest('an outer scope ends a group inside of an inner scope', async () => {
    const inner = new CancelScope();
    const outer = new CancelScope();
    await outer.run(() =>
      inner.run(() =>
        taskGroup((group) => {
          group.createTask(async () => {
            await sleep(5);
            outer.cancel();
            await sleepForever();
          });
        }),
      ),
    );
    expect([inner.cancelledCaught, outer.cancelledCaught]).toEqual([false, true]);
  });

  virtualTest('twice, with clean-up that waits for something shielded', async () => {
    const log: string[] = [];
    await taskGroup(async (group) => {
      group.createTask(async () => {
        try {
          await sleepForever();
        } finally {
          await shielded(async () => {
            await sleep(5);
            log.push('clean');
          });
        }
      });
      await checkpoint();
      group.cancel();
      await shielded(() => sleep(1));
      group.cancel();
    });
    expect([log, currentTime()]).toEqual([['clean'], 5]);
  });

  virtualTest('a group while it only waits for its children', async () => {
    const log: string[] = [];
    await taskGroup((group) => {
      group.createTask(() => sleepForever().finally(() => log.push('child')));
      getRunningLoop().callLater(5, () => group.cancel());
    });
    expect([log, currentTime()]).toEqual([['child'], 5]);
  });

  virtualTest('before the group is entered ends it at its first wait', async () => {
    const scope = new CancelScope();
    scope.cancel();
    let went = false;
    await scope.run(() =>
      taskGroup(async () => {
        await checkpoint();
        went = true;
      }),
    );
    expect([went, scope.cancelledCaught]).toEqual([false, true]);
  });

  virtualTest('a child that is done already does nothing', async () => {
    await taskGroup(async (group) => {
      const child = group.createTask(() => 'done');
      await child;
      expect(child.cancel()).toBe(false);
      await checkpoint();
    });
  });

  virtualTest('native: task.cancel() on a child ends that child alone', async () => {
    const log: string[] = [];
    await taskGroup(async (group) => {
      const child = group.createTask(() => sleepForever().finally(() => log.push('child')));
      group.createTask(async () => {
        await sleep(5);
        log.push('sibling');
      });
      await checkpoint();
      child.cancel();
    });
    expect(log).toEqual(['child', 'sibling']);
  });

  virtualTest('native: task.cancel() on the host ends all and is thrown', async () => {
    const log: string[] = [];
    const host = createTask(() =>
      taskGroup((group) => {
        group.createTask(() => sleepForever().finally(() => log.push('child')));
      }),
    );
    await sleep(1);
    host.cancel('native');
    expect([(await failure(host)).reason, log]).toEqual(['native', ['child']]);
  });

  virtualTest('native: swallowed once, the scope is not cancelled', async () => {
    const scope = new CancelScope();
    const task = createTask(() =>
      scope.run(async () => {
        await sleep(never).catch(() => {});
        return await sleep(5, 'went on');
      }),
    );
    await sleep(1);
    task.cancel();
    expect([await task, scope.cancelledCaught]).toEqual(['went on', false]);
  });

  virtualTest('native and level together: the native one goes out', async () => {
    const scope = new CancelScope();
    const task = createTask(() => scope.run(() => sleepForever()));
    await sleep(1);
    scope.cancel();
    task.cancel('native');
    const error = await failure(task);
    expect([error.reason, scope.cancelledCaught]).toEqual(['native', false]);
  });

  virtualTest('by level leaves no native request behind', async () => {
    const counts: (number | undefined)[] = [];
    for (let i = 0; i < 3; i++) {
      await moveOnAfter(5, () => sleepForever());
      counts.push(currentTask()?.cancelling);
    }
    expect(counts).toEqual([0, 0, 0]);
  });

  virtualTest('the cascade goes from parent to child to grandchild', async () => {
    const log: string[] = [];
    const level = async (depth: number): Promise<void> => {
      await taskGroup(async (group) => {
        if (depth < 3) group.createTask(level, depth + 1);
        try {
          await sleepForever();
        } finally {
          log.push(`level ${depth}`);
        }
      });
    };
    const root = createTask(level, 0);
    await sleep(5);
    await root.cancelAndWait();
    expect(log.sort()).toEqual(['level 0', 'level 1', 'level 2', 'level 3']);
  });

  virtualTest('a wait that is cancelled can be begun anew outside of the scope', async () => {
    const future = new Future<string>();
    const joined = createTask(async () => {
      await moveOnAfter(5, () => createTask(() => sleep(10)).join());
      return await future;
    });
    getRunningLoop().callLater(20, () => future.setResult('set'));
    expect(await joined).toBe('set');
  });

  virtualTest('in an async generator of the host goes through its finally', async () => {
    const log: string[] = [];
    async function* ticks(): AsyncGenerator<number> {
      try {
        for (let i = 0; ; i++) {
          yield i;
          await sleep(10);
        }
      } finally {
        log.push('generator closed');
      }
    }
    await moveOnAfter(25, async () => {
      for await (const tick of ticks()) log.push(`tick ${tick}`);
    });
    expect(log).toEqual(['tick 0', 'tick 1', 'tick 2', 'generator closed']);
  });
});
