/** Behaviour of trio's tests of nurseries and of deep trees, written anew; group.test.ts has the
 * rest. */
import { describe, expect } from 'vitest';
import {
  CancelledError,
  type ExceptionGroup,
  InvalidStateError,
  TimeoutError,
} from '../../lib/base/errors.ts';
import { Future } from '../../lib/task/future.ts';
import { openNursery, type TaskGroup, type TaskStatus } from '../../lib/task/group.ts';
import { CancelScope, moveOnAfter, shielded, timeout } from '../../lib/task/scope.ts';
import { checkpoint, currentTime, sleep, sleepForever } from '../../lib/task/sleep.ts';
import { createTask, currentTask, type Task } from '../../lib/task/task.ts';
import { failure, never, realTimeTest, runTest, virtualTest } from './support.ts';

class Crash extends Error {}

function messages(group: ExceptionGroup): string[] {
  return group.leaves().map((error) => (error as Error).message);
}

// covers: trio/open-nursery, trio/nursery, seeds/E5
describe('a nursery, as in trio', () => {
  virtualTest('runs its children side by side and waits for all', async () => {
    const log: string[] = [];
    const child = async (name: string): Promise<void> => {
      for (let i = 0; i < 3; i++) {
        log.push(`${name}${i}`);
        await checkpoint();
      }
    };
    await openNursery((nursery) => {
      nursery.startSoon(child, 'x');
      nursery.startSoon(child, 'y');
    });
    expect(log).toEqual(['x0', 'y0', 'x1', 'y1', 'x2', 'y2']);
  });

  virtualTest('of nothing ends at once', async () => {
    await openNursery(() => {});
    expect(currentTime()).toBe(0);
  });

  virtualTest('ends when a child crashes while the body is busy elsewhere', async () => {
    const gate = new Future<void>();
    const error = await failure(
      openNursery(async (nursery) => {
        nursery.startSoon(async () => {
          throw new Crash('child');
        });
        await shielded(() => sleep(20));
        gate.setResult();
        await checkpoint();
      }),
    );
    expect([messages(error), gate.done, currentTime()]).toEqual([['child'], true, 20]);
  });

  virtualTest('collects crashes of children of children', async () => {
    const error = await failure(
      openNursery((outer) => {
        for (const name of ['a', 'b']) {
          outer.startSoon(() =>
            openNursery((inner) => {
              inner.startSoon(async () => {
                await checkpoint();
                throw new Crash(name);
              });
            }),
          );
        }
      }),
    );
    expect(messages(error).sort()).toEqual(['a', 'b']);
  });

  virtualTest('knows its children while they run', async () => {
    await openNursery(async (nursery) => {
      expect(nursery.tasks.size).toBe(0);
      const a = nursery.startSoon(() => sleep(10));
      const b = nursery.startSoon(() => sleep(20));
      expect([...nursery.tasks]).toEqual([a, b]);
      await sleep(15);
      expect([...nursery.tasks]).toEqual([b]);
      expect([a.parent, b.parent]).toEqual([null, nursery]);
    });
  });

  virtualTest('can be handed to a child, which starts siblings', async () => {
    const log: string[] = [];
    const spawner = async (nursery: TaskGroup, depth: number): Promise<void> => {
      log.push(`depth ${depth}`);
      if (depth < 3) nursery.startSoon(spawner, nursery, depth + 1);
    };
    await openNursery((nursery) => void nursery.startSoon(spawner, nursery, 0));
    expect(log).toEqual(['depth 0', 'depth 1', 'depth 2', 'depth 3']);
  });

  virtualTest('takes tasks after its body ended while children are left', async () => {
    const log: string[] = [];
    await openNursery((nursery) => {
      nursery.startSoon(async () => {
        await sleep(5);
        nursery.startSoon(async () => {
          await sleep(5);
          log.push(`late ${currentTime()}`);
        });
      });
    });
    expect(log).toEqual(['late 10']);
  });

  virtualTest('from outside can be handed tasks by a task that is no child', async () => {
    const opened = new Future<{ nursery: TaskGroup }>();
    const log: string[] = [];
    const host = createTask(() =>
      openNursery(async (nursery) => {
        opened.setResult({ nursery });
        await sleep(10);
      }),
    );
    const { nursery } = await opened;
    nursery.startSoon(async () => {
      await sleep(20);
      log.push(`${currentTime()}`);
    });
    await host;
    expect(log).toEqual(['20']);
  });

  virtualTest('cancels its children by cancelScope, and ends without an error', async () => {
    const log: string[] = [];
    await openNursery(async (nursery) => {
      nursery.startSoon(() => sleepForever().finally(() => log.push('a')));
      nursery.startSoon(() => sleepForever().finally(() => log.push('b')));
      await checkpoint();
      nursery.cancelScope.cancel();
    });
    expect(log).toEqual(['a', 'b']);
  });

  virtualTest('with a deadline on its scope ends by it', async () => {
    const nursery = await openNursery(async (inner) => {
      inner.cancelScope.deadlineMs = currentTime() + 10;
      inner.startSoon(sleepForever);
      return { inner };
    });
    expect([currentTime(), nursery.inner.cancelScope.cancelledCaught]).toEqual([10, true]);
  });

  virtualTest('with its scope shielded holds a cancellation from outside back', async () => {
    const log: string[] = [];
    const outer = new CancelScope();
    await outer.run(() =>
      openNursery((nursery) => {
        nursery.cancelScope.shield = true;
        nursery.startSoon(async () => {
          outer.cancel();
          await sleep(10);
          log.push('child went on');
        });
      }),
    );
    expect([log, currentTime()]).toEqual([['child went on'], 10]);
  });

  virtualTest('inside a cancelled scope still runs its children to their first wait', async () => {
    const log: string[] = [];
    await new CancelScope().run(async (scope) => {
      scope.cancel();
      await openNursery((nursery) => {
        nursery.startSoon(async () => {
          log.push('began');
          await checkpoint();
          log.push('not reached');
        });
      });
    });
    expect(log).toEqual(['began']);
  });

  virtualTest('a child that swallows the cancellation keeps the nursery open', async () => {
    await openNursery(async (nursery) => {
      nursery.startSoon(async () => {
        await sleepForever().catch(() => {});
        await shielded(() => sleep(30));
      });
      await checkpoint();
      nursery.cancel();
    });
    expect(currentTime()).toBe(30);
  });

  virtualTest(
    'a crash during cancellation from outside is thrown, not the cancellation',
    async () => {
      const scope = new CancelScope();
      const error = await failure(
        scope.run(() =>
          openNursery(async (nursery) => {
            nursery.startSoon(async () => {
              try {
                await sleepForever();
              } finally {
                // biome-ignore lint/correctness/noUnsafeFinally: that is what is tested.
                throw new Crash('clean-up');
              }
            });
            await checkpoint();
            scope.cancel();
          }),
        ),
      );
      expect([messages(error), scope.cancelledCaught]).toEqual([['clean-up'], false]);
    },
  );

  virtualTest('two nurseries in one task end one after the other', async () => {
    const log: string[] = [];
    await openNursery(async (outer) => {
      outer.startSoon(async () => {
        await sleep(20);
        log.push('outer');
      });
      await openNursery((inner) => {
        inner.startSoon(async () => {
          await sleep(10);
          log.push('inner');
        });
      });
      log.push('between');
    });
    expect(log).toEqual(['inner', 'between', 'outer']);
  });

  virtualTest(
    'children see the scopes around the nursery, not those around startSoon',
    async () => {
      const log: string[] = [];
      await openNursery(async (nursery) => {
        await moveOnAfter(5, async () => {
          nursery.startSoon(async () => {
            await sleep(20);
            log.push('not limited');
          });
          await sleepForever();
        });
        log.push(`moved on ${currentTime()}`);
      });
      expect(log).toEqual(['moved on 5', 'not limited']);
    },
  );
});

