/** Calls that are wrong, and the documented error that each is answered with. */
import { describe, expect, test } from 'vitest';
import { CancelledError, InvalidStateError } from '../../lib/base/errors.ts';
import {
  asCompleted,
  ensureFuture,
  gather,
  map,
  race,
  wait,
  waitFor,
} from '../../lib/task/combinators.ts';
import { Future } from '../../lib/task/future.ts';
import { TaskGroup, type TaskStatus, taskGroup } from '../../lib/task/group.ts';
import '../../lib/task/loop-methods.ts';
import { getRunningLoop, Runner, run } from '../../lib/task/run.ts';
import {
  CancelScope,
  moveOnAfter,
  moveOnAt,
  shielded,
  timeout,
  timeoutAt,
} from '../../lib/task/scope.ts';
import { checkpoint, currentTime, sleep, sleepUntil } from '../../lib/task/sleep.ts';
import { createTask, spawn, Task } from '../../lib/task/task.ts';
import { testPolicy } from '../support/policy.ts';
import { failure, never, runTest, virtualTest } from './support.ts';

const promise = Promise.resolve(1);
// biome-ignore lint/suspicious/noExplicitAny: what a program without types may give.
type Any = any;

describe('a promise, or anything else, in place of a function', () => {
  const calls: [string, (fn: Any) => unknown][] = [
    ['run', (fn) => run(fn)],
    ['createTask', (fn) => createTask(fn)],
    ['createTask with options', (fn) => createTask({ name: 'x' }, fn)],
    ['spawn', (fn) => spawn(fn)],
    ['loop.createTask', (fn) => getRunningLoop().createTask(fn)],
    ['timeout', (fn) => timeout(1, fn)],
    ['timeoutAt', (fn) => timeoutAt(1, fn)],
    ['moveOnAfter', (fn) => moveOnAfter(1, fn)],
    ['moveOnAt', (fn) => moveOnAt(1, fn)],
    ['shielded', (fn) => shielded(fn)],
    ['CancelScope.run', (fn) => new CancelScope().run(fn)],
    ['taskGroup', (fn) => taskGroup(fn)],
    ['race', (fn) => race(fn)],
    ['map', (fn) => map([1], fn)],
  ];

  for (const [name, call] of calls) {
    runTest(`${name}: TypeError`, async () => {
      for (const bad of [promise, undefined, 5]) {
        const error = await failure(async () => await call(bad));
        expect(error).toBeInstanceOf(TypeError);
      }
    });
  }

  runTest('in a group: TypeError, and the group goes on', async () => {
    await taskGroup(async (group) => {
      expect(() => group.createTask(promise as Any)).toThrow(TypeError);
      expect(() => group.startSoon(promise as Any)).toThrow(TypeError);
      expect(await failure(group.start(promise as Any))).toBeInstanceOf(TypeError);
    });
  });

  runTest('says what to write instead', async () => {
    expect(() => createTask(promise as Any)).toThrow(/write createTask\(f, x\) instead/);
    const error = await failure(moveOnAfter(1, promise as Any));
    expect(error.message).toContain('write moveOnAfter(() => f(x)) instead of moveOnAfter(f(x))');
  });
});

// covers: trio/sleep
describe('times that are none', () => {
  const calls: [string, (ms: Any) => unknown][] = [
    ['sleep', (ms) => sleep(ms)],
    ['sleepUntil', (ms) => sleepUntil(ms)],
    ['waitFor', (ms) => waitFor(new Future(), ms)],
    ['timeout', (ms) => timeout(ms, () => {})],
    ['a block of timeout', (ms) => timeout(ms)],
    ['timeoutAt', (ms) => timeoutAt(ms, () => {})],
    ['moveOnAfter', (ms) => moveOnAfter(ms, () => {})],
    ['moveOnAt', (ms) => moveOnAt(ms, () => {})],
    ['CancelScope, timeoutMs', (ms) => new CancelScope({ timeoutMs: ms })],
    ['CancelScope, deadlineMs', (ms) => new CancelScope({ deadlineMs: ms })],
    [
      'scope.deadlineMs',
      (ms) => {
        new CancelScope().deadlineMs = ms;
      },
    ],
    ['shielded, graceMs', (ms) => shielded(() => {}, { graceMs: ms })],
    ['wait, timeoutMs', (ms) => wait([], { timeoutMs: ms })],
    ['asCompleted, timeoutMs', (ms) => asCompleted([], { timeoutMs: ms })],
    ['loop.callLater', (ms) => getRunningLoop().callLater(ms, () => {})],
    ['loop.callAt', (ms) => getRunningLoop().callAt(ms, () => {})],
  ];

  for (const [name, call] of calls) {
    runTest(`${name}: TypeError`, async () => {
      for (const bad of [Number.NaN, '5', {}]) {
        expect(await failure(async () => await call(bad))).toBeInstanceOf(TypeError);
      }
    });
  }
});

