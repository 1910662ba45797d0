import { spawnSync } from 'node:child_process';
import { kill, pid } from 'node:process';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { describe, expect, test } from 'vitest';
import { CancelledError, InvalidStateError } from '../../lib/base/errors.ts';
import type { ExceptionContext } from '../../lib/loop/event-loop.ts';
import '../../lib/process/loop-methods.ts';
import { openSignalReceiver } from '../../lib/process/signal-receiver.ts';
import { ContextVar } from '../../lib/task/context.ts';
import { getEventLoop, getRunningLoop, Runner, run } from '../../lib/task/run.ts';
import { CancelScope, moveOnAfter } from '../../lib/task/scope.ts';
import { checkpoint } from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/task.ts';
import { testPolicy } from '../support/policy.ts';
import { failure, runTest } from '../task/support.ts';
import { turn, until } from './support.ts';

/** Sends a signal to this process, and waits until Node has told of it. */
async function raise(signal: NodeJS.Signals): Promise<void> {
  let came = false;
  const note = (): void => {
    came = true;
  };
  process.once(signal, note);
  kill(pid, signal);
  await until(() => came);
}

function listeners(): number {
  return process.listenerCount('SIGUSR2') + process.listenerCount('SIGHUP');
}

type Receiver = AsyncIterable<NodeJS.Signals> & Disposable;

async function take(receiver: Receiver, count: number): Promise<NodeJS.Signals[]> {
  const signals: NodeJS.Signals[] = [];
  if (count === 0) return signals;
  for await (const signal of receiver) {
    signals.push(signal);
    if (signals.length === count) break;
  }
  return signals;
}

