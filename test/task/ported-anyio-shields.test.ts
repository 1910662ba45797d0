/** Behaviour of anyio's tests of task groups and scopes on asyncio, written anew: level
 * cancellation beside the edge kind. group.test.ts and the files after trio have the rest. */
import { describe, expect } from 'vitest';
import { CancelledError, type ExceptionGroup, TimeoutError } from '../../lib/base/errors.ts';
import { waitFor } from '../../lib/task/combinators.ts';
import { TaskGroup, taskGroup } from '../../lib/task/group.ts';
import {
  CancelScope,
  currentEffectiveDeadline,
  moveOnAfter,
  shielded,
  timeout,
} from '../../lib/task/scope.ts';
import { checkpoint, currentTime, sleep, sleepForever } from '../../lib/task/sleep.ts';
import { createTask, type Task } from '../../lib/task/task.ts';
import { failure, runTest, virtualTest } from './support.ts';

class Fault extends Error {}

async function _fault(ms: number, message: string): Promise<never> {
  await sleep(ms);
  throw new Fault(message);
}

function _messages(group: ExceptionGroup): string[] {
  return group.leaves().map((error) => (error as Error).message);
}

describe('shielding, as in anyio', () => {
  virtualTest('a shielded scope inside a cancelled one finishes its work', async () => {
    const log: string[] = [];
    await taskGroup(async (group) => {
      group.cancel();
      await shielded(async () => {
        await sleep(5);
        log.push('shielded');
      });
      await checkpoint();
      log.push('not reached');
    });
    expect(log).toEqual(['shielded']);
  });

  virtualTest('a group cancelled from inside of a shield ends after it', async () => {
    const log: string[] = [];
    await taskGroup(async (group) => {
      group.createTask(() => sleepForever().finally(() => log.push(`sibling ${currentTime()}`)));
      await shielded(async () => {
        await sleep(1);
        group.cancel();
        await sleep(5);
        log.push(`shield ${currentTime()}`);
      });
      await checkpoint();
      log.push('not reached');
    });
    expect(log).toEqual(['sibling 1', 'shield 6']);
  });

  virtualTest(
    'shields in shields: the innermost is left, the outer one still protects',
    async () => {
      const log: string[] = [];
      await new CancelScope().run(async (scope) => {
        scope.cancel();
        await shielded(async () => {
          await shielded(() => sleep(1));
          await sleep(1);
          log.push('outer shield');
        });
      });
      expect(log).toEqual(['outer shield']);
    },
  );

  virtualTest('three nested: cancelling the middle one leaves the inner shield alone', async () => {
    const log: string[] = [];
    await new CancelScope().run(async (outer) => {
      await new CancelScope().run(async (middle) => {
        await new CancelScope({ shield: true }).run(async () => {
          middle.cancel();
          await sleep(1);
          log.push('inner');
        });
        await checkpoint();
        log.push('not reached');
      });
      await checkpoint();
      log.push(`outer ${outer.cancelCalled}`);
    });
    expect(log).toEqual(['inner', 'outer false']);
  });

  virtualTest('a native cancellation waits for the end of the shield', async () => {
    const log: string[] = [];
    const task = createTask(async () => {
      await shielded(async () => {
        await sleep(10);
        log.push(`shield ${currentTime()}`);
      });
      await checkpoint();
      log.push('not reached');
    });
    await sleep(1);
    task.cancel();
    expect(await failure(task)).toBeInstanceOf(CancelledError);
    expect(log).toEqual(['shield 10']);
  });

  virtualTest('a shield has its own deadline', async () => {
    const log: string[] = [];
    await new CancelScope().run(async (scope) => {
      scope.cancel();
      const shield = new CancelScope({ shield: true, timeoutMs: 10 });
      await shield.run(() => sleepForever());
      log.push(`${shield.cancelledCaught} ${currentTime()}`);
      await checkpoint();
    });
    expect(log).toEqual(['true 10']);
  });

  virtualTest('a group inside of a shield is not cancelled with its host', async () => {
    const log: string[] = [];
    const host = createTask(() =>
      shielded(() =>
        taskGroup((group) => {
          group.createTask(async () => {
            await sleep(10);
            log.push('child');
          });
        }),
      ),
    );
    await sleep(1);
    host.cancel();
    await host.wait();
    expect(log).toEqual(['child']);
  });
});

