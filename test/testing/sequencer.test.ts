import { describe, expect } from 'vitest';
import { CancelledError, ExceptionGroup, InvalidStateError } from '../../lib/base/errors.ts';
import { taskGroup } from '../../lib/task/group.ts';
import { CancelScope } from '../../lib/task/scope.ts';
import { createTask } from '../../lib/task/task.ts';
import { Sequencer, waitAllTasksBlocked } from '../../lib/testing/index.ts';
import { failure, runTest } from '../task/support.ts';

// covers: trio/mockclock
describe('Sequencer', () => {
  runTest('puts the steps of several tasks in order', async () => {
    const sequencer = new Sequencer();
    const log: number[] = [];
    const steps = async (...positions: number[]): Promise<void> => {
      for (const position of positions) {
        using _ = await sequencer.at(position);
        log.push(position);
      }
    };
    await taskGroup((group) => {
      group.createTask(steps, 2, 5);
      group.createTask(steps, 0, 3);
      group.createTask(steps, 1, 4);
    });
    expect(log).toEqual([0, 1, 2, 3, 4, 5]);
  });

  runTest('a position goes on only when the block before was left', async () => {
    const sequencer = new Sequencer();
    const first = await sequencer.at(0);
    let reached = false;
    const second = createTask(async () => {
      using _ = await sequencer.at(1);
      reached = true;
    });
    await waitAllTasksBlocked();
    expect(reached).toBe(false);
    first[Symbol.dispose]();
    first[Symbol.dispose]();
    await second;
    expect(reached).toBe(true);
  });

  runTest('a position is used once', async () => {
    const sequencer = new Sequencer();
    using _ = await sequencer.at(0);
    expect(await failure(sequencer.at(0))).toBeInstanceOf(InvalidStateError);
    for (const wrong of [-1, 0.5, Number.NaN]) {
      expect(await failure(sequencer.at(wrong))).toBeInstanceOf(RangeError);
    }
    expect(await failure(sequencer.at('1' as never))).toBeInstanceOf(TypeError);
  });

  runTest('a cancelled wait breaks the sequence for all', async () => {
    const sequencer = new Sequencer();
    const errors: string[] = [];
    const step = async (position: number): Promise<void> => {
      try {
        using _ = await sequencer.at(position);
      } catch (error) {
        errors.push(`${position} ${(error as Error).name}`);
      }
    };
    const tasks = [1, 2, 3].map((position) => createTask(step, position));
    await waitAllTasksBlocked();
    tasks[1]?.cancel();
    for (const task of tasks) await task.wait();
    expect(errors.sort()).toEqual([
      '1 InvalidStateError',
      '2 CancelledError',
      '3 InvalidStateError',
    ]);
    expect(await failure(sequencer.at(0))).toBeInstanceOf(InvalidStateError);
  });

  runTest('so does a task that is cancelled already, and a scope', async () => {
    const sequencer = new Sequencer();
    const scope = new CancelScope();
    await scope.run(async () => {
      scope.cancel();
      expect(await failure(sequencer.at(4))).toBeInstanceOf(CancelledError);
    });
    expect((await failure(sequencer.at(5))).message).toBe('The sequence is broken');
  });

  runTest('an error inside a block lets the next one go on', async () => {
    const sequencer = new Sequencer();
    const log: string[] = [];
    const failing = taskGroup(
      (group) => {
        group.createTask(async () => {
          using _ = await sequencer.at(0);
          throw new Error('inside');
        });
        group.createTask(async () => {
          using _ = await sequencer.at(1);
          log.push('next');
        });
      },
      { supervise: true },
    );
    expect(await failure(failing)).toBeInstanceOf(ExceptionGroup);
    expect(log).toEqual(['next']);
  });
});
