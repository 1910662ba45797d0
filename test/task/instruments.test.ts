/** What instruments hear, in which order, and what becomes of bad ones. */
import { describe, expect, test } from 'vitest';
import type { ExceptionContext, Instrument } from '../../lib/loop/event-loop.ts';
import { gather } from '../../lib/task/combinators.ts';
import { Future } from '../../lib/task/future.ts';
import { taskGroup } from '../../lib/task/group.ts';
import { getRunningLoop, run } from '../../lib/task/run.ts';
import { moveOnAfter } from '../../lib/task/scope.ts';
import { checkpoint, sleep, sleepForever } from '../../lib/task/sleep.ts';
import { createTask, currentTask, type Task } from '../../lib/task/task.ts';
import { inMemory, testPolicy } from '../support/policy.ts';
import { failure, inRun, never, runTest } from './support.ts';

/** Writes down all it hears. */
class Recorder implements Instrument {
  readonly seen: string[] = [];

  beforeRun(): void {
    this.seen.push('beforeRun');
  }

  afterRun(): void {
    this.seen.push('afterRun');
  }

  taskSpawned(task: Task): void {
    this.seen.push(`spawned ${task.name}`);
  }

  taskScheduled(task: Task): void {
    this.seen.push(`scheduled ${task.name}`);
  }

  beforeTaskStep(task: Task): void {
    this.seen.push(`before ${task.name}`);
  }

  afterTaskStep(task: Task): void {
    this.seen.push(`after ${task.name}`);
  }

  taskExited(task: Task): void {
    this.seen.push(`exited ${task.name}`);
  }

  of(name: string): string[] {
    return this.seen.filter((entry) => entry.endsWith(` ${name}`));
  }
}

/** Each step of a task begins and ends before the next begins. */
function checkPairs(seen: readonly string[]): void {
  let open: string | null = null;
  for (const entry of seen) {
    const [, what, name] = /^(before|after) (.*)$/.exec(entry) ?? [];
    if (what === 'before') {
      expect(open, seen.join()).toBe(null);
      open = name as string;
    } else if (what === 'after') {
      expect(open, seen.join()).toBe(name);
      open = null;
    }
  }
  expect(open).toBe(null);
}

