import { once } from 'node:events';
import { type AddressInfo, createConnection, createServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { InvalidStateError } from '../../lib/base/errors.ts';
import type { EventLoop, ExceptionContext, Job } from '../../lib/loop/event-loop.ts';
import { contextHooks, runningLoop } from '../../lib/loop/event-loop.ts';
import { inMemory, testPolicy } from '../support/policy.ts';

let loop: EventLoop;
let reports: ExceptionContext[];

beforeEach(() => {
  loop = testPolicy().createLoop();
  reports = [];
  loop.setExceptionHandler((_loop, context) => reports.push(context));
});

afterEach(async () => {
  loop.running = false;
  await loop.close();
});

function nodeTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function later(ms: number): Promise<void> {
  return new Promise((resolve) => loop.callLater(ms, resolve));
}

// covers: asyncio/call-soon
describe('callSoon', () => {
  test('is first in, first out, with arguments, and never at once', async () => {
    const seen: unknown[] = [];
    loop.callSoon((...args: unknown[]) => seen.push(args), 1, 'two');
    loop.callSoon(() => seen.push('b'));
    const job: Job = { runJob: () => seen.push('job') };
    loop.enqueue(job);
    expect(seen).toEqual([]);
    await nodeTurn();
    expect(seen).toEqual([[1, 'two'], 'b', 'job']);
  });

  test('what a turn adds waits for the next; microtasks run between', async () => {
    const seen: string[] = [];
    loop.callSoon(() => {
      seen.push('a');
      loop.callSoon(() => seen.push('c'));
      Promise.resolve()
        .then(() => seen.push('microtask'))
        .then(() => Promise.resolve())
        .then(() => seen.push('its end'));
    });
    loop.callSoon(() => seen.push('b'));
    await nodeTurn();
    await nodeTurn();
    expect(seen).toEqual(['a', 'b', 'microtask', 'its end', 'c']);
  });

  test('cancel: idempotent, no effect once run', async () => {
    const seen: string[] = [];
    const a = loop.callSoon(() => seen.push('a'));
    const b = loop.callSoon(() => seen.push('b'));
    const c = loop.callSoon(() => c.cancel());
    a.cancel();
    a.cancel();
    expect(a.cancelled).toBe(true);
    expect(b.ref().unref()).toBe(b);
    await nodeTurn();
    b.cancel();
    expect([b.cancelled, c.cancelled]).toEqual([false, false]);
    expect(seen).toEqual(['b']);
  });

  test('callInContext runs inside the context', async () => {
    const seen: string[] = [];
    const context = {
      run(fn: () => void): void {
        seen.push('in');
        fn();
        seen.push('out');
      },
    };
    loop.callInContext(context, () => seen.push('callback'));
    await nodeTurn();
    expect(seen).toEqual(['in', 'callback', 'out']);
  });

  test('the running loop is known inside callbacks only', async () => {
    const seen: unknown[] = [];
    loop.callSoon(() => seen.push(runningLoop()));
    loop.callLater(1, () => seen.push(runningLoop()));
    expect(runningLoop()).toBeUndefined();
    await later(3);
    expect(seen).toEqual([loop, loop]);
    expect(runningLoop()).toBeUndefined();
  });
});

describe('timers', () => {
  test('never early, in the order of deadlines, equal ones in order of arming', async () => {
    const seen: string[] = [];
    const start = loop.time();
    const note = (name: string, ms: number): void => {
      expect(loop.time() - start).toBeGreaterThanOrEqual(ms);
      seen.push(name);
    };
    loop.callAt(start + 12, note, 'e', 12);
    loop.callAt(start + 4, note, 'b', 4);
    loop.callAt(start + 8, note, 'd1', 8);
    loop.callAt(start + 8, note, 'd2', 8);
    loop.callAt(start + 0.4, note, 'a', 0.4);
    loop.callAt(start + 7.9, note, 'c', 7.9);
    await later(14);
    expect(seen).toEqual(['a', 'b', 'c', 'd1', 'd2', 'e']);
  });

  test('a burst of one delay: order of arming, none early', async () => {
    const order: number[] = [];
    const early: number[] = [];
    for (let i = 0; i < 2000; i++) {
      const armedAt = loop.time();
      loop.callLater(5, () => {
        order.push(i);
        if (loop.time() < armedAt + 5) early.push(i);
      });
    }
    await later(20);
    expect(early).toEqual([]);
    expect(order).toEqual(Array.from({ length: 2000 }, (_, i) => i));
  });

  test('zero, negative and past times: the next turn, not this one', async () => {
    const seen: string[] = [];
    loop.callLater(0, () => seen.push('zero'));
    loop.callLater(-5, () => seen.push('negative'));
    loop.callLater(-Infinity, () => seen.push('-Infinity'));
    loop.callAt(loop.time() - 100, () => {
      seen.push('past');
      loop.callAt(0, () => seen.push('again'));
    });
    loop.callSoon(() => seen.push('soon'));
    expect(seen).toEqual([]);
    for (let i = 0; i < 1000 && seen.length < 6; i += 1) await later(0);
    expect(seen).toEqual(['soon', 'past', 'zero', 'negative', '-Infinity', 'again']);
  });

  test('cancel, whenMs, cancelled', async () => {
    const seen: string[] = [];
    const before = loop.time();
    const a = loop.callLater(3, () => seen.push('a'));
    const b = loop.callLater(3, () => seen.push('b'));
    const at = loop.callAt(before + 2.5, () => seen.push('at'));
    expect(at.whenMs).toBe(before + 2.5);
    expect(a.whenMs).toBeGreaterThanOrEqual(before + 3);
    const whenMs = a.whenMs;
    a.cancel();
    a.cancel();
    expect([a.cancelled, a.whenMs, b.cancelled]).toEqual([true, whenMs, false]);
    await later(6);
    b.cancel();
    expect([b.cancelled, at.whenMs]).toEqual([false, before + 2.5]);
    expect(seen).toEqual(['at', 'b']);
    expect(a.ref().unref()).toBe(a);
  });

  test('a handle whose slot was given away cancels nothing', async () => {
    const seen: string[] = [];
    const old = loop.callLater(50, () => seen.push('old'));
    old.cancel();
    loop.callLater(1, () => seen.push('new'));
    old.cancel();
    await later(3);
    expect(seen).toEqual(['new']);
  });

  test('Infinity never fires and 2^40 can be armed', () => {
    const never = loop.callLater(Infinity, () => {});
    const far = loop.callLater(2 ** 40, () => {});
    expect(never.whenMs).toBe(Infinity);
    expect(loop.metrics().timers).toBe(2);
    never.cancel();
    far.cancel();
    expect(loop.metrics().timers).toBe(0);
  });

  test('ids of the internal API', async () => {
    const seen: string[] = [];
    const target = { onTimer: (): number => seen.push('fired') };
    const first = loop.armTimer(loop.time() + 1, target);
    const second = loop.armTimer(loop.time() + 1, target);
    loop.setTimerRef(first, false);
    loop.setTimerRef(first, true);
    expect(loop.cancelTimer(second)).toBe(true);
    expect(loop.cancelTimer(second)).toBe(false);
    await later(3);
    expect(loop.cancelTimer(first)).toBe(false);
    loop.setTimerRef(first, false);
    expect(seen).toEqual(['fired']);
  });

  test.each([NaN, '5', undefined, null, 5n])('a delay of %s is a TypeError', (bad) => {
    const wrong = bad as number;
    expect(() => loop.callLater(wrong, () => {})).toThrow(TypeError);
    expect(() => loop.callAt(wrong, () => {})).toThrow(TypeError);
    expect(loop.metrics().timers).toBe(0);
  });

  test('a callback that is no function is a TypeError', () => {
    const wrong = 'f' as unknown as () => void;
    expect(() => loop.callSoon(wrong)).toThrow(TypeError);
    expect(() => loop.callLater(1, wrong)).toThrow(TypeError);
    expect(() => loop.callAt(1, wrong)).toThrow(TypeError);
    expect(() => loop.callInContext({ run: (fn) => fn() }, wrong)).toThrow(TypeError);
    expect(() => loop.setExceptionHandler(wrong as never)).toThrow(TypeError);
  });

  test('cancelling what is due in the same batch holds', async () => {
    const seen: string[] = [];
    const at = loop.time() + 2;
    loop.callAt(at, () => victim.cancel());
    const victim = loop.callAt(at, () => seen.push('victim'));
    await later(5);
    expect(seen).toEqual([]);
    expect(victim.cancelled).toBe(true);
  });
});

describe('fairness', () => {
  // Virtual time stands still while anything is ready, so that a timer would never come.
  test.skipIf(inMemory)(
    'an endless chain of callbacks starves neither timers, immediates nor sockets',
    async () => {
      let links = 0;
      let going = true;
      const link = (): void => {
        links++;
        if (going) loop.callSoon(link);
      };
      const server = createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1');
      await once(server, 'listening');
      link();
      await nodeTurn();
      await new Promise((resolve) => setTimeout(resolve, 1));
      await later(1);
      const client = createConnection((server.address() as AddressInfo).port, '127.0.0.1');
      client.end('ping');
      await once(client, 'data');
      going = false;
      client.destroy();
      server.close();
      await once(server, 'close');
      expect(links).toBeGreaterThan(16);
    },
  );

  test.each([
    [1, 128],
    [100, 3],
  ])('turns of %i jobs: at most %i of them within a turn of Node', async (jobs, most) => {
    let turns = 0;
    let going = true;
    const link = (): void => {
      turns++;
      if (!going) return;
      loop.callSoon(link);
      for (let i = 1; i < jobs; i++) loop.callSoon(() => {});
    };
    link();
    await nodeTurn();
    await nodeTurn();
    const before = turns;
    await nodeTurn();
    expect(turns - before).toBeGreaterThan(1);
    expect(turns - before).toBeLessThanOrEqual(most + 1);
    going = false;
  });

  test('callLater(0) in a chain lets Node turn', async () => {
    let going = true;
    const link = (): void => void (going && loop.callLater(0, link));
    link();
    await nodeTurn();
    await nodeTurn();
    going = false;
  });
});

// covers: asyncio/exception-handler
describe('errors', () => {
  test('a throwing callback or timer is reported, and the rest of the batch runs', async () => {
    const seen: string[] = [];
    const boom = new Error('boom');
    const throwing = (): void => {
      throw boom;
    };
    loop.callSoon(throwing);
    loop.callSoon(() => seen.push('next'));
    const at = loop.time() + 1;
    loop.callAt(at, throwing);
    loop.callAt(at, () => seen.push('timer'));
    await later(4);
    expect(seen).toEqual(['next', 'timer']);
    expect(reports.map((report) => report.error)).toEqual([boom, boom]);
    expect(reports[0]?.message).toBe('Exception in a callback');
    expect(reports[1]?.message).toBe('Exception in a timer');
  });

  test('the default prints and sets the exit code; a broken handler cannot hide the error', () => {
    const write = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
    const exitCode = process.exitCode;
    try {
      loop.setExceptionHandler(null);
      loop.callExceptionHandler({ message: 'told', error: new Error('lost?') });
      expect(process.exitCode).toBe(1);
      loop.setExceptionHandler(() => {
        throw new Error('handler broke');
      });
      loop.callExceptionHandler({ message: 'again', error: new Error('kept') });
      const text = write.mock.calls.map(([chunk]) => String(chunk)).join('');
      for (const part of ['uvio: told', 'lost?', 'uvio: again', 'kept', 'handler broke']) {
        expect(text).toContain(part);
      }
    } finally {
      process.exitCode = exitCode;
      write.mockRestore();
    }
  });

  test('a throwing context hook, restored afterwards', async () => {
    const seen: unknown[] = [];
    const { capture, run } = contextHooks;
    contextHooks.capture = (): unknown => 'captured';
    contextHooks.run = (captured, fn): void => {
      seen.push(captured);
      fn();
    };
    loop.callSoon((value: number) => seen.push(value), 7);
    contextHooks.capture = capture;
    await nodeTurn();
    contextHooks.run = run;
    expect(seen).toEqual(['captured', 7]);
  });
});

describe('debug mode', () => {
  function busy(ms: number): void {
    const end = performance.now() + ms;
    while (performance.now() < end);
  }

  test('reports slow callbacks and timers with name and duration, and goes on', async () => {
    loop.debug = true;
    loop.slowCallbackMs = 60;
    loop.callSoon(function slowOne(): void {
      busy(70);
    });
    loop.callSoon(() => {});
    loop.callLater(1, function slowTimer(): void {
      busy(70);
      throw new Error('and throws');
    });
    await later(3);
    await nodeTurn();
    const slow = reports.filter((report) => report.durationMs !== undefined);
    expect(slow.map((report) => report.callback)).toEqual(['slowOne', 'slowTimer']);
    expect(slow[0]?.message).toMatch(/^Slow callback: slowOne took \d+\.\d ms$/);
    expect(slow[0]?.durationMs).toBeGreaterThanOrEqual(70);
    expect(reports.filter((report) => report.error !== undefined).length).toBe(1);
  });

  test('is off by default, at 100 ms', () => {
    expect(loop.debug).toBe(process.env['UVIO_DEBUG'] === '1');
    expect(loop.slowCallbackMs).toBe(100);
  });
});

describe('metrics and instruments', () => {
  test('metrics', async () => {
    loop.callSoon(() => {});
    loop.callLater(1000, () => {}).unref();
    const before = loop.metrics();
    expect(before).toMatchObject({ ready: 1, timers: 1, tasks: 0, connections: 0 });
    expect(before.writeBufferBytes).toBe(0);
    await later(2);
    const after = loop.metrics();
    expect(after.ready).toBe(0);
    expect(after.iterations).toBeGreaterThan(before.iterations);
    expect(after.busyMs).toBeGreaterThan(before.busyMs);
    expect(after.utilization).toBeGreaterThan(0);
    // A simulated timer is never late.
    if (inMemory) expect(after.lagP50Ms).toBe(0);
    else expect(after.lagP50Ms).toBeGreaterThan(0);
    expect(after.lagP99Ms).toBeGreaterThanOrEqual(after.lagP50Ms);
  });

  test('instruments hear when the loop gives way', async () => {
    const seen: string[] = [];
    const instrument = {
      beforeIoWait: (ms: number) => seen.push(`before ${ms > 0}`),
      afterIoWait: () => seen.push('after'),
    };
    // A simulated policy has one of its own.
    const others = loop.instruments.length;
    loop.addInstrument(instrument);
    loop.addInstrument(instrument);
    expect(loop.instruments.length).toBe(others + 1);
    loop.callSoon(() => {});
    await later(2);
    loop.removeInstrument(instrument);
    expect(loop.instruments.length).toBe(others);
    expect(seen.slice(0, 2)).toEqual(['before true', 'after']);
  });
});

describe('close', () => {
  test('runs its hooks, then refuses; idempotent', async () => {
    const seen: string[] = [];
    loop.callLater(1, () => seen.push('never'));
    const left = loop.callLater(1, () => {});
    loop.closeHooks.add(async () => {
      await later(1);
      seen.push('hook');
    });
    loop.closeHooks.add(() => {
      throw new Error('bad hook');
    });
    left.cancel();
    const handle = loop.callLater(60_000, () => {});
    const closing = loop.close();
    expect(loop.close()).toBe(closing);
    await closing;
    expect(loop.closed).toBe(true);
    expect(seen).toContain('hook');
    expect(reports.length).toBe(1);
    handle.cancel();
    for (const call of [
      () => loop.callSoon(() => {}),
      () => loop.callLater(1, () => {}),
      () => loop.callAt(1, () => {}),
      () => loop.armTimer(1, { onTimer() {} }),
    ]) {
      expect(call).toThrow(InvalidStateError);
      expect(call).toThrow('The loop is closed');
    }
    loop.enqueue({ runJob: () => seen.push('late') });
    await nodeTurn();
    expect(seen).not.toContain('late');
  });

  test('InvalidStateError while running', async () => {
    loop.running = true;
    await expect(loop.close()).rejects.toMatchObject({ code: 'ERR_INVALID_STATE' });
    expect(loop.closed).toBe(false);
  });
});

describe('what the backend is asked', () => {
  test('pairs of arm and cancel cost it nothing; the ref is dropped in the next turn', async () => {
    const arm = vi.spyOn(loop.backendHandle, 'armTimer');
    const ref = vi.spyOn(loop.backendHandle, 'setTimerRef');
    const turn = vi.spyOn(loop.backendHandle, 'requestTurn');
    for (let i = 0; i < 1000; i++) loop.callLater(5000 + i, () => {}).cancel();
    expect(arm).toHaveBeenCalledTimes(1);
    expect(ref.mock.calls).toEqual([[true]]);
    expect(turn).toHaveBeenCalledTimes(1);
    await nodeTurn();
    await nodeTurn();
    expect(ref.mock.calls).toEqual([[true], [false]]);
    expect(arm.mock.calls.at(-1)).toEqual([Infinity]);
  });

  test('unref’d timers do not hold the process; one that is ref’d does', async () => {
    const ref = vi.spyOn(loop.backendHandle, 'setTimerRef');
    const idle = loop.callLater(5000, () => {}).unref();
    await nodeTurn();
    await nodeTurn();
    expect(ref.mock.calls.at(-1)).not.toEqual([true]);
    const held = loop.callLater(9000, () => {});
    expect(ref.mock.calls.at(-1)).toEqual([true]);
    held.unref();
    await nodeTurn();
    await nodeTurn();
    expect(ref.mock.calls.at(-1)).toEqual([false]);
    idle.ref();
    expect(ref.mock.calls.at(-1)).toEqual([true]);
    idle.cancel();
    loop.callLater(Infinity, () => {});
    await nodeTurn();
    await nodeTurn();
    expect(ref.mock.calls.at(-1)).toEqual([false]);
  });

  test('only an earlier deadline arms anew', () => {
    const arm = vi.spyOn(loop.backendHandle, 'armTimer');
    for (const ms of [5000, 6000, 7000, 4000, 4500]) loop.callLater(ms, () => {});
    expect(arm).toHaveBeenCalledTimes(2);
  });
});
