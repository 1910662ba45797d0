import { AsyncLocalStorage } from 'node:async_hooks';
import { threadId } from 'node:worker_threads';
import { describe, expect, test } from 'vitest';
import { gather } from '../../lib/task/combinators.ts';
import { ContextVar } from '../../lib/task/context.ts';
import { sleep } from '../../lib/task/sleep.ts';
import { createTask, currentTask } from '../../lib/task/task.ts';
import { defaultThreadLimiter, toThread } from '../../lib/threads/default-executor.ts';
import { failure, runTest } from '../task/support.ts';
import { raise, sharedFlags, started } from './support.ts';

/** Functions whose text no build tool touches. */
function fromText(text: string): (...args: unknown[]) => unknown {
  return new Function(`return (${text})`)() as (...args: unknown[]) => unknown;
}

// covers: asyncio/to-thread, trio/to-thread-run-sync, curio/run-in-thread, seeds/C45
describe('toThread', () => {
  runTest('gives the result of a function that ran in another thread', async () => {
    const [sum, id] = await toThread((count: number) => {
      let total = 0;
      for (let i = 0; i < count; i++) total += i;
      return [total, process.getBuiltinModule('node:worker_threads').threadId] as const;
    }, 1000);
    expect(sum).toBe(499_500);
    expect(id).not.toBe(threadId);
  });

  runTest('awaits an async function', async () => {
    expect(await toThread(async (value: string) => value.toUpperCase(), 'a')).toBe('A');
  });

  runTest('copies arguments and results as structured clones', async () => {
    const given = { when: new Date(5), map: new Map([[1, new Set(['a'])]]), big: 7n };
    const circle: { self?: unknown } = {};
    circle.self = circle;
    const [back, isCircle, seen] = await toThread(
      (value: typeof given, round: { self?: unknown }) =>
        [value, round.self === round, value.map.get(1)?.has('a')] as const,
      given,
      circle,
    );
    expect(back).toEqual(given);
    expect(back).not.toBe(given);
    expect([isCircle, seen]).toEqual([true, true]);
  });

  runTest('gives undefined for a function without a result', async () => {
    expect(await toThread(() => {})).toBeUndefined();
  });

  // covers: seeds/C37, seeds/C1
  runTest('lets the loop and its timers go on while the thread computes', async () => {
    const flags = sharedFlags();
    const job = createTask(() =>
      toThread((shared: Int32Array) => {
        let rounds = 0;
        Atomics.store(shared, 0, 1);
        while (Atomics.load(shared, 1) === 0) rounds++;
        return rounds > 0;
      }, flags),
    );
    await started(flags);
    let ticks = 0;
    for (let i = 0; i < 20; i++) {
      await sleep(1);
      ticks++;
    }
    expect(job.done).toBe(false);
    raise(flags, 1);
    expect(await job).toBe(true);
    expect(ticks).toBe(20);
  });

  runTest('runs side by side: each of three jobs waits for the others', async () => {
    defaultThreadLimiter().totalTokens = 3;
    const flags = sharedFlags();
    const meet = (shared: Int32Array, value: number): number => {
      if (Atomics.add(shared, 0, 1) === 2) {
        Atomics.store(shared, 1, 1);
        Atomics.notify(shared, 1);
      }
      Atomics.wait(shared, 1, 0);
      return value;
    };
    const results = await gather([1, 2, 3].map((value) => () => toThread(meet, flags, value)));
    expect(results).toEqual([1, 2, 3]);
  });

  test('works outside of a run', async () => {
    expect(await toThread((a: number, b: number) => a + b, 1, 2)).toBe(3);
  });

  runTest(
    'leaves the current task, context variables and AsyncLocalStorage as they were',
    async () => {
      const storage = new AsyncLocalStorage<string>();
      const variable = new ContextVar<string>('variable');
      variable.set('mine');
      const task = currentTask();
      await storage.run('store', async () => {
        await toThread(() => 1);
        expect(storage.getStore()).toBe('store');
      });
      expect(currentTask()).toBe(task);
      expect(variable.get()).toBe('mine');
    },
  );

  runTest('does not mix up the contexts of tasks that share a thread', async () => {
    defaultThreadLimiter().totalTokens = 1;
    const storage = new AsyncLocalStorage<number>();
    const seen = await gather(
      [1, 2, 3, 4].map(
        (value) => () =>
          storage.run(value, async () => {
            await toThread(() => 1);
            const first = storage.getStore();
            await toThread(() => 1);
            return [first, storage.getStore()];
          }),
      ),
    );
    expect(seen).toEqual([1, 2, 3, 4].map((value) => [value, value]));
  });
});