// covers: trio/open-signal-receiver
describe('openSignalReceiver', () => {
  runTest('gives signals in the order in which they come', async () => {
    using receiver = openSignalReceiver('SIGUSR2', 'SIGHUP');
    await raise('SIGHUP');
    await raise('SIGUSR2');
    await raise('SIGHUP');
    expect(await take(receiver, 3)).toEqual(['SIGHUP', 'SIGUSR2', 'SIGHUP']);
  });

  runTest('wakes a task that waits', async () => {
    using receiver = openSignalReceiver('SIGUSR2');
    const task = createTask(() => take(receiver, 2));
    await checkpoint();
    await raise('SIGUSR2');
    await raise('SIGUSR2');
    expect(await task).toEqual(['SIGUSR2', 'SIGUSR2']);
  });

  runTest('keeps what comes between two loops over it', async () => {
    using receiver = openSignalReceiver('SIGUSR2', 'SIGHUP');
    await raise('SIGUSR2');
    await raise('SIGHUP');
    expect(await take(receiver, 1)).toEqual(['SIGUSR2']);
    expect(await take(receiver, 1)).toEqual(['SIGHUP']);
  });

  runTest('gives each receiver each of its signals', async () => {
    using first = openSignalReceiver('SIGUSR2', 'SIGHUP');
    using second = openSignalReceiver('SIGUSR2');
    await raise('SIGHUP');
    await raise('SIGUSR2');
    expect(await take(second, 1)).toEqual(['SIGUSR2']);
    expect(await take(first, 2)).toEqual(['SIGHUP', 'SIGUSR2']);
  });

  runTest(
    'gives tasks that share a receiver one signal each, first come first served',
    async () => {
      using receiver = openSignalReceiver('SIGUSR2', 'SIGHUP');
      const first = createTask(() => take(receiver, 1));
      const second = createTask(() => take(receiver, 1));
      await checkpoint();
      await raise('SIGHUP');
      await raise('SIGUSR2');
      expect([await first, await second]).toEqual([['SIGHUP'], ['SIGUSR2']]);
    },
  );

  runTest('has one listener of Node for each signal, and none in the end', async () => {
    const before = listeners();
    const receivers = Array.from({ length: 20 }, () => openSignalReceiver('SIGUSR2', 'SIGHUP'));
    expect(listeners() - before).toBe(2);
    for (const receiver of receivers.slice(1)) receiver[Symbol.dispose]();
    expect(listeners() - before).toBe(2);
    await raise('SIGHUP');
    expect(await take(receivers[0] as Receiver, 1)).toEqual(['SIGHUP']);
    receivers[0]?.[Symbol.dispose]();
    receivers[0]?.[Symbol.dispose]();
    expect(listeners() - before).toBe(0);
  });

  runTest('names given twice count once', async () => {
    const before = listeners();
    {
      using receiver = openSignalReceiver('SIGUSR2', 'SIGUSR2');
      await raise('SIGUSR2');
      expect(await take(receiver, 1)).toEqual(['SIGUSR2']);
      expect(await moveOnAfter(1, () => take(receiver, 1))).toBe(undefined);
    }
    expect(listeners()).toBe(before);
  });

  runTest('disposed ends loops that wait, and begins no other', async () => {
    const receiver = openSignalReceiver('SIGUSR2');
    const task = createTask(() => take(receiver, 1));
    await checkpoint();
    await raise('SIGUSR2').then(() => task);
    const waiting = createTask(() => take(receiver, 5));
    await checkpoint();
    receiver[Symbol.dispose]();
    expect(await waiting).toEqual([]);
    expect(await take(receiver, 1)).toEqual([]);
  });

  runTest('disposed drops what was not taken', async () => {
    const receiver = openSignalReceiver('SIGUSR2');
    await raise('SIGUSR2');
    receiver[Symbol.dispose]();
    expect(await take(receiver, 1)).toEqual([]);
  });

  runTest('a cancelled wait leaves the receiver as it was', async () => {
    using receiver = openSignalReceiver('SIGUSR2');
    const edge = createTask(() => take(receiver, 1));
    const scope = new CancelScope();
    const level = createTask(() => scope.run(() => take(receiver, 1)));
    await checkpoint();
    edge.cancel();
    scope.cancel();
    expect(await failure(edge)).toBeInstanceOf(CancelledError);
    expect(await level).toBe(undefined);
    await raise('SIGUSR2');
    await scope.run(() => take(receiver, 1)).catch(() => {});
    expect(await take(receiver, 1)).toEqual(['SIGUSR2']);
  });

  runTest('a cancelled scope takes no signal that is there', async () => {
    using receiver = openSignalReceiver('SIGUSR2');
    await raise('SIGUSR2');
    const scope = new CancelScope();
    scope.cancel();
    await scope.run(() => take(receiver, 1));
    expect(scope.cancelledCaught).toBe(true);
    expect(await take(receiver, 1)).toEqual(['SIGUSR2']);
  });

  runTest('a signal of the same turn beats a cancellation', async () => {
    using receiver = openSignalReceiver('SIGUSR2');
    const task = createTask(() => take(receiver, 1));
    await checkpoint();
    // After uvio's own listener: the signal has been handed over then.
    process.once('SIGUSR2', () => task.cancel());
    await raise('SIGUSR2');
    expect(await task).toEqual(['SIGUSR2']);
  });

  runTest('keeps only so many that nobody takes', async () => {
    using receiver = openSignalReceiver('SIGUSR2', 'SIGHUP');
    // As from Node, without 2,000 round trips through the kernel.
    for (let i = 0; i < 2_000; i++) process.emit('SIGUSR2', 'SIGUSR2');
    process.emit('SIGHUP', 'SIGHUP');
    process.emit('SIGHUP', 'SIGHUP');
    const signals = await take(receiver, 1_025);
    expect(signals.filter((signal) => signal === 'SIGHUP')).toEqual(['SIGHUP']);
    expect(await moveOnAfter(1, () => take(receiver, 1))).toBe(undefined);
  });

  runTest('other waits go on while signals come again and again', async () => {
    using receiver = openSignalReceiver('SIGUSR2');
    let rounds = 0;
    const other = createTask(async () => {
      for (; rounds < 10; rounds++) await turn();
    });
    for await (const _signal of receiverFed(receiver)) if (other.done) break;
    expect(rounds).toBe(10);
  });

  test('does not outlive the loop it was made on', async () => {
    const before = listeners();
    let waiting: Promise<unknown> | undefined;
    const receiver = await run(
      async () => {
        const made = openSignalReceiver('SIGUSR2');
        waiting = made[Symbol.asyncIterator]().next();
        return made;
      },
      { policy: testPolicy(), handleSignals: false },
    );
    expect(listeners()).toBe(before);
    expect(await waiting).toEqual({ value: undefined, done: true });
    receiver[Symbol.dispose]();
  });

  test('works at top level', async () => {
    using receiver = openSignalReceiver('SIGUSR2');
    const waiting = take(receiver, 1);
    await raise('SIGUSR2');
    expect(await waiting).toEqual(['SIGUSR2']);
    expect(getEventLoop().metrics().timers).toBe(0);
  });
});

