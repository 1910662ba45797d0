import { describe, expect } from 'vitest';
import { CancelledError, ExceptionGroup, InvalidStateError } from '../../lib/base/errors.ts';
import { openNursery, TaskGroup, type TaskStatus, taskGroup } from '../../lib/task/group.ts';
import { moveOnAfter, shielded } from '../../lib/task/scope.ts';
import { checkpoint, currentTime, sleep, sleepForever } from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/task.ts';
import { failure, never, runTest, virtualTest } from './support.ts';

async function fail(error: Error, afterMs = 0): Promise<never> {
  await sleep(afterMs);
  throw error;
}

describe('group.start', () => {
  runTest('gives what the task says it started with, and the task goes on', async () => {
    let ended = false;
    await openNursery(async (nursery) => {
      const port = await nursery.start(async (base: number, status: TaskStatus<number>) => {
        await sleep(1);
        status.started(base + 1);
        await sleep(1);
        ended = true;
      }, 8000);
      expect([port, ended]).toEqual([8001, false]);
    });
    expect(ended).toBe(true);
  });

  runTest('throws an error from before started() to the caller alone', async () => {
    const result = await openNursery(async (nursery) => {
      const error = await failure(nursery.start((_status: TaskStatus) => fail(new RangeError())));
      expect(error).toBeInstanceOf(RangeError);
      return 'nursery intact';
    });
    expect(result).toBe('nursery intact');
  });

  runTest('throws InvalidStateError when the task ends without started()', async () => {
    await openNursery(async (nursery) => {
      const error = await failure(nursery.start(async (_status: TaskStatus) => {}));
      expect(error).toBeInstanceOf(InvalidStateError);
    });
  });

  virtualTest('cancels the task when its own wait is cancelled', async () => {
    let child: unknown;
    await openNursery(async (nursery) => {
      await moveOnAfter(1, () =>
        nursery.start(async (_status: TaskStatus) => {
          child = await failure(sleepForever());
          throw child;
        }),
      );
    });
    expect(child).toBeInstanceOf(CancelledError);
  });

  runTest('refuses a second started()', async () => {
    await openNursery(async (nursery) => {
      await nursery.start(async (status: TaskStatus) => {
        status.started();
        expect(() => status.started()).toThrow(InvalidStateError);
      });
    });
  });
});

describe('group.results and group.join', () => {
  virtualTest('results come in order of completion', async () => {
    const seen: unknown[] = [];
    await taskGroup(async (group) => {
      for (const ms of [6, 2, 4]) group.createTask(() => sleep(ms, ms));
      for await (const result of group.results()) seen.push(result);
    });
    expect(seen).toEqual([2, 4, 6]);
  });

  runTest('results include those from before the iteration', async () => {
    const seen: unknown[] = [];
    await taskGroup(async (group) => {
      group.createTask(async () => 'early');
      await sleep(1);
      group.createTask(async () => 'late');
      for await (const result of group.results()) seen.push(result);
    });
    expect(seen).toEqual(['early', 'late']);
  });

  runTest('join waits for the tasks so far', async () => {
    await taskGroup(async (group) => {
      let done = 0;
      for (let i = 0; i < 3; i++) group.createTask(() => sleep(1).then(() => done++));
      await group.join();
      expect(done).toBe(3);
      group.createTask(async () => {});
    });
  });

  runTest('await using cancels what is left', async () => {
    let child: unknown;
    {
      await using group = new TaskGroup();
      group.createTask(async () => {
        child = await failure(sleepForever());
        throw child;
      });
      await checkpoint();
    }
    expect(child).toBeInstanceOf(CancelledError);
  });

  runTest('await using with join waits for all, and ends the group', async () => {
    await using group = new TaskGroup();
    const task = group.createTask(() => sleep(1, 'whole'));
    await group.join();
    expect(task.result()).toBe('whole');
    expect(() => group.createTask(async () => {})).toThrow(InvalidStateError);
  });

  runTest('join throws the errors of the tasks once', async () => {
    await using group = new TaskGroup();
    group.createTask(fail, new RangeError());
    expect(await failure(group.join())).toBeInstanceOf(ExceptionGroup);
  });
});

describe('a group that waits for its tasks', () => {
  virtualTest('meets a cancellation that a shield in its body held back', async () => {
    const ends: string[] = [];
    const task = createTask(() =>
      taskGroup(async (group) => {
        group.createTask(() => sleep(never).finally(() => ends.push(`child ${currentTime()}`)));
        await shielded(() => sleep(10));
      }),
    );
    await sleep(5);
    task.cancel('why');
    expect((await failure(task)).reason).toBe('why');
    expect(ends).toEqual(['child 10']);
  });

  virtualTest(
    'loses no cancellation to its errors that a scope passed on to the task',
    async () => {
      const log: string[] = [];
      await moveOnAfter(5, async () => {
        await createTask(async () => {
          const error = await failure(
            taskGroup(async (group) => {
              group.createTask(() => shielded(() => sleep(10)).then(() => Promise.reject('late')));
              await sleep(never);
            }),
          );
          log.push(error.errors[0]);
          await sleep(never);
          log.push('not reached');
        });
      });
      expect([log, currentTime()]).toEqual([['late'], 10]);
    },
  );
});
