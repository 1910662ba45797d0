/** Virtual time, deadlocks and options of `simulated()`, which is its own policy. */
import { readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import {
  CancelledError,
  DeadlockError,
  InvalidStateError,
  TimeoutError,
} from '../../lib/base/errors.ts';
import { openConnection } from '../../lib/io/connect.ts';
import { startServer } from '../../lib/io/start-server.ts';
import { getLoopPolicy } from '../../lib/loop/policy.ts';
import { shield } from '../../lib/task/combinators.ts';
import { Future } from '../../lib/task/future.ts';
import { taskGroup } from '../../lib/task/group.ts';
import { getRunningLoop, Runner, type RunOptions, run } from '../../lib/task/run.ts';
import { CancelScope, shielded, timeout } from '../../lib/task/scope.ts';
import { abortable } from '../../lib/task/signal.ts';
import { currentTime, sleep, sleepForever } from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/task.ts';
import {
  assertNoLeaks,
  explore,
  type SimulatedPolicy,
  type SimulationOptions,
  simulated,
  waitAllTasksBlocked,
} from '../../lib/testing/index.ts';
import { failure } from '../task/support.ts';

const realTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const realSleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

function go<T>(
  policy: SimulatedPolicy,
  main: () => T | PromiseLike<T>,
  options?: RunOptions,
): Promise<T> {
  return run(main, { policy, handleSignals: false, ...options });
}

// covers: trio/mockclock, trio/run, seeds/C26
describe('the clock', () => {
  test('starts at 0 and stands still until it is advanced', async () => {
    const policy = simulated({ autoJump: false });
    const { clock } = policy;
    expect(clock.now).toBe(0);
    await go(policy, async () => {
      expect([currentTime(), clock.autoJump]).toEqual([0, false]);
      for (let i = 0; i < 20; i++) await realTurn();
      expect(currentTime()).toBe(0);
      await clock.advance(1_200);
      expect([clock.now, currentTime()]).toEqual([1_200, 1_200]);
      await clock.advance(0);
      await clock.advance(0.5);
      expect(clock.now).toBe(1_200.5);
    });
    expect(clock.now).toBe(1_200.5);
  });

  test('advance runs what falls due, each at its time and in order', async () => {
    const policy = simulated({ autoJump: false });
    const log: string[] = [];
    await go(policy, async () => {
      const steps = async (name: string, ms: number): Promise<void> => {
        for (;;) {
          await sleep(ms);
          log.push(`${name} ${policy.clock.now}`);
        }
      };
      const both = [createTask(steps, 'a', 10), createTask(steps, 'b', 15)];
      await waitAllTasksBlocked();
      await policy.clock.advance(30);
      // At 30, a was armed later than b.
      expect(log).toEqual(['a 10', 'b 15', 'a 20', 'b 30', 'a 30']);
      for (const task of both) await task.cancelAndWait();
    });
  });

  test('several advances at once count from their calls', async () => {
    const policy = simulated({ autoJump: false });
    const log: string[] = [];
    await go(policy, async () => {
      const first = policy.clock.advance(20).then(() => log.push(`first ${policy.clock.now}`));
      const second = policy.clock.advance(10).then(() => log.push(`second ${policy.clock.now}`));
      await Promise.all([first, second]);
    });
    expect(log).toEqual(['second 10', 'first 20']);
  });

  test.each([
    [-1, RangeError],
    [Number.POSITIVE_INFINITY, RangeError],
    [Number.NaN, TypeError],
    ['5', TypeError],
  ])('advance(%s) is refused', async (ms, errorClass) => {
    const policy = simulated();
    await go(policy, async () => {
      expect(await failure(policy.clock.advance(ms as number))).toBeInstanceOf(errorClass);
      expect(policy.clock.now).toBe(0);
    });
    expect(await failure(policy.clock.advance(1))).toBeInstanceOf(InvalidStateError);
  });

  test('advance can be cancelled; time stays where it is', async () => {
    const policy = simulated({ autoJump: false });
    await go(policy, async () => {
      const task = createTask(() => policy.clock.advance(100));
      createTask(async () => {
        await sleep(40);
        task.cancel();
      });
      expect(await failure(task)).toBeInstanceOf(CancelledError);
      expect(policy.clock.now).toBe(40);
      expect(await failure(simulated().clock.advance(1))).toBeInstanceOf(InvalidStateError);
    });
  });

  test('jumps to the next timer when every task waits, in no real time', async () => {
    const policy = simulated();
    const startMs = performance.now();
    const times: number[] = [];
    await go(policy, async () => {
      for (const ms of [3_600_000, 0.5, 0, 7 * 24 * 3_600_000, 2 ** 33]) {
        await sleep(ms);
        times.push(currentTime());
      }
    });
    expect(times).toEqual([
      3.6e6,
      3.6e6 + 0.5,
      3.6e6 + 0.5,
      608_400_000.5,
      608_400_000.5 + 2 ** 33,
    ]);
    expect(performance.now() - startMs).toBeLessThan(1_000);
  });

  test('goes on as soon as autoJump is set', async () => {
    const policy = simulated({ autoJump: false });
    await go(policy, async () => {
      const sleeper = createTask(() => sleep(50));
      await waitAllTasksBlocked();
      expect(policy.clock.now).toBe(0);
      policy.clock.autoJump = true;
      await sleeper;
      expect(policy.clock.now).toBe(50);
    });
  });

  test('may be set before the run, and keeps its setting for the next one', async () => {
    const policy = simulated();
    policy.clock.autoJump = false;
    for (let i = 0; i < 2; i++) {
      await go(policy, async () => {
        const sleeper = createTask(() => sleep(5));
        await waitAllTasksBlocked();
        expect(policy.clock.now).toBe(0);
        await policy.clock.advance(5);
        await sleeper;
      });
    }
    expect(policy.clock.autoJump).toBe(false);
  });

  test('does not jump to a timer that was cancelled', async () => {
    const policy = simulated();
    await go(policy, async () => {
      await timeout(1_000, () => sleep(1));
      await realSleep(20);
      expect(policy.clock.now).toBe(1);
    });
  });

  test('waitAllTasksBlocked comes before the jump, however often', async () => {
    const policy = simulated();
    const log: string[] = [];
    await go(policy, async () => {
      const sleeper = createTask(async () => {
        await sleep(1);
        log.push('sleeper');
      });
      for (let i = 0; i < 3; i++) {
        await waitAllTasksBlocked();
        log.push(`blocked at ${policy.clock.now}`);
      }
      await sleeper;
    });
    expect(log).toEqual(['blocked at 0', 'blocked at 0', 'blocked at 0', 'sleeper']);
  });

  test('making a policy changes nothing', () => {
    const before = getLoopPolicy();
    const policy = simulated({ seed: 7 });
    expect(getLoopPolicy()).toBe(before);
    expect([policy.name, policy.seed, policy.trace]).toEqual(['simulated', 7, []]);
  });

  test('each run starts at 0, with a trace of its own', async () => {
    const policy = simulated();
    const main = async (): Promise<number> => {
      const start = currentTime();
      await sleep(10);
      return start;
    };
    expect(await go(policy, main)).toBe(0);
    const { trace } = policy;
    expect(await go(policy, main)).toBe(0);
    expect(policy.trace).not.toBe(trace);
    expect(policy.trace).toEqual(trace);
    expect(trace).toEqual(['0 spawn main', '0 step main', '10 step main', '10 end main done']);
  });

  test('carries one run at a time', async () => {
    const policy = simulated();
    await go(policy, async () => {
      expect(() => policy.createLoop()).toThrow(InvalidStateError);
    });
    await policy.createLoop().close();
  });

  test('an advance from outside of the run ends with its loop', async () => {
    const policy = simulated({ autoJump: false });
    const loop = policy.createLoop();
    const advancing = failure(policy.clock.advance(5));
    await loop.close();
    expect(await advancing).toBeInstanceOf(InvalidStateError);
  });
});

describe('what is not of the simulation', () => {
  // A pool of threads that is busy with others can answer too late for the grace of some turns.
  test('a promise of Node’s and a file take no virtual time', { retry: 4 }, async () => {
    const policy = simulated();
    await go(policy, async () => {
      const text = await timeout(5, () => readFile(new URL(import.meta.url), 'utf8'));
      expect(text.length).toBeGreaterThan(100);
      await timeout(5, realTurn);
      expect(policy.clock.now).toBe(0);
    });
  });

  test('work outside of the loop holds the clock', async () => {
    const policy = simulated();
    await go(policy, async () => {
      const loop = getRunningLoop();
      loop.outsideWork++;
      const working = realSleep(20).then(() => loop.outsideWork--);
      await timeout(5, () => abortable(working));
      expect(policy.clock.now).toBe(0);
    });
  });

  test('a real timer does not hold it, unless autoJump is off', async () => {
    const policy = simulated();
    await go(policy, async () => {
      const late = timeout(5, () => abortable(realSleep(30)));
      expect(await failure(late)).toBeInstanceOf(TimeoutError);
      policy.clock.autoJump = false;
      await timeout(5, () => realSleep(5));
      policy.clock.autoJump = true;
      expect(policy.clock.now).toBe(5);
    });
  });
});

// covers: seeds/C26
describe('a deadlock', () => {
  test('rejects the run, and lists who waits for what', async () => {
    const policy = simulated();
    const log: string[] = [];
    const error = await failure(
      go(policy, async () => {
        const future = new Future<void>();
        createTask({ name: 'child' }, async () => {
          try {
            await future;
          } finally {
            log.push('child cleaned up');
          }
        });
        try {
          await sleepForever();
        } finally {
          log.push('main cleaned up');
        }
      }),
    );
    expect(error).toBeInstanceOf(DeadlockError);
    expect(error.code).toBe('ERR_UVIO_DEADLOCK');
    expect(error.tasks).toEqual(['main waits for sleepForever', 'child waits for await']);
    expect(error.message).toBe(
      'Every task waits, and nothing will end that:\n' +
        '  main waits for sleepForever\n  child waits for await',
    );
    expect(log).toEqual(['main cleaned up', 'child cleaned up']);
    expect(policy.trace).toContain('0 deadlock');
  });

  test('of tasks that await one another is found after all timers', async () => {
    const policy = simulated();
    const error = await failure(
      go(policy, async () => {
        await taskGroup(async (group) => {
          let second: { task: PromiseLike<unknown> } | undefined;
          const first = group.createTask(async () => {
            await sleep(100);
            await shield(second?.task as PromiseLike<unknown>);
          });
          second = { task: group.createTask(() => first.join()) };
        });
      }),
    );
    expect(error).toBeInstanceOf(DeadlockError);
    expect(error.tasks).toHaveLength(3);
    expect(policy.clock.now).toBe(100);
  });

  test('is told even if main swallows its cancellation', async () => {
    const swallow = async (): Promise<string> => {
      await sleepForever().catch(() => {});
      return 'result';
    };
    expect(await failure(go(simulated(), swallow))).toBeInstanceOf(DeadlockError);
    const boom = new Error('boom');
    const fail = async (): Promise<void> => {
      await sleepForever().catch(() => {});
      throw boom;
    };
    const error = await failure(go(simulated(), fail));
    expect(error).toBeInstanceOf(DeadlockError);
    expect(error.cause).toBe(boom);
  });

  test('behind a shield is broken up, too', async () => {
    const error = await failure(go(simulated(), () => shielded(() => sleepForever())));
    expect(error).toBeInstanceOf(DeadlockError);
    const stubborn = new CancelScope({ shield: true });
    const twice = await failure(go(simulated(), () => stubborn.run(() => new Future<void>())));
    expect(twice).toBeInstanceOf(DeadlockError);
  });

  test('in the clean-up after main is told to the exception handler', async () => {
    const reports: unknown[] = [];
    await go(simulated(), async () => {
      getRunningLoop().setExceptionHandler((_loop, { error }) => reports.push(error));
      createTask({ eagerStart: true }, () => shielded(() => sleepForever()));
    });
    expect(reports).toEqual([expect.any(DeadlockError)]);
  });

  test('of a server without clients, and of one whose client says nothing', async () => {
    const lonely = await failure(
      go(simulated(), async () => {
        await using server = await startServer(() => {}, { host: '127.0.0.1' });
        await server.serveForever();
      }),
    );
    expect(lonely.tasks).toEqual(['main waits for serveForever']);
    const silent = await failure(
      go(simulated({ latencyMs: 5 }), async () => {
        const handler = async (connection: { read(): Promise<unknown> }): Promise<void> => {
          await connection.read();
        };
        await using server = await startServer(handler, { host: '127.0.0.1' });
        await using client = await openConnection({ host: '127.0.0.1', port: server.port });
        await client.readLine();
      }),
    );
    expect(silent.tasks).toEqual(['main waits for read', 'Task-2 waits for read']);
  });

  test('is none while something from outside may come', async () => {
    const policy = simulated();
    const value = await go(policy, async () => {
      const future = new Future<string>();
      setTimeout(() => future.setResult('from outside'), 60);
      return await future;
    });
    expect(value).toBe('from outside');
    const adopted = await go(policy, async () => await abortable(realSleep(30).then(() => 'real')));
    expect(adopted).toBe('real');
    expect(policy.clock.now).toBe(0);
  });

  test('is found after something from outside has come', async () => {
    const error = await failure(
      go(simulated(), async () => {
        await realSleep(20);
        await sleepForever();
      }),
    );
    expect(error).toBeInstanceOf(DeadlockError);
  });

  test('is a clock that nobody moves', async () => {
    const main = (): Promise<void> => sleep(5);
    expect(await failure(go(simulated({ autoJump: false }), main))).toBeInstanceOf(DeadlockError);
  });

  test('is found in each run of a runner', async () => {
    await using runner = new Runner({ policy: simulated(), handleSignals: false });
    for (let i = 0; i < 2; i++) {
      expect(await failure(runner.run(() => sleepForever()))).toBeInstanceOf(DeadlockError);
      expect(await runner.run(() => sleep(5, 'fine'))).toBe('fine');
    }
  });
});

test('assertNoLeaks waits for what is under way on a slow network', async () => {
  const policy = simulated({ latencyMs: 50 });
  await go(policy, async () => {
    await using server = await startServer(
      async (connection) => {
        for await (const _ of connection);
      },
      { host: '127.0.0.1' },
    );
    await assertNoLeaks(async () => {
      const client = await openConnection({ host: '127.0.0.1', port: server.port });
      await sleep(100);
      await client.close();
    });
    // The handshake, the pause, and the end on its way to the server.
    expect(policy.clock.now).toBe(250);
    expect(server.connections).toBe(0);
  });
});

describe('bad options', () => {
  test.each<[unknown, unknown]>([
    [{ seed: -1 }, RangeError],
    [{ seed: 0.5 }, RangeError],
    [{ seed: '1' }, TypeError],
    [{ seed: 2 ** 32 }, RangeError],
    [{ autoJump: 1 }, TypeError],
    [{ latencyMs: -1 }, RangeError],
    [{ latencyMs: [5, 1] }, RangeError],
    [{ latencyMs: Number.POSITIVE_INFINITY }, RangeError],
    [{ latencyMs: Number.NaN }, TypeError],
    [{ latencyMs: [1] }, TypeError],
    [{ breakRate: 1.1 }, RangeError],
    [{ breakRate: Number.NaN }, RangeError],
    [{ breakRate: '0' }, TypeError],
    [{ hosts: { db: 'not an address' } }, TypeError],
    [{ hosts: 5 }, TypeError],
    [null, TypeError],
  ])('%j', (options, errorClass) => {
    expect(() => simulated(options as SimulationOptions)).toThrow(errorClass as typeof TypeError);
  });
});

// covers: seeds/C26
describe('explore', () => {
  test('runs once for each seed', async () => {
    const seeds: number[] = [];
    await explore(({ seed }) => void seeds.push(seed), { runs: 4 });
    await explore(({ seed }) => void seeds.push(seed), { runs: 2, seed: 40, latencyMs: 1 });
    expect(seeds).toEqual([0, 1, 2, 3, 40, 41]);
  });

  test('names the seed that failed, and it fails again', async () => {
    // Two clients at the same time: whose line comes first is nobody's promise.
    const whoIsFirst = async (policy: SimulatedPolicy): Promise<void> => {
      const lines: (string | null)[] = [];
      await go(policy, async () => {
        const server = await startServer(
          async (connection) => void lines.push(await connection.readLine()),
          { host: '127.0.0.1' },
        );
        await taskGroup((group) => {
          for (const name of ['one\n', 'two\n']) {
            group.createTask(async () => {
              await using client = await openConnection({ host: '127.0.0.1', port: server.port });
              await client.write(name);
              await client.read();
            });
          }
        });
        await server[Symbol.asyncDispose]();
      });
      expect(lines).toEqual(['one', 'two']);
    };
    const error = await failure(explore(whoIsFirst));
    const seed = Number(/^Failed with seed (\d+), as simulated/.exec(error.message)?.[1]);
    expect(seed).toBeGreaterThan(0);
    expect(error.cause.message).toContain('to deeply equal');
    expect(await failure(whoIsFirst(simulated({ seed })))).toMatchObject({
      message: error.cause.message,
    });
    await whoIsFirst(simulated());
  });

  test('refuses what is no function and no number of runs', async () => {
    expect(await failure(explore(5 as never))).toBeInstanceOf(TypeError);
    expect(await failure(explore(() => {}, { runs: 0 }))).toBeInstanceOf(RangeError);
    expect(await failure(explore(() => {}, { runs: 1.5 }))).toBeInstanceOf(RangeError);
  });
});