/** Sends the next signal whenever one was taken. */
async function* receiverFed(receiver: Receiver): AsyncGenerator<NodeJS.Signals> {
  await raise('SIGUSR2');
  for await (const signal of receiver) {
    yield signal;
    kill(pid, 'SIGUSR2');
  }
}

// covers: asyncio/add-signal-handler
describe('addSignalHandler', () => {
  runTest('calls back in a turn of the loop', async () => {
    const loop = getRunningLoop();
    const calls: unknown[] = [];
    loop.addSignalHandler('SIGUSR2', (...args: unknown[]) => calls.push(args));
    await raise('SIGUSR2');
    await checkpoint();
    await raise('SIGUSR2');
    await checkpoint();
    expect(calls).toEqual([[], []]);
    expect(loop.removeSignalHandler('SIGUSR2')).toBe(true);
    expect(loop.removeSignalHandler('SIGUSR2')).toBe(false);
  });

  runTest('a second callback replaces the first', async () => {
    const loop = getRunningLoop();
    const before = listeners();
    const calls: number[] = [];
    loop.addSignalHandler('SIGUSR2', () => calls.push(1));
    loop.addSignalHandler('SIGUSR2', () => calls.push(2));
    expect(listeners() - before).toBe(1);
    await raise('SIGUSR2');
    await checkpoint();
    expect(calls).toEqual([2]);
    loop.removeSignalHandler('SIGUSR2');
    expect(listeners()).toBe(before);
  });

  runTest('different signals have their own callbacks', async () => {
    const loop = getRunningLoop();
    const calls: string[] = [];
    loop.addSignalHandler('SIGUSR2', () => calls.push('usr2'));
    loop.addSignalHandler('SIGHUP', () => calls.push('hup'));
    await raise('SIGHUP');
    await checkpoint();
    loop.removeSignalHandler('SIGHUP');
    await raise('SIGUSR2');
    await checkpoint();
    expect(calls).toEqual(['hup', 'usr2']);
    loop.removeSignalHandler('SIGUSR2');
  });

  runTest('a receiver gets the signal, too', async () => {
    const loop = getRunningLoop();
    let calls = 0;
    loop.addSignalHandler('SIGUSR2', () => calls++);
    using receiver = openSignalReceiver('SIGUSR2');
    await raise('SIGUSR2');
    expect(await take(receiver, 1)).toEqual(['SIGUSR2']);
    await checkpoint();
    expect(calls).toBe(1);
    loop.removeSignalHandler('SIGUSR2');
  });

  runTest('runs in the context of whoever added it', async () => {
    const loop = getRunningLoop();
    const word = new ContextVar<string>('word');
    const seen: string[] = [];
    word.run('added', () => loop.addSignalHandler('SIGUSR2', () => seen.push(word.get('none'))));
    await raise('SIGUSR2');
    await checkpoint();
    expect(seen).toEqual(['added']);
    loop.removeSignalHandler('SIGUSR2');
  });

  runTest('an error of the callback goes to the exception handler', async () => {
    const loop = getRunningLoop();
    const seen: ExceptionContext[] = [];
    loop.setExceptionHandler((_loop, context) => seen.push(context));
    const error = new RangeError('mine');
    loop.addSignalHandler('SIGUSR2', () => {
      throw error;
    });
    await raise('SIGUSR2');
    await checkpoint();
    expect(seen.map((context) => context.error)).toEqual([error]);
    loop.removeSignalHandler('SIGUSR2');
  });

  test('ends with its loop; a closed loop takes none', async () => {
    const before = listeners();
    const runner = new Runner({ policy: testPolicy() });
    runner.loop.addSignalHandler('SIGUSR2', () => {});
    runner.loop.addSignalHandler('SIGHUP', () => {});
    expect(listeners() - before).toBe(2);
    await runner.close();
    expect(listeners()).toBe(before);
    expect(() => runner.loop.addSignalHandler('SIGHUP', () => {})).toThrow(InvalidStateError);
    expect(runner.loop.removeSignalHandler('SIGHUP')).toBe(false);
  });
});