describe('deadlines, as in anyio', () => {
  virtualTest('that passed before the body began still let it run to a wait', async () => {
    let began = false;
    const result = await moveOnAfter(0, async () => {
      began = true;
      await checkpoint();
      return 'not reached';
    });
    expect([began, result]).toEqual([true, undefined]);
  });

  virtualTest('fail_after nested: the one that expired throws', async () => {
    const inner = await failure(timeout(50, () => timeout(10, () => sleepForever())));
    expect([inner.message, currentTime()]).toEqual(['The time limit of 10 ms passed', 10]);
    const outer = await failure(timeout(10, () => timeout(50, () => sleepForever())));
    expect([outer.message, currentTime()]).toEqual(['The time limit of 10 ms passed', 20]);
  });

  virtualTest('move_on_after nested: the outer one ends both', async () => {
    const scopes: CancelScope[] = [];
    await moveOnAfter(10, async (outer) => {
      scopes.push(outer);
      await moveOnAfter(20, async (inner) => {
        scopes.push(inner);
        await sleepForever();
      });
      await checkpoint();
    });
    expect(scopes.map((scope) => scope.cancelledCaught)).toEqual([true, false]);
  });

  virtualTest('several limits that expire in the same turn give one error, the outer', async () => {
    const log: string[] = [];
    const error = await failure(
      timeout(10, async () => {
        try {
          await timeout(10, () => sleepForever());
        } catch (caught) {
          log.push((caught as Error).name);
          throw caught;
        }
      }),
    );
    expect(error).toBeInstanceOf(TimeoutError);
    expect(log.length).toBe(1);
    expect(currentTime()).toBe(10);
  });

  virtualTest('a group in a limit: children end, TimeoutError comes out bare', async () => {
    const log: string[] = [];
    const error = await failure(
      timeout(10, () =>
        taskGroup((group) => {
          group.createTask(() => sleepForever().finally(() => log.push('a')));
          group.createTask(() => sleepForever().finally(() => log.push('b')));
        }),
      ),
    );
    expect([error.constructor, log]).toEqual([TimeoutError, ['a', 'b']]);
  });

  virtualTest('a limit in a child is its failure', async () => {
    const error = await failure(
      taskGroup((group) => void group.createTask(() => timeout(5, () => sleepForever()))),
    );
    expect(error.leaves()[0]).toBeInstanceOf(TimeoutError);
  });

  virtualTest('a deadline moved by a child ends the host in time', async () => {
    const scope = new CancelScope({ timeoutMs: 1000 });
    await scope.run(() =>
      taskGroup((group) => {
        group.createTask(async () => {
          await sleep(5);
          scope.deadlineMs = currentTime() + 5;
        });
        group.createTask(sleepForever);
      }),
    );
    expect(currentTime()).toBe(10);
  });

  virtualTest('the effective deadline in a group is that of the scope around', async () => {
    const seen: number[] = [];
    await new CancelScope({ deadlineMs: 30 }).run(() =>
      taskGroup((group) => {
        group.cancelScope.deadlineMs = 20;
        group.createTask(async () => void seen.push(currentEffectiveDeadline()));
      }),
    );
    expect(seen).toEqual([20]);
  });

  runTest('waitFor in a group takes the child with it', async () => {
    let child: Task | undefined;
    await taskGroup(async (group) => {
      child = group.createTask(sleepForever);
      await failure(waitFor(child, 1));
    });
    expect(child?.cancelled).toBe(true);
  });
});

describe('what else task groups can, as in anyio', () => {
  virtualTest('they can be made in a generator and closed with it', async () => {
    const log: string[] = [];
    async function* numbers(): AsyncGenerator<number> {
      await using group = new TaskGroup();
      group.createTask(() => sleepForever().finally(() => log.push('child')));
      yield 1;
      yield 2;
    }
    for await (const n of numbers()) {
      log.push(`${n}`);
      if (n === 1) await checkpoint();
      if (n === 2) break;
    }
    expect(log).toEqual(['1', '2', 'child']);
  });

  virtualTest('they can be a field of an object that is disposed of', async () => {
    class Service implements AsyncDisposable {
      readonly log: string[] = [];
      readonly #group = new TaskGroup();
      start(): void {
        this.#group.createTask(() => sleepForever().finally(() => this.log.push('stopped')));
      }
      async [Symbol.asyncDispose](): Promise<void> {
        await this.#group[Symbol.asyncDispose]();
      }
    }
    let log: string[] = [];
    {
      await using service = new Service();
      ({ log } = service);
      service.start();
      await checkpoint();
    }
    expect(log).toEqual(['stopped']);
  });

  virtualTest('they may be nested in children without a limit on width', async () => {
    let count = 0;
    await taskGroup((outer) => {
      for (let i = 0; i < 20; i++) {
        outer.createTask(() =>
          taskGroup((inner) => {
            for (let j = 0; j < 20; j++) inner.createTask(async () => void count++);
          }),
        );
      }
    });
    expect(count).toBe(400);
  });

  // covers: trio/anyio-tasks
  virtualTest('a task handle gives result, state and cancellation', async () => {
    await taskGroup(async (group) => {
      const task = group.createTask({ name: 'handle' }, () => sleep(5, 'value'));
      expect([task.name, task.state]).toEqual(['handle', 'pending']);
      await checkpoint();
      expect(task.state).toBe('waiting');
      expect(await task).toBe('value');
      expect(task.state).toBe('done');
    });
  });
});
