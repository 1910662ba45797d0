import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { type CarriedStorage, carriedStorage } from '../../lib/task/carried-storage.ts';
import { hooksNeeded } from '../../lib/task/hook-storage.ts';
import { checkAll, checkBoth, type Store } from './store-routes.ts';

const found = carriedStorage<string>();

test('there is one where V8 carries stores, and only there', () => {
  expect(found !== null).toBe(!hooksNeeded(AsyncLocalStorage));
});

describe.runIf(found !== null)('the storage that V8 carries', () => {
  const storage = found as CarriedStorage<string>;
  const theirs = new AsyncLocalStorage<string>();
  const both = (): unknown[] => [storage.getStore(), theirs.getStore()];

  checkAll(storage);
  checkBoth(storage);

  test('and AsyncLocalStorage are found inside of each other', async () => {
    await storage.run('ours', async () => {
      await turn();
      await theirs.run('theirs', async () => {
        await turn();
        expect(both()).toEqual(['ours', 'theirs']);
        await storage.run('inner', async () => {
          await turn();
          expect(both()).toEqual(['inner', 'theirs']);
          theirs.exit(() => expect(both()).toEqual(['inner', undefined]));
        });
        expect(both()).toEqual(['ours', 'theirs']);
      });
      expect(both()).toEqual(['ours', undefined]);
    });
    expect(both()).toEqual([undefined, undefined]);
  });

  test('hands on the stores of several others, to each its own', async () => {
    const stores = Array.from({ length: 5 }, () => new AsyncLocalStorage<number>());
    const enter = async (i: number): Promise<number[]> => {
      const next = stores[i];
      if (next !== undefined) return await storage.run(`${i}`, () => next.run(i, enter, i + 1));
      await turn();
      return stores.map((store) => store.getStore() ?? -1);
    };
    expect(await enter(0)).toEqual([0, 1, 2, 3, 4]);
  });

  test('enterWith of either, in the scope of the other', async () => {
    await storage.run('ours', async () => {
      theirs.enterWith('theirs');
      await turn();
      expect(both()).toEqual(['ours', 'theirs']);
      storage.enterWith('more');
      await turn();
      expect(both()).toEqual(['more', 'theirs']);
    });
    expect(both()).toEqual([undefined, undefined]);
  });

  test('snapshots, bound functions and resources keep what there was', () => {
    const [snapshot, bound, resource] = theirs.run('theirs', () =>
      storage.run('ours', () => [
        AsyncLocalStorage.snapshot(),
        AsyncLocalStorage.bind(both),
        new AsyncResource('TEST'),
      ]),
    ) as [ReturnType<typeof AsyncLocalStorage.snapshot>, typeof both, AsyncResource];
    storage.run('later', () => {
      expect(snapshot(both)).toEqual(['ours', 'theirs']);
      expect(bound()).toEqual(['ours', 'theirs']);
      expect(resource.runInAsyncScope(both)).toEqual(['ours', 'theirs']);
      expect(both()).toEqual(['later', undefined]);
    });
  });

  test('one that is disabled ends here, and begins again with its next run', () => {
    const other = new AsyncLocalStorage<string>();
    other.run('theirs', () => {
      storage.run('ours', () => {
        other.disable();
        expect([storage.getStore(), other.getStore()]).toEqual(['ours', undefined]);
        other.run('again', () => expect(other.getStore()).toBe('again'));
      });
    });
  });

  test('two of them, beside one another', async () => {
    const second = carriedStorage<string>() as CarriedStorage<string>;
    await storage.run('first', async () => {
      await second.run('second', async () => {
        await turn();
        expect([storage.getStore(), second.getStore()]).toEqual(['first', 'second']);
      });
      expect([storage.getStore(), second.getStore()]).toEqual(['first', undefined]);
    });
  });

  test('a store that was replaced is not kept by the one inside', () => {
    storage.run('outer', () =>
      theirs.run('theirs', () =>
        storage.run('inner', () => {
          const resource = new AsyncResource('TEST') as unknown as Record<symbol, object>;
          const symbols = Object.getOwnPropertySymbols(resource);
          const frame = symbols.find(({ description }) => description === 'context_frame');
          const stores = [...(resource[frame as symbol] as Iterable<[unknown, unknown]>)];
          expect(stores.map(([, store]) => store)).toEqual(['inner', 'theirs']);
          const { others } = resource[frame as symbol] as unknown as {
            others: Map<unknown, string>;
          };
          expect([...others.values()]).toEqual(['theirs']);
        }),
      ),
    );
  });

  describe('leaves AsyncLocalStorage what it has:', () => {
    const inside: Store = {
      getStore: () => theirs.getStore(),
      enterWith: (store) => theirs.enterWith(store as string),
      run: (store, fn, ...args) =>
        storage.run('around', () =>
          theirs.run(store as string, () => storage.run('in it', fn, ...args)),
        ),
    };
    checkAll(inside);
  });
});