// covers: trio/open-nursery
describe('nursery.start, as in trio', () => {
  const serve = async (port: number, status: TaskStatus<string>): Promise<void> => {
    await sleep(10);
    status.started(`port ${port}`);
    await sleep(20);
  };

  virtualTest('gives the value, and the nursery waits for the task', async () => {
    await openNursery(async (nursery) => {
      expect(await nursery.start(serve, 80)).toBe('port 80');
      expect([currentTime(), nursery.tasks.size]).toEqual([10, 1]);
    });
    expect(currentTime()).toBe(30);
  });

  virtualTest('started() without a value gives undefined', async () => {
    await openNursery(async (nursery) => {
      const value = await nursery.start(async (status: TaskStatus) => status.started());
      expect(value).toBe(undefined);
    });
  });

  virtualTest('an error after started() fails the nursery', async () => {
    const error = await failure(
      openNursery(async (nursery) => {
        await nursery.start(async (status: TaskStatus<void>) => {
          status.started();
          await sleep(5);
          throw new Crash('later');
        });
        await sleepForever();
      }),
    );
    expect(messages(error)).toEqual(['later']);
  });

  virtualTest('an error before started() may be caught and the nursery goes on', async () => {
    const result = await openNursery(async (nursery) => {
      const error = await failure(
        nursery.start(async () => {
          await sleep(5);
          throw new Crash('early');
        }),
      );
      await sleep(5);
      return (error as Error).message;
    });
    expect([result, currentTime()]).toEqual(['early', 10]);
  });

  virtualTest('under a limit that passes before started() ends the task', async () => {
    let ended = 0;
    await openNursery(async (nursery) => {
      const error = await failure(
        timeout(5, () =>
          nursery.start(async (_status: TaskStatus<void>) => {
            try {
              await sleepForever();
            } finally {
              ended = currentTime();
            }
          }),
        ),
      );
      expect(error).toBeInstanceOf(TimeoutError);
      expect(nursery.tasks.size).toBe(0);
    });
    expect(ended).toBe(5);
  });

  virtualTest('under a limit that passes after started() leaves the task alone', async () => {
    const log: string[] = [];
    await openNursery(async (nursery) => {
      await moveOnAfter(5, async () => {
        await nursery.start(async (status: TaskStatus<void>) => {
          status.started();
          await sleep(20);
          log.push(`child ${currentTime()}`);
        });
        await sleepForever();
      });
    });
    expect(log).toEqual(['child 20']);
  });

  virtualTest('in a nursery that is cancelled meanwhile ends with it', async () => {
    const log: string[] = [];
    await openNursery(async (nursery) => {
      nursery.startSoon(async () => {
        await sleep(5);
        nursery.cancel();
      });
      try {
        await nursery.start(async (_status: TaskStatus<void>) => sleepForever());
      } catch (error) {
        log.push((error as Error).name);
        throw error;
      }
    });
    expect(log).toEqual(['CancelledError']);
  });

  virtualTest('by a task that is no child of the nursery works', async () => {
    const opened = new Future<{ nursery: TaskGroup }>();
    const host = createTask(() =>
      openNursery(async (nursery) => {
        opened.setResult({ nursery });
        await sleep(5);
      }),
    );
    const { nursery } = await opened;
    expect(await nursery.start(serve, 1)).toBe('port 1');
    await host;
    expect(currentTime()).toBe(30);
  });

  virtualTest('several at once each give their own value', async () => {
    await openNursery(async (nursery) => {
      const values = await Promise.all([1, 2, 3].map((port) => nursery.start(serve, port)));
      expect(values).toEqual(['port 1', 'port 2', 'port 3']);
    });
  });

  virtualTest('whose task ends by itself without started() says so', async () => {
    await openNursery(async (nursery) => {
      for (const result of [undefined, 'a value']) {
        const error = await failure(nursery.start(async () => result));
        expect(error).toBeInstanceOf(InvalidStateError);
        expect(error.message).toContain('started()');
      }
    });
  });

  virtualTest('whose task is cancelled by hand before started() throws that', async () => {
    await openNursery(async (nursery) => {
      const error = await failure(
        nursery.start(async () => {
          currentTask()?.cancel('by hand');
          await checkpoint();
        }),
      );
      expect([error.constructor, error.reason]).toEqual([CancelledError, 'by hand']);
    });
  });

  virtualTest('refuses started() after the task ended', async () => {
    let kept: TaskStatus<void> | undefined;
    await openNursery(async (nursery) => {
      await failure(
        nursery.start(async (status: TaskStatus<void>) => {
          kept = status;
        }),
      );
    });
    expect(() => kept?.started()).toThrow(InvalidStateError);
  });
});

