import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import '../../lib/io/fd-methods.ts';
import type { ReadTransport, WriteTransport } from '../../lib/io/protocols.ts';
import { currentLoop } from '../../lib/task/frame.ts';
import { checkLeaks } from '../support/leaks.ts';
import { inMemory, policyName } from '../support/policy.ts';
import { checkFds, closeQuietly, freshPath, isOpen, makePipe } from './fds.ts';
import { errorOf, pattern, Recorder, turn, until } from './support.ts';

checkLeaks();
checkFds();

/** A protocol of a writing end. */
class Log {
  readonly log: string[] = [];
  error: (Error & { code?: string }) | undefined;

  connectionMade(): void {
    this.log.push('made');
  }

  pauseWriting(): void {
    this.log.push('pause');
  }

  resumeWriting(): void {
    this.log.push('resume');
  }

  connectionLost(error?: Error): void {
    this.error = error;
    this.log.push('lost');
  }
}

function readPipe(fd: number): Promise<[ReadTransport, Recorder]> {
  return currentLoop().connectReadPipe(() => new Recorder(), fd);
}

function writePipe(fd: number): Promise<[WriteTransport, Log]> {
  return currentLoop().connectWritePipe(() => new Log(), fd);
}

function take(fd: number): Buffer {
  const target = Buffer.alloc(65_536);
  try {
    return target.subarray(0, readSync(fd, target));
  } catch {
    return Buffer.alloc(0);
  }
}

const lost = (recorder: { log: string[] }): boolean =>
  recorder.log.at(-1)?.startsWith('lost') === true;

test.runIf(inMemory)('a simulated loop has no pipes: ENOTSUP', async () => {
  expect((await errorOf(readPipe(0))).code).toBe('ENOTSUP');
  expect((await errorOf(writePipe(1))).code).toBe('ENOTSUP');
});

// covers: asyncio/connect-read-pipe
describe.skipIf(inMemory)('the end that is read', () => {
  test('data, the end, and the descriptor is closed', async () => {
    const [reads, writes] = makePipe();
    const [transport, recorder] = await readPipe(reads);
    expect(transport.reading).toBe(true);
    writeSync(writes, 'hello');
    await until(() => recorder.log.includes('data hello'));
    closeSync(writes);
    await until(() => lost(recorder));
    expect(recorder.log).toEqual(['made', 'data hello', 'eof', 'lost']);
    expect(isOpen(reads)).toBe(false);
  });

  test('an eofReceived that returns true does not keep it open', async () => {
    const [reads, writes] = makePipe();
    let over = false;
    const factory = (): object => ({
      dataReceived(): void {},
      eofReceived: (): boolean => true,
      connectionLost(): void {
        over = true;
      },
    });
    await currentLoop().connectReadPipe(factory as () => Recorder, reads);
    closeSync(writes);
    await until(() => over);
  });

  test('much data arrives whole', async () => {
    const [reads, writes] = makePipe();
    const chunks: Buffer[] = [];
    let over = false;
    const factory = (): Recorder => {
      return Object.assign(new Recorder(), {
        dataReceived: (data: Buffer) => void chunks.push(data),
        connectionLost: () => {
          over = true;
        },
      });
    };
    await currentLoop().connectReadPipe(factory, reads);
    const data = pattern(1024 * 1024);
    for (let at = 0; at < data.length; ) {
      try {
        at += writeSync(writes, data, at);
      } catch {
        await turn();
      }
    }
    closeSync(writes);
    await until(() => over);
    expect(Buffer.concat(chunks).equals(data)).toBe(true);
  });

  test('paused, nothing comes; resumed, all does', async () => {
    const [reads, writes] = makePipe();
    const [transport, recorder] = await readPipe(reads);
    transport.pauseReading();
    writeSync(writes, 'later');
    for (let i = 0; i < 5; i++) await turn();
    expect(recorder.log).toEqual(['made']);
    transport.resumeReading();
    await until(() => recorder.log.includes('data later'));
    closeSync(writes);
    await until(() => lost(recorder));
  });

  test('close and abort close the descriptor; the last call comes once', async () => {
    for (const method of ['close', 'abort'] as const) {
      const [reads, writes] = makePipe();
      const [transport, recorder] = await readPipe(reads);
      transport[method]();
      transport[method]();
      await until(() => lost(recorder));
      expect(recorder.log).toEqual(['made', 'lost']);
      expect(isOpen(reads)).toBe(false);
      closeSync(writes);
    }
  });

  test('writing to it is EBADF', async () => {
    const [reads, writes] = makePipe();
    const [transport] = await readPipe(reads);
    const writer = transport as ReadTransport & WriteTransport;
    expect(() => writer.write('x')).toThrow(/EBADF/);
    expect(() => writer.writeEof()).toThrow(/EBADF/);
    expect(writer.canWriteEof).toBe(false);
    transport.close();
    closeSync(writes);
  });
});