describe('a function on its way to a thread', () => {
  const object = {
    method(a: number): number {
      return a + 1;
    },
    async later(a: number): Promise<number> {
      return a + 2;
    },
    ['computed'](a: number): number {
      return a + 3;
    },
    async(a: number): number {
      return a + 4;
    },
    [Symbol.iterator](a: number): number {
      return a + 5;
    },
  };
  class WithStatic {
    static twice(a: number): number {
      return a * 2;
    }
    thrice(a: number): number {
      return a * 3;
    }
  }
  class WithPrivate {
    readonly method: () => number = this.#hidden;
    #hidden(): number {
      return 1;
    }
  }
  const forms: [string, (a: number) => unknown, number][] = [
    ['an arrow', (a) => a + 1, 2],
    ['a function expression', (a) => a + 1, 2],
    ['an async arrow', async (a) => a + 1, 2],
    ['a method', object.method, 2],
    ['an async method', object.later, 3],
    ['a computed method', object.computed, 4],
    ['a method called async', object.async, 5],
    ['a method named by a symbol', object[Symbol.iterator], 6],
    ['a static method', WithStatic.twice, 2],
    ['a method of a class', WithStatic.prototype.thrice, 3],
    ['one with defaults and a rest', (a, b = 2, ...rest: number[]) => a + b + rest.length, 3],
    ['one made by Function', new Function('a', 'return a + 1') as (a: number) => number, 2],
    ['one in which esbuild names functions', fromText('(a) => __name((b) => b + 1, "f")(a)'), 2],
  ];
  for (const [what, fn, result] of forms) {
    runTest(`may be ${what}`, async () => {
      expect(await toThread(fn, 1)).toBe(result);
    });
  }

  runTest('sees nothing around it, and no `this`', async () => {
    const around = 1;
    const error = await failure(toThread(() => around));
    expect(error).toBeInstanceOf(ReferenceError);
    expect(error.message).toBe('around is not defined');
    expect(await toThread(fromText('function () { return this === undefined }'))).toBe(true);
  });

  runTest('may import', async () => {
    const fn = fromText("async () => (await import('node:path')).posix.join('a', 'b')");
    expect(await toThread(fn)).toBe('a/b');
  });

  runTest('is compiled once for a thread', async () => {
    defaultThreadLimiter().totalTokens = 1;
    const fn = fromText('function f() { f.calls = (f.calls ?? 0) + 1; return f.calls }');
    expect([await toThread(fn), await toThread(fn)]).toEqual([1, 2]);
  });

  const refused: [string, unknown, RegExp][] = [
    ['a class', class Point {}, /'Point'.*a class cannot be called/],
    ['a bound function', ((a: number) => a).bind(null), /bound/],
    ['a native function', Math.max, /'max'.*native/],
    ['a proxy of a function', new Proxy(() => 1, {}), /proxied/],
    ['a generator', function* numbers() {}, /'numbers'.*generator/],
    ['an async generator', async function* numbers() {}, /generator/],
    ['a private method', new WithPrivate().method, /private/],
  ];
  for (const [what, fn, message] of refused) {
    runTest(`must not be ${what}`, async () => {
      const error = await failure(toThread(fn as () => void));
      expect(error).toBeInstanceOf(TypeError);
      expect(error.code).toBe('ERR_UVIO_NOT_SENDABLE');
      expect(error.message).toMatch(message);
    });
  }

  runTest('must stand on its own', async () => {
    const name = 'method';
    const error = await failure(toThread({ [`${name}`]() {} }[name] as () => void));
    expect([error.name, error.code]).toEqual(['TypeError', 'ERR_UVIO_NOT_SENDABLE']);
    expect(error.message).toMatch(/does not stand on its own/);
    expect(error.cause).toBeInstanceOf(SyntaxError);
  });

  runTest('is a function or a URL and nothing else', async () => {
    for (const wrong of [undefined, null, 'text', './file.js', 5, {}, Promise.resolve()]) {
      const error = await failure(toThread(wrong as never));
      expect([error.name, error.code]).toEqual(['TypeError', 'ERR_INVALID_ARG_TYPE']);
    }
  });
});

describe('a module URL', () => {
  runTest('has its default export called', async () => {
    const url = new URL('programs/double.mjs', import.meta.url);
    expect(await toThread<number, [number]>(url, 4)).toBe(8);
  });

  runTest('may be CommonJS, and hold state between calls in a thread', async () => {
    defaultThreadLimiter().totalTokens = 1;
    const url = new URL('programs/counter.cjs', import.meta.url);
    expect([await toThread(url), await toThread(url)]).toEqual([1, 2]);
  });

  runTest('may be data', async () => {
    const url = new URL('data:text/javascript,export default (a) => a + 1');
    expect(await toThread<number, [number]>(url, 1)).toBe(2);
  });

  runTest('must export a function as default', async () => {
    const error = await failure(toThread(new URL('data:text/javascript,export const a = 1')));
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).toMatch(/default export of data:.* is not a function/);
  });

  runTest('must be there', async () => {
    const error = await failure(toThread(new URL('programs/missing.mjs', import.meta.url)));
    expect(error.code).toBe('ERR_MODULE_NOT_FOUND');
  });
});

