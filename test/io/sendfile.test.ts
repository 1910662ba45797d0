import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import '../../lib/io/fd-methods.ts';
import '../../lib/io/loop-methods.ts';
import type { Transport } from '../../lib/io/protocols.ts';
import type { SendfileOptions } from '../../lib/io/sendfile.ts';
import { currentLoop } from '../../lib/task/frame.ts';
import { createTask } from '../../lib/task/spawn.ts';
import { checkLeaks } from '../support/leaks.ts';
import { inMemory, policyName } from '../support/policy.ts';
import { checkFds, freshPath, isOpen, openFds } from './fds.ts';
import { errorOf, localhost, pattern, Recorder, turn, until } from './support.ts';

checkLeaks();
checkFds();

let small = '';
let large = '';
const smallData = pattern(100_000);
const largeBytes = 50 * 1024 * 1024;
let largeSum = '';

/** A peer of Node's that sums up what it gets. */
class Peer {
  bytes = 0;
  text = '';
  ended = false;
  socket: Socket | null = null;
  readonly hash = createHash('sha1');
  readonly server: Server;

  constructor(paused = false) {
    this.server = createServer({ pauseOnConnect: paused }, (socket) => {
      this.socket = socket;
      socket.on('error', () => {});
      socket.on('data', (data) => {
        this.bytes += data.length;
        if (this.bytes < 300_000) this.text += data.toString('latin1');
        this.hash.update(data);
      });
      socket.on('end', () => {
        this.ended = true;
      });
      if (paused) socket.pause();
    });
  }
}

const peers: Peer[] = [];

async function connected(paused = false): Promise<[Transport, Peer, Recorder]> {
  const peer = new Peer(paused);
  peers.push(peer);
  const path = freshPath('sock');
  const unix = peers.length % 2 === 0;
  await new Promise<void>((done) => {
    if (unix) peer.server.listen(path, done);
    else peer.server.listen(0, localhost, done);
  });
  const loop = currentLoop();
  const factory = (): Recorder => new Recorder();
  const { port } = peer.server.address() as { port: number };
  const [transport, recorder] = unix
    ? await loop.createUnixConnection(factory, path)
    : await loop.createConnection(factory, { host: localhost, port });
  await until(() => peer.socket !== null);
  return [transport, peer, recorder];
}

/** Some of it has come, and no more is read. */
async function stuck(peer: Peer): Promise<void> {
  peer.socket?.resume();
  await until(() => peer.bytes > 0);
  peer.socket?.pause();
}

function send(
  transport: Transport,
  file: string | number,
  options?: SendfileOptions,
): Promise<number> {
  return currentLoop().sendfile(transport, file, options);
}

beforeAll(() => {
  if (inMemory) return;
  small = freshPath('small');
  large = freshPath('large');
  writeFileSync(small, smallData);
  const data = pattern(1024 * 1024);
  const hash = createHash('sha1');
  writeFileSync(large, '');
  for (let i = 0; i < largeBytes / data.length; i++) {
    data.writeUInt32LE(i, 0);
    writeFileSync(large, data, { flag: 'a' });
    hash.update(data);
  }
  largeSum = hash.digest('hex');
});

afterEach(() => {
  for (const { socket, server } of peers.splice(0)) {
    socket?.destroy();
    server.close();
  }
});