// covers: asyncio/add-signal-handler, trio/open-signal-receiver
describe('wrong signals', () => {
  const loop = getEventLoop();
  const ways: [string, (signal: NodeJS.Signals) => unknown][] = [
    ['openSignalReceiver', (signal) => openSignalReceiver('SIGUSR2', signal)],
    ['addSignalHandler', (signal) => loop.addSignalHandler(signal, () => {})],
  ];

  for (const [name, call] of ways) {
    test(`${name} refuses an unknown name`, () => {
      const before = listeners();
      for (const bad of ['SIGFOO', 'sigint', 2, null, 'toString']) {
        expect(() => call(bad as never)).toThrow(TypeError);
        expect(() => call(bad as never)).toThrow(`Unknown signal: ${bad}`);
      }
      expect(listeners()).toBe(before);
    });

    test(`${name} refuses what no process can handle, with EINVAL`, () => {
      const before = listeners();
      for (const bad of ['SIGKILL', 'SIGSTOP'] as const) {
        const wanted = expect.objectContaining({ code: 'EINVAL', syscall: 'sigaction' });
        expect(() => call(bad)).toThrow(wanted);
      }
      expect(listeners()).toBe(before);
    });
  }

  test('openSignalReceiver wants at least one', () => {
    expect(() => openSignalReceiver()).toThrow(TypeError);
  });

  test('addSignalHandler wants a function', () => {
    expect(() => loop.addSignalHandler('SIGHUP', 5 as never)).toThrow(TypeError);
    expect(() => loop.removeSignalHandler('SIGFOO' as never)).toThrow(TypeError);
  });

  test('a worker thread gets none: ENOTSUP', async () => {
    const loader = new URL('../task/ts-loader.mjs', import.meta.url).href;
    const source = new URL('../../lib/process/signal-receiver.ts', import.meta.url).href;
    const program = `
      const { register } = require('node:module');
      const { parentPort } = require('node:worker_threads');
      register(${JSON.stringify(loader)});
      import(${JSON.stringify(source)}).then(({ openSignalReceiver }) => {
        try { openSignalReceiver('SIGHUP'); } catch (error) { parentPort.postMessage(error.code); }
      });`;
    const worker = new Worker(program, { eval: true });
    const code = await new Promise((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
    });
    await worker.terminate();
    expect(code).toBe('ENOTSUP');
  }, 25_000);
});

// covers: asyncio/add-signal-handler, trio/open-signal-receiver
describe('the default action', () => {
  const source = new URL('./programs/signals.ts', import.meta.url);
  const loader = new URL('../task/ts-loader.mjs', import.meta.url);

  function program(mode: string): [status: number | null, signal: string | null, out: string] {
    const flags = ['--disable-warning=DEP0205', '--import', fileURLToPath(loader)];
    const args = [...flags, fileURLToPath(source), mode];
    const result = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 20_000 });
    return [result.status, result.signal, result.stdout + result.stderr];
  }

  test('is off while there is a receiver, and so is what run does', () => {
    const out = 'SIGINT\nSIGINT\nSIGTERM\nwent on\ndone\n';
    expect(program('receive')).toEqual([0, null, out]);
  }, 25_000);

  test('is back after it: run cancels main, and the process ends by the signal', () => {
    const out = 'SIGINT\nSIGINT\nSIGTERM\nwent on\n';
    expect(program('receive-then-die')).toEqual([null, 'SIGINT', out]);
  }, 25_000);

  test('is back after the run that a receiver was left open in', () => {
    expect(program('left-open')).toEqual([null, 'SIGTERM', '']);
  }, 25_000);

  test('is off while there is a handler, and back after it', () => {
    expect(program('handle')).toEqual([null, 'SIGINT', 'handled true\ncancelled\n']);
  }, 25_000);

  test('and waiting for a signal keeps the process alive', () => {
    expect(program('top')).toEqual([0, null, 'SIGUSR2\n']);
  }, 25_000);
});