describe('what the other thread throws', () => {
  runTest('keeps class, message, stack, cause and fields', async () => {
    const error = await failure(
      toThread(() => {
        const cause = new RangeError('below');
        throw Object.assign(new TypeError('above', { cause }), { code: 'E_OWN', at: { line: 5 } });
      }),
    );
    expect(error).toBeInstanceOf(TypeError);
    expect([error.name, error.message, error.code, error.at]).toEqual([
      'TypeError',
      'above',
      'E_OWN',
      { line: 5 },
    ]);
    expect(error.stack).toMatch(/TypeError: above\n {4}at .*uvio-function/);
    expect(error.cause).toBeInstanceOf(RangeError);
    expect(error.cause.message).toBe('below');
  });

  runTest('has the name of its own class, on the nearest known one', async () => {
    const error = await failure(
      toThread(() => {
        class HttpError extends RangeError {}
        throw new HttpError('404');
      }),
    );
    expect(error).toBeInstanceOf(RangeError);
    expect([error.name, Object.keys(error)]).toEqual(['HttpError', []]);
    const named = await failure(
      toThread(() => {
        throw Object.assign(new Error('m'), { name: 'Given' });
      }),
    );
    expect([named.name, named.constructor]).toEqual(['Given', Error]);
  });

  runTest('may be a system error', async () => {
    const error = await failure(
      toThread(() => process.getBuiltinModule('node:fs').readFileSync('/no/such/file')),
    );
    expect([error.name, error.code, error.syscall, error.errno < 0]).toEqual([
      'Error',
      'ENOENT',
      'open',
      true,
    ]);
  });

  runTest('may be an AggregateError or a DOMException', async () => {
    const many = await failure(
      toThread(() => {
        throw new AggregateError([new TypeError('a'), 'b'], 'two');
      }),
    );
    expect(many).toBeInstanceOf(AggregateError);
    expect(many.errors[0]).toBeInstanceOf(TypeError);
    expect(many.errors[1]).toBe('b');
    const aborted = await failure(toThread(() => AbortSignal.abort().throwIfAborted()));
    expect(aborted).toBeInstanceOf(DOMException);
    expect([aborted.name, aborted.code]).toEqual(['AbortError', 20]);
  });

  runTest('may be no error at all', async () => {
    for (const value of ['text', 5, null, undefined]) {
      const thrown = toThread((it: unknown) => {
        throw it;
      }, value);
      expect(await thrown.then(expect.unreachable, (error: unknown) => error)).toBe(value);
    }
    const error = await failure(
      toThread(() => {
        throw () => 1;
      }),
    );
    expect(error.message).toMatch(/cannot be copied was thrown/);
  });

  runTest('may be a circle of causes, and carry what cannot be copied', async () => {
    const error = await failure(
      toThread(() => {
        const circle = Object.assign(new Error('round'), { callback: () => 1, kept: 1 });
        circle.cause = circle;
        throw circle;
      }),
    );
    expect([error.cause.cause.message, error.kept, error.callback]).toEqual([
      'round',
      1,
      undefined,
    ]);
  });

  runTest('may be the rejection of an async function', async () => {
    const error = await failure(toThread(() => Promise.reject(new EvalError('late'))));
    expect(error).toBeInstanceOf(EvalError);
  });
});

describe('what cannot be copied', () => {
  runTest('is refused as an argument, by this thread', async () => {
    const error = await failure(
      toThread(
        (fn: unknown) => fn,
        (): void => {},
      ),
    );
    expect([error.name, error.code]).toEqual(['TypeError', 'ERR_UVIO_NOT_SENDABLE']);
    expect(error.message).toMatch(/^The arguments cannot be sent to another thread: .*cloned/);
    expect(error.cause.name).toBe('DataCloneError');
  });

  runTest('is refused as a result, by the other one, which goes on', async () => {
    defaultThreadLimiter().totalTokens = 1;
    const id = (): number => process.getBuiltinModule('node:worker_threads').threadId;
    const before = await toThread(id);
    const error = await failure(toThread(() => () => 1));
    expect([error.name, error.code]).toEqual(['TypeError', 'ERR_UVIO_NOT_SENDABLE']);
    expect(error.message).toMatch(/^The result cannot be sent to another thread: .*cloned/);
    expect(await toThread(id)).toBe(before);
  });
});
