/** The ways by which code goes on, and whether a store comes along: for every kind of storage. */
import { AsyncResource } from 'node:async_hooks';
import { EventEmitter, EventEmitterAsyncResource, once } from 'node:events';
import { readFile, stat } from 'node:fs';
import { connect, createServer } from 'node:net';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import type { ContextStorage, FrameStorage } from '../../lib/task/hook-storage.ts';

export type Store = ContextStorage<string | undefined>;
type Look = () => void;
type Route = (look: Look, storage: Store) => unknown;

export const tick = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

function thenable(look: Look): PromiseLike<void> {
  return {
    // biome-ignore lint/suspicious/noThenProperty: a thenable of somebody else.
    then(resolve: (value?: undefined) => unknown) {
      look();
      resolve();
    },
  } as PromiseLike<void>;
}

/** Each looks at the store wherever it comes along; it must be there each time. */
const routes: Record<string, [looks: number, route: Route]> = {
  'an await of nothing': [
    2,
    async (look) => {
      look();
      await null;
      look();
    },
  ],
  'an await of a promise that is resolved later, elsewhere': [
    1,
    async (look, storage) => {
      let wake: () => void = () => {};
      const promise = new Promise<void>((resolve) => {
        wake = resolve;
      });
      storage.run('other', () => void setImmediate(() => wake()));
      await promise;
      look();
    },
  ],
  'a rejection': [
    2,
    async (look) => {
      await Promise.reject(new Error('no')).catch(look);
      look();
    },
  ],
  'then, catch and finally': [
    3,
    (look) =>
      Promise.resolve()
        .then(look)
        .finally(look)
        .then(() => Promise.reject(1))
        .catch(look),
  ],
  'Promise.all and race': [
    2,
    async (look) => {
      await Promise.all([
        tick(),
        (async () => {
          await null;
          look();
        })(),
      ]);
      await Promise.race([tick(), tick()]);
      look();
    },
  ],
  'a thenable': [
    2,
    async (look) => {
      await thenable(look);
      look();
    },
  ],
  'a thenable that is returned': [1, async (look) => await (async () => thenable(look))()],
  'a thenable that resolves a promise': [
    2,
    async (look) => {
      await new Promise<void>((resolve) => void resolve(thenable(look)));
      await Promise.resolve(thenable(look));
    },
  ],
  'an async generator': [
    4,
    async (look) => {
      async function* numbers(): AsyncGenerator<number> {
        yield 1;
        look();
        await tick();
        yield 2;
        look();
      }
      for await (const _ of numbers()) look();
    },
  ],
  'an async function of another realm': [
    2,
    async (look) => {
      const foreign = runInNewContext('(async (look, wait) => { await wait(); look(); })');
      await foreign(look, tick);
      look();
    },
  ],
  'a dynamic import': [
    1,
    async (look) => {
      await import('node:os');
      look();
    },
  ],
  queueMicrotask: [
    2,
    async (look) => {
      queueMicrotask(() => {
        look();
        void Promise.resolve().then(look);
      });
      await tick();
    },
  ],
  'process.nextTick': [
    2,
    async (look) => {
      process.nextTick(() => {
        look();
        void Promise.resolve().then(look);
      });
      await tick();
    },
  ],
  'setTimeout, and an await in it': [
    2,
    (look) =>
      new Promise<void>((resolve) => {
        setTimeout(async () => {
          look();
          await null;
          look();
          resolve();
        }, 1);
      }),
  ],
  setInterval: [
    2,
    (look) =>
      new Promise<void>((resolve) => {
        let left = 2;
        const timer = setInterval(() => {
          look();
          if (--left > 0) return;
          clearInterval(timer);
          resolve();
        }, 1);
      }),
  ],
  setImmediate: [
    1,
    (look) =>
      new Promise<void>(
        (done) =>
          void setImmediate(() => {
            look();
            done();
          }),
      ),
  ],
  'timers/promises': [
    1,
    async (look) => {
      await delay(1);
      look();
    },
  ],
  'callbacks of files': [
    2,
    (look) =>
      new Promise<void>((resolve) => {
        stat('.', () => {
          look();
          readFile('package.json', () => {
            look();
            resolve();
          });
        });
      }),
  ],
  'callbacks of sockets': [
    3,
    (look) =>
      new Promise<void>((resolve) => {
        const server = createServer((socket) => {
          look();
          socket.end('x');
          server.close();
        });
        server.listen(0, '127.0.0.1', () => {
          const { port } = server.address() as { port: number };
          const socket = connect(port, '127.0.0.1');
          socket.once('data', look).once('close', () => {
            look();
            resolve();
          });
        });
      }),
  ],
  'a stream': [
    2,
    async (look) => {
      for await (const _ of Readable.from(['a', 'b'])) look();
    },
  ],
  'an event that is awaited': [
    1,
    async (look) => {
      const emitter = new EventEmitter();
      setImmediate(() => emitter.emit('x'));
      await once(emitter, 'x');
      look();
    },
  ],
  'an AsyncResource, entered from another store': [
    3,
    async (look, storage) => {
      const resource = new AsyncResource('TEST');
      const emitter = new EventEmitterAsyncResource({ name: 'TEST' });
      emitter.on('x', look);
      await storage.run('other', async () => {
        await null;
        resource.runInAsyncScope(look);
        await resource.runInAsyncScope(async () => {
          await null;
          look();
        });
        emitter.emit('x');
        expect(storage.getStore()).toBe('other');
      });
    },
  ],
  'a run inside, when it is left': [
    3,
    async (look, storage) => {
      storage.run('other', () => {});
      look();
      await storage.run('other', async () => await null);
      look();
      expect(() =>
        storage.run('other', () => {
          throw new Error('thrown');
        }),
      ).toThrow('thrown');
      look();
    },
  ],
  'enterWith, to the end of the function': [
    1,
    async (look, storage) => {
      await storage.run('other', async () => {
        await null;
        storage.enterWith('mine');
        await null;
        look();
      });
      expect(storage.getStore()).toBe('mine');
    },
  ],
};

