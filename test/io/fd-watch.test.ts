import { AsyncLocalStorage } from 'node:async_hooks';
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import '../../lib/io/fd-methods.ts';
import { ContextVar } from '../../lib/task/context.ts';
import { currentLoop } from '../../lib/task/frame.ts';
import { assertNoLeaks } from '../../lib/testing/leaks.ts';
import { checkLeaks } from '../support/leaks.ts';
import { policyName, testPolicy } from '../support/policy.ts';
import { checkFds, closeQuietly, makePipe, makePipes } from './fds.ts';
import { catchExceptions, turn, until } from './support.ts';

checkLeaks();
checkFds();

const native = policyName === 'native' && process.platform === 'linux';
const byte = Buffer.alloc(1);
let fds: number[] = [];

function pipe(): [number, number] {
  const ends = makePipe();
  fds.push(...ends);
  return ends;
}

function refused(call: () => unknown): NodeJS.ErrnoException {
  try {
    call();
  } catch (error) {
    return error as NodeJS.ErrnoException;
  }
  throw new Error('expected an error');
}

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await turn();
}

afterEach(() => {
  for (const fd of fds) {
    try {
      currentLoop().removeReader(fd);
      currentLoop().removeWriter(fd);
    } catch {
      // The loop has been closed.
    }
  }
  closeQuietly(...fds);
  fds = [];
});

describe.skipIf(native)('without the addon', () => {
  test.each(['addReader', 'addWriter'] as const)('%s is ENOTSUP', (method) => {
    expect(refused(() => currentLoop()[method](0, () => {})).code).toBe('ENOTSUP');
  });

  test('there is nothing to remove', () => {
    expect(currentLoop().removeReader(0)).toBe(false);
    expect(currentLoop().removeWriter(0)).toBe(false);
  });
});

