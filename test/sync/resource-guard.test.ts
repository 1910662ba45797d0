import { describe, expect, test } from 'vitest';
import { BusyResourceError } from '../../lib/base/errors.ts';
import { ResourceGuard } from '../../lib/sync/resource-guard.ts';
import { taskGroup } from '../../lib/task/group.ts';
import { checkpoint } from '../../lib/task/sleep.ts';
import { failure, runTest } from '../task/support.ts';

// covers: trio/closedresourceerror, curio/taskerror-cause
describe('ResourceGuard', () => {
  runTest('makes a second use an error, until the first one ends', async () => {
    const guard = new ResourceGuard('reading from');
    const errors: unknown[] = [];
    const use = async (): Promise<void> => {
      try {
        using _ = guard.enter();
        await checkpoint();
      } catch (error) {
        errors.push(error);
      }
    };
    await taskGroup((group) => {
      group.createTask(use);
      group.createTask(use);
    });
    expect(errors).toHaveLength(1);
    const [error] = errors as BusyResourceError[];
    expect(error).toBeInstanceOf(BusyResourceError);
    expect(error?.code).toBe('ERR_UVIO_BUSY');
    expect(error?.message).toBe('Another task is already reading from this resource');
    await use();
    expect(errors).toHaveLength(1);
  });

  runTest('is left when its user throws', async () => {
    const guard = new ResourceGuard();
    const use = (): never => {
      using _ = guard.enter();
      throw new RangeError('mine');
    };
    expect((await failure(use)).message).toBe('mine');
    guard.enter();
  });

  test('is left by its user, once: not by an earlier one', () => {
    const guard = new ResourceGuard();
    const first = guard.enter();
    first[Symbol.dispose]();
    const second = guard.enter();
    first[Symbol.dispose]();
    expect(() => guard.enter()).toThrow('Another task is already using this resource');
    second[Symbol.dispose]();
    guard.enter();
  });

  test('takes a word for its message', () => {
    expect(() => new ResourceGuard(5 as never)).toThrow(TypeError);
  });
});
