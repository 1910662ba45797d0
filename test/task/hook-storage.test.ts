import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks';
import { describe, expect, test } from 'vitest';
import { HookStorage, hooksNeeded, unfollowedPromise } from '../../lib/task/hook-storage.ts';
import { checkAll, checkBoth } from './store-routes.ts';

/** A promise has ids of Node's where Node's own hooks follow it. */
const fieldsOf = (promise: object): number => Object.getOwnPropertySymbols(promise).length;

describe('AsyncLocalStorage', () => {
  // What is expected of the other one. Not run first, where it would enable Node's hooks.
  test('is replaced where it stands on hooks', () => {
    const major = Number.parseInt(process.versions.node, 10);
    if (major < 22) expect(hooksNeeded(AsyncLocalStorage)).toBe(true);
    if (major > 24) expect(hooksNeeded(AsyncLocalStorage)).toBe(false);
  });
});

describe.runIf(hooksNeeded(AsyncLocalStorage))('the storage on hooks', () => {
  const storage = new HookStorage<string>();

  test('costs a promise one field, and none outside', async () => {
    await storage.run('mine', async () => {
      await null;
      expect(fieldsOf(new Promise(() => {}))).toBe(1);
    });
    expect(fieldsOf(new Promise(() => {}))).toBe(0);
  });

  test('spares promises that end with plain values; who waits keeps its store', async () => {
    await storage.run('mine', async () => {
      const ends: ((value: number) => void)[] = [];
      const plain = unfollowedPromise<number>((resolve) => void ends.push(resolve));
      expect(fieldsOf(plain)).toBe(0);
      expect(fieldsOf(new Promise(() => {}))).toBe(1);
      const chained = plain.then(() => storage.getStore());
      storage.run('other', () => ends[0]?.(7));
      expect([await plain, storage.getStore(), await chained]).toEqual([7, 'mine', 'mine']);
      const fails = (): Promise<never> =>
        unfollowedPromise(() => {
          throw new Error('no');
        });
      await expect(fails()).rejects.toThrow('no');
      expect(fieldsOf(new Promise(() => {}))).toBe(1);
    });
  });

  checkAll(storage);

  describe('when a hook is enabled in the middle', () => {
    test('goes on with what had begun before', async () => {
      const theirs = new AsyncLocalStorage<string>();
      const seen: unknown[] = [];
      const look = (): void => void seen.push(storage.getStore(), theirs.getStore());
      let wake: () => void = () => {};
      const gate = new Promise<void>((resolve) => {
        wake = resolve;
      });
      const waiting = storage.run('first', async () => {
        await gate;
        look();
      });
      await storage.run('second', async () => {
        await null;
        theirs.run('theirs', () => {
          look();
          new AsyncResource('TEST').runInAsyncScope(() => {
            new Promise(() => {});
            look();
          });
        });
        look();
        await theirs.run('theirs', async () => {
          await null;
          look();
        });
        look();
        setTimeout(wake, 1);
        await waiting;
        look();
      });
      expect(seen).toEqual([
        ...['second', 'theirs', 'second', 'theirs', 'second', undefined],
        ...['second', 'theirs', 'second', undefined, 'first', undefined, 'second', undefined],
      ]);
      expect(fieldsOf(new Promise(() => {}))).toBeGreaterThan(1);
      expect(storage.getStore()).toBeUndefined();
    });

    checkAll(storage);
    checkBoth(storage);
  });

  describe('beside another copy of itself', () => {
    const second = new HookStorage<string>();

    test('leaves the other one what it has', async () => {
      await storage.run('mine', async () => {
        await second.run('second', async () => {
          await null;
          expect([storage.getStore(), second.getStore()]).toEqual(['mine', 'second']);
        });
        expect([storage.getStore(), second.getStore()]).toEqual(['mine', undefined]);
      });
    });

    checkAll(second);
  });
});

describe('AsyncLocalStorage does the same:', () => checkAll(new AsyncLocalStorage<string>()));