async function follow(storage: Store, route: Route): Promise<unknown[]> {
  const seen: unknown[] = [];
  await storage.run('mine', async () => await route(() => seen.push(storage.getStore()), storage));
  return seen;
}

/** What `runBoth` does as `run` does it. */
export function checkBoth(storage: FrameStorage<string | undefined>): void {
  test('runBoth hands on two arguments and the store, and leaves what was there', async () => {
    const seen: unknown[] = [];
    const look = async (first: number, second: string): Promise<void> => {
      seen.push(first, second, storage.getStore());
      await null;
      storage.runBoth('inner', (one) => seen.push(one, storage.getStore()), 2, undefined);
      seen.push(storage.getStore());
    };
    let end: Promise<void> | undefined;
    const begin = (first: number, second: string): void => {
      end = look(first, second);
    };
    storage.runBoth('mine', begin, 1, 'one');
    expect(storage.getStore()).toBeUndefined();
    await end;
    expect(seen).toEqual([1, 'one', 'mine', 2, 'inner', 'mine']);
    const fail = (): void => {
      throw new Error('no');
    };
    expect(() => storage.runBoth('mine', fail, 1, 2)).toThrow('no');
    expect(storage.getStore()).toBeUndefined();
  });
}

export function checkAll(storage: Store): void {
  for (const [name, [looks, route]] of Object.entries(routes)) {
    test(`${name} keeps the store`, async () => {
      expect(await follow(storage, route)).toEqual(Array(looks).fill('mine'));
      expect(storage.getStore()).toBeUndefined();
    });
  }

  test('a store of its own for each of those that go on at once', async () => {
    const names = Object.keys(routes);
    const all = Object.values(routes).map(([, route]) => follow(storage, route));
    const seen = await Promise.all(all);
    names.forEach((name, i) => {
      expect(seen[i], name).toEqual(Array(routes[name]?.[0]).fill('mine'));
    });
    await tick();
    expect(storage.getStore()).toBeUndefined();
  });
}