describe('numbers out of range', () => {
  runTest('a limit below one: RangeError', async () => {
    for (const limit of [0, -1, Number.NaN]) {
      expect(() => new TaskGroup({ limit })).toThrow(RangeError);
      expect(() => map([], () => {}, { limit })).toThrow(RangeError);
      expect(await failure(gather([], { limit }))).toBeInstanceOf(RangeError);
    }
  });
});

describe('what cannot be waited for', () => {
  runTest('neither function, future nor promise: TypeError', async () => {
    for (const bad of [5, null, undefined, {}, 'x']) {
      expect(() => ensureFuture(bad as Any)).toThrow(TypeError);
      expect(() => asCompleted([bad as Any])).toThrow(TypeError);
      expect(await failure(gather([bad as Any]))).toBeInstanceOf(TypeError);
      expect(await failure(waitFor(bad as Any, 5))).toBeInstanceOf(TypeError);
      expect(await failure(wait([bad as Any]))).toBeInstanceOf(TypeError);
    }
  });
});

// covers: asyncio/future, asyncio/run
describe('the wrong moment', () => {
  runTest('a result that is set twice: InvalidStateError, the first one stays', async () => {
    const future = new Future<number>();
    future.setResult(1);
    expect(() => future.setResult(2)).toThrow(InvalidStateError);
    expect(() => future.setException(new Error('late'))).toThrow(InvalidStateError);
    expect([future.cancel(), await future]).toEqual([false, 1]);
  });

  runTest('a result that is asked for too early: InvalidStateError', () => {
    const future = new Future();
    expect(() => future.result()).toThrow(InvalidStateError);
    expect(() => future.exception()).toThrow(InvalidStateError);
  });

  runTest('a result of a task that is set by hand: InvalidStateError', async () => {
    const task = createTask(() => sleep(1, 'own'));
    expect(() => (task as Future<string>).setResult('other')).toThrow(InvalidStateError);
    expect(() => (task as Future<string>).setException(new Error())).toThrow(InvalidStateError);
    expect(await task).toBe('own');
  });

  runTest('run() inside a run: InvalidStateError, the run goes on', async () => {
    expect(await failure(run(() => 1))).toBeInstanceOf(InvalidStateError);
    const fromTask = createTask(() => run(() => 1));
    expect(await failure(fromTask)).toBeInstanceOf(InvalidStateError);
    await checkpoint();
  });

  runTest('run() from a callback of a running loop: InvalidStateError', async () => {
    const error = new Future<unknown>();
    getRunningLoop().callSoon(() => {
      run(() => 1).catch((caught: unknown) => error.setResult(caught));
    });
    expect(await error).toBeInstanceOf(InvalidStateError);
  });

  test('a runner that is closed, and what its loop refuses then: InvalidStateError', async () => {
    const runner = new Runner({ policy: testPolicy(), handleSignals: false });
    await runner.close();
    const { loop } = runner;
    expect(await failure(runner.run(() => 1))).toBeInstanceOf(InvalidStateError);
    expect(() => loop.createTask(() => {})).toThrow(InvalidStateError);
    expect(() => loop.callSoon(() => {})).toThrow(InvalidStateError);
    expect(() => loop.callLater(1, () => {})).toThrow(InvalidStateError);
  });

  runTest('a task that waits for itself: InvalidStateError', async () => {
    const ways = [
      (task: Task<unknown>) => task.then(),
      (task: Task<unknown>) => task.wait(),
      (task: Task<unknown>) => task.join(),
    ];
    for (const how of ways) {
      const task: Task<unknown> = createTask(async () => await how(task));
      expect(await failure(waitFor(task, 1000))).toBeInstanceOf(InvalidStateError);
    }
  });

  runTest('a task that waits for the end of its group: InvalidStateError', async () => {
    const work = taskGroup(async (group) => {
      const child = group.createTask(() => group.join());
      return await failure(child.join());
    });
    expect((await failure(waitFor(work, 1000))).errors[0]).toBeInstanceOf(InvalidStateError);
  });

  runTest('a task in a group that has ended: InvalidStateError', async () => {
    const { group } = await taskGroup((inner) => ({ group: inner }));
    expect(() => group.createTask(() => {})).toThrow(InvalidStateError);
    expect(await failure(group.start(async () => {}))).toBeInstanceOf(InvalidStateError);
  });

  runTest('started() twice, or after the end: InvalidStateError', async () => {
    let kept: TaskStatus<number> | undefined;
    await taskGroup(async (group) => {
      await group.start(async (status: TaskStatus<number>) => {
        kept = status;
        status.started(1);
        expect(() => status.started(2)).toThrow(InvalidStateError);
      });
    });
    expect(() => kept?.started(3)).toThrow(InvalidStateError);
  });

  runTest('a task made by `new`: what it is made of is missing', () => {
    expect(() => new (Task as Any)()).toThrow(TypeError);
  });
});