// covers: asyncio/add-reader
describe.runIf(native)('watching', () => {
  test('a reader is called when there is something to read', async () => {
    const [reads, writes] = pipe();
    let calls = 0;
    currentLoop().addReader(reads, () => {
      calls += 1;
      readSync(reads, byte);
    });
    await turns(5);
    expect(calls).toBe(0);
    writeSync(writes, 'x');
    await until(() => calls === 1);
    await turns(5);
    expect(calls).toBe(1);
  });

  test('readiness is a level: called in each turn until it is read', async () => {
    const [reads, writes] = pipe();
    let calls = 0;
    currentLoop().addReader(reads, () => {
      calls += 1;
    });
    writeSync(writes, 'x');
    await until(() => calls > 5);
  });

  test('a writer is called while there is room, and not when it is full', async () => {
    const [reads, writes] = pipe();
    let calls = 0;
    currentLoop().addWriter(writes, () => {
      calls += 1;
    });
    await until(() => calls > 3);
    try {
      for (;;) writeSync(writes, Buffer.alloc(65_536));
    } catch (error) {
      expect((error as NodeJS.ErrnoException).code).toBe('EAGAIN');
    }
    await turns(2);
    const before = calls;
    await turns(5);
    expect(calls).toBe(before);
    readSync(reads, Buffer.alloc(65_536));
    await until(() => calls > before);
  });

  test('another callback replaces the one before', async () => {
    const [reads, writes] = pipe();
    const seen: string[] = [];
    currentLoop().addReader(reads, () => seen.push('first'));
    currentLoop().addReader(reads, () => seen.push('second'));
    writeSync(writes, 'x');
    await until(() => seen.length > 0);
    expect(new Set(seen)).toEqual(new Set(['second']));
  });

  test('removing says whether there was one, once', () => {
    const [reads, writes] = pipe();
    const loop = currentLoop();
    expect(loop.removeReader(reads)).toBe(false);
    loop.addReader(reads, () => {});
    expect(loop.removeWriter(reads)).toBe(false);
    expect(loop.removeReader(reads)).toBe(true);
    expect(loop.removeReader(reads)).toBe(false);
    loop.addWriter(writes, () => {});
    expect(loop.removeWriter(writes)).toBe(true);
  });

  test('a callback that removes itself is not called again', async () => {
    const [reads, writes] = pipe();
    let calls = 0;
    currentLoop().addReader(reads, () => {
      calls += 1;
      currentLoop().removeReader(reads);
    });
    writeSync(writes, 'x');
    await until(() => calls === 1);
    await turns(5);
    expect(calls).toBe(1);
  });

  test('one that removes another which is ready, too: that one is not called', async () => {
    const [a, writesA] = pipe();
    const [b, writesB] = pipe();
    const seen: string[] = [];
    const loop = currentLoop();
    const watch = (name: string, other: number) => (): void => {
      seen.push(name);
      loop.removeReader(other);
    };
    loop.addReader(a, watch('a', b));
    loop.addReader(b, watch('b', a));
    writeSync(writesA, 'x');
    writeSync(writesB, 'x');
    await until(() => seen.length > 3);
    expect(new Set(seen).size).toBe(1);
  });

  test('a regular file is EPERM, a closed descriptor EBADF', () => {
    const file = openSync(process.execPath, 'r');
    fds.push(file);
    expect(refused(() => currentLoop().addReader(file, () => {})).code).toBe('EPERM');
    closeSync(file);
    expect(refused(() => currentLoop().addReader(file, () => {})).code).toBe('EBADF');
    expect(currentLoop().removeReader(file)).toBe(false);
  });

  test('a number that is used again hears of the new file only', async () => {
    const [reads, writes] = pipe();
    const loop = currentLoop();
    const seen: string[] = [];
    loop.addReader(reads, () => seen.push('old'));
    writeSync(writes, 'x');
    closeSync(reads);
    const [again, writesAgain] = makePipe();
    fds.push(again, writesAgain);
    expect(again).toBe(reads);
    await turns(5);
    expect(seen).toEqual([]);
    loop.addReader(again, () => {
      seen.push('new');
      readSync(again, byte);
    });
    await turns(3);
    expect(seen).toEqual([]);
    writeSync(writesAgain, 'y');
    await until(() => seen.length === 1);
    expect(seen).toEqual(['new']);
  });

  test('an end wakes the reader', async () => {
    const [reads, writes] = pipe();
    let got = -1;
    currentLoop().addReader(reads, () => {
      got = readSync(reads, byte);
      currentLoop().removeReader(reads);
    });
    closeSync(writes);
    await until(() => got === 0);
  });

  test('a reader that is gone wakes the writer', async () => {
    const [reads, writes] = pipe();
    let code = '';
    currentLoop().addWriter(writes, () => {
      code = refused(() => {
        for (;;) writeSync(writes, Buffer.alloc(4096));
      }).code as string;
      if (code === 'EPIPE') currentLoop().removeWriter(writes);
    });
    closeSync(reads);
    await until(() => code === 'EPIPE');
  });

  test('it runs in the context of its registration, with no task', async () => {
    const [reads, writes] = pipe();
    const variable = new ContextVar<string>('variable');
    const storage = new AsyncLocalStorage<string>();
    let seen: unknown;
    const add = (): void =>
      currentLoop().addReader(reads, () => {
        seen = [variable.get('none'), storage.getStore()];
        currentLoop().removeReader(reads);
      });
    variable.run('mine', () => storage.run('stored', add));
    writeSync(writes, 'x');
    await until(() => seen !== undefined);
    expect(seen).toEqual(['mine', 'stored']);
  });

  test('what it throws goes to the exception handler; others are called', async () => {
    const errors = catchExceptions();
    const [reads, writes] = pipe();
    const [other, writesOther] = pipe();
    let calls = 0;
    currentLoop().addReader(reads, () => {
      throw new Error('mine');
    });
    currentLoop().addReader(other, () => {
      calls += 1;
    });
    writeSync(writes, 'x');
    writeSync(writesOther, 'x');
    await until(() => errors.length > 1 && calls > 1);
    expect(errors[0]).toMatchObject({
      message: `Exception in the reader of descriptor ${reads}`,
      error: { message: 'mine' },
    });
    currentLoop().removeReader(reads);
  });

  test('a descriptor that another loop watches is EEXIST', async () => {
    const [reads] = pipe();
    currentLoop().addReader(reads, () => {});
    const other = testPolicy().createLoop();
    expect(refused(() => other.addReader(reads, () => {})).code).toBe('EEXIST');
    await other.close();
    expect(currentLoop().removeReader(reads)).toBe(true);
  });

  test('more than one batch of descriptors', async () => {
    const pairs = makePipes(300);
    fds.push(...pairs.flat());
    const seen = new Set<number>();
    for (const [reads] of pairs) {
      currentLoop().addReader(reads, () => {
        readSync(reads, byte);
        seen.add(reads);
      });
    }
    for (const [, writes] of pairs) writeSync(writes, 'x');
    await until(() => seen.size === 300);
  });

  test('a closed loop calls nothing, and refuses', async () => {
    const [reads, writes] = pipe();
    const loop = testPolicy().createLoop();
    let calls = 0;
    loop.addReader(reads, () => {
      calls += 1;
    });
    await loop.close();
    writeSync(writes, 'x');
    await turns(5);
    expect(calls).toBe(0);
    expect(loop.removeReader(reads)).toBe(false);
    expect(refused(() => loop.addReader(reads, () => {})).code).toBe('ERR_INVALID_STATE');
  });
});

test.each([[-1], [1.5], ['3'], [null], [2 ** 31]])('descriptor %j is refused', (fd) => {
  const { code } = refused(() => currentLoop().addReader(fd as number, () => {}));
  expect(['ERR_INVALID_ARG_TYPE', 'ERR_OUT_OF_RANGE']).toContain(code);
});

test('a callback that is no function is refused', () => {
  const error = refused(() => currentLoop().addReader(0, 5 as never));
  expect(error.code).toBe('ERR_INVALID_ARG_TYPE');
});

test.skipIf(!native)('a descriptor that is still watched is a leak', async () => {
  const loop = currentLoop();
  const [reads] = pipe();
  const left = assertNoLeaks(() => loop.addReader(reads, () => {}));
  await expect(left).rejects.toThrow('The function left behind:\n  descriptors: 1');
  await assertNoLeaks(() => void loop.removeReader(reads));
});