// covers: asyncio/sendfile
describe.skipIf(inMemory)('sendfile', () => {
  test.each([true, false])('50 MiB arrive whole; the kernel: %s', async (kernel) => {
    const [transport, peer] = await connected();
    if (!kernel) Object.assign((transport as unknown as { handle: object }).handle, noKernel);
    expect(await send(transport, large)).toBe(largeBytes);
    transport.close();
    await until(() => peer.ended);
    expect(peer.hash.digest('hex')).toBe(largeSum);
  });

  test('a descriptor: its position is not used, not moved, and it stays open', async () => {
    const [transport, peer] = await connected();
    const fd = openSync(small, 'r');
    readSync(fd, Buffer.alloc(10));
    expect(await send(transport, fd)).toBe(smallData.length);
    const next = Buffer.alloc(5);
    readSync(fd, next);
    expect(next.equals(smallData.subarray(10, 15))).toBe(true);
    expect(isOpen(fd)).toBe(true);
    closeSync(fd);
    transport.close();
    await until(() => peer.ended);
    expect(peer.text).toBe(smallData.toString('latin1'));
  });

  test.each([
    [{ offset: 99_990 }, 99_990, 100_000],
    [{ countBytes: 7 }, 0, 7],
    [{ offset: 5, countBytes: 7 }, 5, 12],
    [{ offset: 99_999, countBytes: 50 }, 99_999, 100_000],
    [{ countBytes: 0 }, 0, 0],
    [{ offset: 200_000 }, 0, 0],
  ])('%j sends that part', async (options, from, to) => {
    const [transport, peer] = await connected();
    expect(await send(transport, small, options)).toBe(to - from);
    transport.close();
    await until(() => peer.ended);
    expect(peer.text).toBe(smallData.toString('latin1', from, to));
  });

  test('an empty file is 0 bytes', async () => {
    const [transport] = await connected();
    const path = freshPath('empty');
    writeFileSync(path, '');
    expect(await send(transport, path)).toBe(0);
    transport.close();
  });

  test('what was written before goes first, what is written after it follows', async () => {
    const [transport, peer] = await connected();
    const head = pattern(1_000_000, 7);
    transport.write('head');
    transport.write(head);
    const sent = await send(transport, small);
    transport.write('tail');
    transport.close();
    await until(() => peer.ended);
    expect(peer.bytes).toBe(4 + head.length + sent + 4);
    const whole = [Buffer.from('head'), head, smallData, Buffer.from('tail')];
    const sum = createHash('sha1').update(Buffer.concat(whole)).digest('hex');
    expect(peer.hash.digest('hex')).toBe(sum);
  });

  test('meanwhile write, writeEof and a second one are refused, reading goes on', async () => {
    const [transport, peer, recorder] = await connected();
    const sending = send(transport, small);
    expect(() => transport.write('x')).toThrow(/being sent/);
    expect(() => transport.writeEof()).toThrow(/being sent/);
    expect((await errorOf(send(transport, small))).code).toBe('ERR_UVIO_BUSY');
    peer.socket?.write('from the peer');
    await sending;
    await until(() => recorder.log.includes('data from the peer'));
    expect(transport.write('x')).toBe(true);
    transport.close();
    await until(() => peer.ended);
    expect(peer.bytes).toBe(smallData.length + 1);
  });

  test('it waits while the peer does not read, and memory stays bounded', async () => {
    const [transport, peer] = await connected(true);
    let over = false;
    const sending = send(transport, large).then(() => {
      over = true;
    });
    await stuck(peer);
    for (let i = 0; i < 200; i++) await turn();
    expect(over).toBe(false);
    expect(transport.writeBufferBytes).toBeLessThan(512 * 1024);
    peer.socket?.resume();
    await sending;
    transport.close();
    await until(() => peer.ended);
    expect(peer.bytes).toBe(largeBytes);
  });

  test('cancelled, the connection stays usable, and the file is closed', async () => {
    const [transport, peer] = await connected(true);
    const before = openFds().length;
    const task = createTask(() => send(transport, large));
    await stuck(peer);
    task.cancel();
    expect((await errorOf(task)).name).toBe('CancelledError');
    expect(openFds().length).toBeLessThanOrEqual(before);
    peer.socket?.resume();
    transport.write('end');
    transport.close();
    await until(() => peer.ended);
    expect(peer.bytes).toBeGreaterThan(3);
    expect(peer.bytes).toBeLessThan(largeBytes);
  });

  test('a signal ends it with its reason, also one that has aborted', async () => {
    const [transport, peer] = await connected(true);
    const controller = new AbortController();
    const sending = send(transport, large, { signal: controller.signal });
    await stuck(peer);
    controller.abort(new Error('enough'));
    expect((await errorOf(sending)).message).toBe('enough');
    const late = send(transport, small, { signal: controller.signal });
    expect((await errorOf(late)).message).toBe('enough');
    transport.abort();
  });

  test('a peer that goes away is BrokenResourceError', async () => {
    const [transport, peer] = await connected(true);
    const sending = errorOf(send(transport, large));
    await stuck(peer);
    peer.socket?.destroy();
    expect((await sending).name).toBe('BrokenResourceError');
  });

  test('closing or aborting meanwhile ends it', async () => {
    for (const method of ['close', 'abort'] as const) {
      const [transport, peer] = await connected(true);
      const sending = errorOf(send(transport, large));
      await stuck(peer);
      transport[method]();
      if (method === 'close') peer.socket?.resume();
      expect(['ClosedResourceError', 'BrokenResourceError']).toContain((await sending).name);
    }
  });

  test('a file that is cut meanwhile: fewer bytes', async () => {
    const path = freshPath('cut');
    writeFileSync(path, Buffer.alloc(20 * 1024 * 1024));
    const [transport, peer] = await connected(true);
    const sending = send(transport, path);
    await stuck(peer);
    truncateSync(path, 100);
    peer.socket?.resume();
    const sent = await sending;
    expect(sent).toBeGreaterThan(100);
    expect(sent).toBeLessThan(20 * 1024 * 1024);
    transport.close();
    await until(() => peer.ended);
    expect(peer.bytes).toBe(sent);
  });

  test('fallback: false is ENOTSUP where there is no sendfile', async () => {
    const [transport] = await connected();
    const result = send(transport, small, { fallback: false });
    if (policyName === 'native') expect(await result).toBe(smallData.length);
    else expect((await errorOf(result)).code).toBe('ENOTSUP');
    transport.close();
  });

  test('errors of the file leave the connection as it was', async () => {
    const [transport, peer] = await connected();
    expect((await errorOf(send(transport, freshPath('none')))).code).toBe('ENOENT');
    expect((await errorOf(send(transport, '/'))).code).toBe('EISDIR');
    expect((await errorOf(send(transport, '/dev/null'))).code).toBe('EINVAL');
    expect((await errorOf(send(transport, 987_654))).code).toBe('EBADF');
    expect(transport.write('fine')).toBe(true);
    transport.close();
    await until(() => peer.ended);
    expect(peer.text).toBe('fine');
  });

  test('a closed or ended transport is ClosedResourceError', async () => {
    const [transport] = await connected();
    transport.writeEof();
    expect((await errorOf(send(transport, small))).code).toBe('ERR_UVIO_CLOSED');
    transport.close();
    expect((await errorOf(send(transport, small))).code).toBe('ERR_UVIO_CLOSED');
  });

  test.each([
    [{ offset: -1 }],
    [{ offset: 0.5 }],
    [{ countBytes: -1 }],
    [{ countBytes: Number.NaN }],
  ])('%j is refused', async (options) => {
    const [transport] = await connected();
    expect((await errorOf(send(transport, small, options))).code).toBe('ERR_OUT_OF_RANGE');
    transport.close();
  });

  test('other transports and files are refused', async () => {
    const [transport] = await connected();
    expect((await errorOf(send({} as Transport, small))).code).toBe('ERR_INVALID_ARG_TYPE');
    const nothing = send(transport, null as unknown as string);
    expect((await errorOf(nothing)).code).toBe('ERR_INVALID_ARG_TYPE');
    transport.close();
  });
});

/** As of a backend without it. */
const noKernel = { sendFile: undefined };