describe('deep and wide trees, as in trio', () => {
  runTest('1,000 nurseries in 1,000 tasks are cancelled from the top', async () => {
    const innermost = new Future<void>();
    const level = async (depth: number): Promise<void> => {
      await openNursery((nursery) => {
        if (depth === 0) {
          nursery.startSoon(sleepForever);
          innermost.setResult();
        } else {
          nursery.startSoon(level, depth - 1);
        }
      });
    };
    await new CancelScope().run(async (scope) => {
      const tree = createTask(level, 1000);
      await innermost;
      scope.cancel();
      await tree;
    });
  });

  runTest('5,000 children crash one by one into one group', async () => {
    const error = await failure(
      openNursery((nursery) => {
        for (let i = 0; i < 5000; i++) {
          nursery.startSoon(async () => {
            throw new Crash(`${i}`);
          });
        }
      }),
    );
    expect(error.errors.length).toBe(5000);
  });

  runTest('an error from 1,000 nurseries deep has all the groups around it', async () => {
    const level = async (depth: number): Promise<void> => {
      if (depth === 0) throw new Crash('bottom');
      await openNursery((nursery) => void nursery.startSoon(level, depth - 1));
    };
    const error = await failure(level(1000));
    expect(messages(error)).toEqual(['bottom']);
    let depth = 0;
    let at: unknown = error;
    while ((at as ExceptionGroup).errors !== undefined) {
      depth++;
      at = (at as ExceptionGroup).errors[0];
    }
    expect(depth).toBe(1000);
  });
});

// covers: trio/guest-mode, seeds/C1
describe('a guest of Node, as in guest mode', () => {
  runTest('timers and promises of Node go on beside tasks', async () => {
    const log: string[] = [];
    const node = new Promise<void>((resolve) => {
      setTimeout(() => {
        log.push('setTimeout');
        resolve();
      }, 1);
    });
    const task: Task<void> = createTask(async () => {
      while (log.length === 0) await checkpoint();
      log.push('task');
    });
    await node;
    await task;
    expect(log).toEqual(['setTimeout', 'task']);
  });

  realTimeTest('a callback of Node may cancel a scope', async () => {
    const scope = new CancelScope();
    setTimeout(() => scope.cancel(), 1);
    await scope.run(() => sleep(never));
    expect(scope.cancelledCaught).toBe(true);
  });
});