// covers: trio/cancelscope
describe('scopes in the wrong hands', () => {
  runTest('run twice, one after the other: InvalidStateError', async () => {
    const scope = new CancelScope();
    await scope.run(() => {});
    expect(await failure(scope.run(() => {}))).toBeInstanceOf(InvalidStateError);
  });

  runTest('run in two tasks: InvalidStateError for the second, the first goes on', async () => {
    const scope = new CancelScope();
    const first = createTask(() => scope.run(() => sleep(5, 'first')));
    await checkpoint();
    expect(await failure(createTask(() => scope.run(() => {})))).toBeInstanceOf(InvalidStateError);
    expect(await first).toBe('first');
  });

  runTest('run inside itself: InvalidStateError', async () => {
    const scope = new CancelScope();
    const error = await failure(scope.run((inner) => inner.run(() => {})));
    expect(error).toBeInstanceOf(InvalidStateError);
  });

  virtualTest('cancelled inside a shield: felt when the shield ends, not before', async () => {
    const log: string[] = [];
    const task = createTask(async () => {
      await shielded(async () => {
        task.cancel('from inside');
        await sleep(5);
        log.push('protected');
      });
      log.push('after');
      await checkpoint();
      log.push('not reached');
    });
    const error = await failure(task);
    expect([error.constructor, error.reason]).toEqual([CancelledError, 'from inside']);
    expect(log).toEqual(['protected', 'after']);
  });

  virtualTest('a group that another task than its maker closes works all the same', async () => {
    const ends: string[] = [];
    const { group } = await createTask(async () => {
      const made = new TaskGroup();
      made.createTask(() => sleep(never).finally(() => ends.push('child')));
      return { group: made };
    });
    await checkpoint();
    await createTask(async () => {
      await using _ = group;
    });
    expect(ends).toEqual(['child']);
  });

  virtualTest('a block of timeout() that another task closes ends there', async () => {
    const opened = new Future<{ limit: AsyncDisposable }>();
    const holder = createTask(async () => {
      opened.setResult({ limit: timeout(10) });
      await sleep(50);
      return currentTime();
    });
    const { limit } = await opened;
    await limit[Symbol.asyncDispose]();
    // Its limit is gone, and the task goes on in the region around.
    expect(await holder).toBe(50);
  });

  virtualTest('an error of another scope, thrown by hand, is not swallowed', async () => {
    let stolen: unknown;
    await moveOnAfter(1, () =>
      sleep(never).catch((error: unknown) => {
        stolen = error;
        throw error;
      }),
    );
    const scope = new CancelScope();
    const error = await failure(
      scope.run(async () => {
        scope.cancel();
        throw stolen;
      }),
    );
    expect([error, scope.cancelledCaught]).toEqual([stolen, false]);
  });
});