// covers: asyncio/connect-write-pipe
describe.skipIf(inMemory)('the end that is written', () => {
  test('data arrives; writeEof flushes and closes', async () => {
    const [reads, writes] = makePipe();
    const [transport, protocol] = await writePipe(writes);
    transport.write('hello');
    transport.writeLines([' ', Buffer.from('world')]);
    transport.writeEof();
    await until(() => lost(protocol));
    expect(String(take(reads))).toBe('hello world');
    expect(take(reads).length).toBe(0);
    expect(isOpen(writes)).toBe(false);
    expect(protocol.error).toBeUndefined();
    closeSync(reads);
  });

  test('back-pressure: pause above high water, resume when it was read', async () => {
    const [reads, writes] = makePipe();
    const [transport, protocol] = await writePipe(writes);
    const data = pattern(400_000);
    expect(transport.write(data)).toBe(false);
    expect(protocol.log).toEqual(['made', 'pause']);
    expect(transport.writeBufferBytes).toBeGreaterThan(65_536);
    const chunks: Buffer[] = [];
    await until(() => {
      chunks.push(take(reads));
      return chunks.reduce((sum, chunk) => sum + chunk.length, 0) === data.length;
    });
    await until(() => protocol.log.includes('resume'));
    expect(Buffer.concat(chunks).equals(data)).toBe(true);
    transport.close();
    await until(() => lost(protocol));
    closeSync(reads);
  });

  test('close flushes, abort does not', async () => {
    for (const method of ['close', 'abort'] as const) {
      const [reads, writes] = makePipe();
      const [transport, protocol] = await writePipe(writes);
      const data = pattern(300_000);
      transport.write(data);
      transport[method]();
      let got = 0;
      await until(() => {
        const bytes = take(reads).length;
        got += bytes;
        return bytes === 0 && lost(protocol);
      });
      if (method === 'close') expect(got).toBe(data.length);
      else expect(got).toBeLessThan(data.length);
      closeSync(reads);
    }
  });

  test('a reader that is gone: EPIPE when data is left', async () => {
    const [reads, writes] = makePipe();
    const [transport, protocol] = await writePipe(writes);
    transport.write(pattern(300_000));
    closeSync(reads);
    await until(() => lost(protocol));
    expect(protocol.error?.code).toBe('EPIPE');
    expect(isOpen(writes)).toBe(false);
  });

  test('a reader that is gone is told at once on native, with the next write on pure', async () => {
    const [reads, writes] = makePipe();
    const [transport, protocol] = await writePipe(writes);
    closeSync(reads);
    if (policyName === 'native') {
      await until(() => lost(protocol));
      expect(protocol.error).toBeUndefined();
    } else {
      transport.write('x');
      await until(() => lost(protocol));
      expect(protocol.error?.code).toBe('EPIPE');
    }
  });

  test('its protocol is the one that was made', async () => {
    const [reads, writes] = makePipe();
    const [transport, protocol] = await writePipe(writes);
    expect(transport.protocol).toBe(protocol);
    const next = new Log();
    transport.protocol = next;
    transport.close();
    await until(() => lost(next));
    expect(protocol.log).toEqual(['made']);
    closeSync(reads);
  });
});

describe.skipIf(inMemory)('what is no pipe', () => {
  const connects = [readPipe, writePipe];

  test('a regular file and a folder are EINVAL and stay open', async () => {
    for (const path of [process.execPath, '/']) {
      const fd = openSync(path, 'r');
      for (const connect of connects) expect((await errorOf(connect(fd))).code).toBe('EINVAL');
      expect(isOpen(fd)).toBe(true);
      closeSync(fd);
    }
  });

  test('a closed descriptor is EBADF', async () => {
    const [reads, writes] = makePipe();
    closeSync(reads);
    closeSync(writes);
    for (const connect of connects) {
      expect(await errorOf(connect(reads))).toMatchObject({
        code: 'EBADF',
        syscall: 'open',
        address: `fd ${reads}`,
      });
    }
  });

  test('the wrong end is EBADF and stays open', async () => {
    const [reads, writes] = makePipe();
    expect((await errorOf(readPipe(writes))).code).toBe('EBADF');
    expect((await errorOf(writePipe(reads))).code).toBe('EBADF');
    expect([isOpen(reads), isOpen(writes)]).toEqual([true, true]);
    closeQuietly(reads, writes);
  });

  test('a device that is always ready is EPERM', async () => {
    const fd = openSync('/dev/null', 'r+');
    for (const connect of connects) expect((await errorOf(connect(fd))).code).toBe('EPERM');
    expect(isOpen(fd)).toBe(true);
    closeSync(fd);
  });

  test.each([[-1], [0.5], ['0'], [undefined]])('descriptor %j is refused', async (fd) => {
    for (const connect of connects) {
      const { code } = await errorOf(connect(fd as number));
      expect(['ERR_INVALID_ARG_TYPE', 'ERR_OUT_OF_RANGE']).toContain(code);
    }
  });

  test('a factory that is none takes nothing; one that throws closes the descriptor', async () => {
    const [reads, writes] = makePipe();
    const bad = currentLoop().connectReadPipe(null as never, reads);
    expect((await errorOf(bad)).code).toBe('ERR_INVALID_ARG_TYPE');
    expect(isOpen(reads)).toBe(true);
    const thrown = currentLoop().connectReadPipe(() => {
      throw new Error('mine');
    }, reads);
    expect((await errorOf(thrown)).message).toBe('mine');
    await until(() => !isOpen(reads));
    closeSync(writes);
  });
});

describe.skipIf(inMemory)('other kinds', () => {
  test('a FIFO by its name', async () => {
    const path = freshPath('named');
    execFileSync('mkfifo', [path]);
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const [, recorder] = await readPipe(fd);
    execFileSync('sh', ['-c', `printf abc > ${path}`]);
    await until(() => lost(recorder));
    expect(recorder.log).toEqual(['made', 'data abc', 'eof', 'lost']);
  });

  test('a tty', async () => {
    const fd = openSync('/dev/ptmx', constants.O_RDWR | constants.O_NOCTTY);
    const [transport, protocol] = await writePipe(fd);
    transport.write('to the terminal\n');
    transport.close();
    await until(() => lost(protocol));
    expect(protocol.error).toBeUndefined();
    expect(isOpen(fd)).toBe(false);
  });
});