// covers: trio/instrument, curio/activation, seeds/C19
describe('instruments', () => {
  test('hear a run from before it to after it, and a task from its start to its end', async () => {
    const recorder = new Recorder();
    await run(() => sleep(0), { policy: testPolicy(), instruments: [recorder], name: 'main' });
    expect(recorder.seen).toEqual([
      'beforeRun',
      'spawned main',
      'scheduled main',
      'before main',
      'after main',
      'scheduled main',
      'before main',
      'exited main',
      'after main',
      'afterRun',
    ]);
  });

  test('hear the steps of tasks that take turns, each whole', async () => {
    const recorder = new Recorder();
    async function worker(): Promise<void> {
      await checkpoint();
      await checkpoint();
    }
    const main = async (): Promise<void> => {
      await taskGroup(async (group) => {
        group.createTask({ name: 'a' }, worker);
        group.createTask({ name: 'b' }, worker);
      });
    };
    await run(main, { policy: testPolicy(), instruments: [recorder] });
    checkPairs(recorder.seen);
    for (const name of ['a', 'b']) {
      const words = recorder.of(name).map((entry) => entry.split(' ')[0]);
      // Tasks that are ready together take turns, so a step may come in several parts.
      expect(words.join(' ').replaceAll(/(before after )+(?=before)/g, '')).toBe(
        'spawned scheduled before after scheduled before after scheduled before exited after',
      );
    }
  });

  test('see what a caller does after an async function that it awaited', async () => {
    const recorder = new Recorder();
    const inner = (): Promise<void> => sleep(0);
    const main = async (): Promise<void> => {
      await (async () => await inner())();
      recorder.seen.push('outer main');
    };
    await run(main, { policy: testPolicy(), instruments: [recorder] });
    checkPairs(recorder.seen);
    const at = recorder.seen.indexOf('outer main');
    expect(recorder.seen.slice(at - 1, at + 3)).toEqual([
      'before main',
      'outer main',
      'exited main',
      'after main',
    ]);
  });

  test('see what a task does after a promise that is not of uvio', async () => {
    const recorder = new Recorder();
    const main = async (): Promise<void> => {
      await new Promise((resolve) => setImmediate(resolve));
      recorder.seen.push('after foreign');
    };
    await run(main, { policy: testPolicy(), instruments: [recorder] });
    const at = recorder.seen.indexOf('after foreign');
    expect(recorder.seen[at - 1]).toBe('before main');
  });

  test('see the step in which a cancellation or an error arrives', async () => {
    const recorder = new Recorder();
    const main = async (): Promise<void> => {
      await moveOnAfter(1, async () => {
        try {
          await sleep(never);
        } finally {
          recorder.seen.push('clean-up');
        }
      });
      const future = new Future();
      getRunningLoop().callSoon(() => future.setException(new Error('x')));
      await failure(future);
      recorder.seen.push('failed');
    };
    await run(main, { policy: testPolicy(), instruments: [recorder] });
    checkPairs(recorder.seen);
    expect(recorder.seen[recorder.seen.indexOf('clean-up') - 1]).toBe('before main');
    const before = recorder.seen.lastIndexOf('before main', recorder.seen.indexOf('failed'));
    expect(recorder.seen.slice(before).includes('after main')).toBe(true);
  });

  test('hear an eager task inside of the step that starts it', async () => {
    const recorder = new Recorder();
    const main = async (): Promise<void> => {
      await checkpoint();
      createTask({ name: 'eager', eagerStart: true }, () => {});
      expect(currentTask()?.name).toBe('main');
    };
    await run(main, { policy: testPolicy(), instruments: [recorder] });
    const at = recorder.seen.lastIndexOf('before main');
    expect(recorder.seen.slice(at, at + 8)).toEqual([
      'before main',
      'spawned eager',
      'scheduled eager',
      'before eager',
      'exited eager',
      'after eager',
      'exited main',
      'after main',
    ]);
  });

  test('hear of a task that was cancelled before its start, without a step', async () => {
    const recorder = new Recorder();
    const main = async (): Promise<void> => {
      await createTask({ name: 'never' }, () => sleepForever()).cancelAndWait();
    };
    await run(main, { policy: testPolicy(), instruments: [recorder] });
    expect(recorder.of('never')).toEqual(['spawned never', 'scheduled never', 'exited never']);
  });

  test('hear in pairs how long the loop has nothing to do', async () => {
    const waits: string[] = [];
    const instrument: Instrument = {
      beforeIoWait: (ms) => void waits.push(`before ${ms > 0}`),
      afterIoWait: (ms) => void waits.push(`after ${ms > 0}`),
    };
    await run(() => sleep(2), { policy: testPolicy(), instruments: [instrument] });
    expect(waits.length % 2 === 0 || waits.at(-1) === 'before true').toBe(true);
    for (const [i, wait] of waits.entries()) {
      expect(wait.split(' ')[0]).toBe(i % 2 === 0 ? 'before' : 'after');
    }
    expect(waits).toContain('before true');
  });

  runTest('may have no methods at all', async () => {
    const instrument = {};
    getRunningLoop().addInstrument(instrument);
    await checkpoint();
    getRunningLoop().removeInstrument(instrument);
  });

  runTest('are told once though they were added twice, and removed by one call', async () => {
    const loop = getRunningLoop();
    const recorder = new Recorder();
    loop.addInstrument(recorder);
    loop.addInstrument(recorder);
    createTask({ name: 'one' }, () => {});
    expect(recorder.seen.filter((entry) => entry === 'spawned one').length).toBe(1);
    loop.removeInstrument(recorder);
    createTask({ name: 'two' }, () => {});
    expect(recorder.of('two')).toEqual([]);
    loop.removeInstrument(recorder);
    await checkpoint();
  });

  runTest('may remove themselves and add others while they are told', async () => {
    const loop = getRunningLoop();
    const later = new Recorder();
    let calls = 0;
    const first: Instrument = {
      taskSpawned() {
        calls++;
        loop.removeInstrument(first);
        loop.addInstrument(later);
      },
    };
    loop.addInstrument(first);
    createTask({ name: 'one' }, () => {});
    createTask({ name: 'two' }, () => {});
    expect(calls).toBe(1);
    expect(later.of('one')).not.toContain('spawned one');
    expect(later.of('two')).toContain('spawned two');
    loop.removeInstrument(later);
    await checkpoint();
  });

  test('that throw are removed and reported, and nobody else notices', async () => {
    for (const event of ['beforeRun', 'taskSpawned', 'beforeTaskStep', 'taskExited'] as const) {
      const reports: ExceptionContext[] = [];
      const recorder = new Recorder();
      let calls = 0;
      class Broken implements Instrument {
        [event](): void {
          calls++;
          throw new Error('broken');
        }
      }
      const policy = {
        name: 'test',
        createLoop: () => {
          const loop = testPolicy().createLoop();
          loop.setExceptionHandler((_loop, context) => reports.push(context));
          return loop;
        },
      };
      const instruments = [new Broken(), recorder];
      expect(await run(() => sleep(1, 'fine'), { policy, instruments })).toBe('fine');
      expect(calls).toBe(1);
      expect(reports.map(({ message }) => message)).toEqual([
        `The instrument Broken threw in ${event} and was removed`,
      ]);
      expect(reports[0]?.error).toMatchObject({ message: 'broken' });
      expect(recorder.seen.at(-1)).toBe('afterRun');
      expect(recorder.seen).toContain('exited main');
    }
  });

  runTest('with a getter that throws are removed when it is needed', async () => {
    const loop = getRunningLoop();
    const reports: string[] = [];
    loop.setExceptionHandler((_loop, { message }) => reports.push(message));
    const instrument = {
      get beforeTaskStep(): never {
        throw new Error('in a getter');
      },
    };
    loop.addInstrument(instrument);
    const other: Instrument = { afterTaskStep() {} };
    loop.addInstrument(other);
    await checkpoint();
    loop.removeInstrument(other);
    expect(reports).toEqual(['The instrument Object threw in beforeTaskStep and was removed']);
  });

  runTest('that are no objects are refused', () => {
    const loop = getRunningLoop();
    for (const bad of [null, undefined, 'x', 1]) {
      expect(() => loop.addInstrument(bad as unknown as Instrument)).toThrow(TypeError);
    }
  });

  test.skipIf(inMemory)('of one run hear nothing of another', async () => {
    const first = new Recorder();
    const options = { policy: testPolicy(), handleSignals: false as const };
    const [a, b] = await Promise.all([
      run(() => sleep(1, 'a'), { ...options, name: 'a', instruments: [first] }),
      run(() => sleep(1, 'b'), { ...options, name: 'b' }),
    ]);
    expect([a, b]).toEqual(['a', 'b']);
    expect(first.of('b')).toEqual([]);
    checkPairs(first.seen);
  });

  test('hear of ten thousand tasks without a lost step', async () => {
    let steps = 0;
    let open = 0;
    const instrument: Instrument = {
      beforeTaskStep: () => {
        steps++;
        open++;
      },
      afterTaskStep: () => void open--,
    };
    const count = 10_000;
    await inRun(() => gather(Array.from({ length: count }, () => () => checkpoint())), {
      instruments: [instrument],
    });
    expect(open).toBe(0);
    expect(steps).toBeGreaterThanOrEqual(2 * count);
  });
});
