/** `readInto`: bytes in the caller's memory, received there on native. */
import { Buffer } from 'node:buffer';
import { describe, expect, test } from 'vitest';
import {
  BrokenResourceError,
  BusyResourceError,
  CancelledError,
  ClosedResourceError,
} from '../../lib/base/errors.ts';
import { openConnection } from '../../lib/io/connect.ts';
import type { Connection } from '../../lib/io/net-types.ts';
import { moveOnAfter } from '../../lib/task/scope.ts';
import { sleep } from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/task.ts';
import { checkLeaks } from '../support/leaks.ts';
import { inMemory, policyName } from '../support/policy.ts';
import { runTest } from '../task/support.ts';
import { errorOf, nodeServer, pattern, tcpPair, turn } from './support.ts';
import { clientTls, serverTls, tlsPair } from './tls-support.ts';

checkLeaks();

/** Long enough to be received into. */
const memoryBytes = 64 * 1024;
const mark = 0xee;

const fresh = (bytes: number = memoryBytes): Buffer => Buffer.alloc(bytes, mark);
// CVE-2025-55131, CVE-2022-21824: memory beyond what has come must be nobody's to see.
const untouched = (target: Uint8Array): boolean => target.every((byte) => byte === mark);

/** A change of memory that a wait has; `view` is what it waits with. */
interface Loss {
  readonly name: string;
  readonly make: () => { view: Uint8Array; lose: () => void };
}

interface Resizable extends ArrayBuffer {
  resize(bytes: number): void;
}

/** TypeScript's ES2022 does not know these. */
function resizable(bytes: number): Resizable {
  const Maker = ArrayBuffer as unknown as new (bytes: number, options: object) => Resizable;
  return new Maker(bytes, { maxByteLength: bytes });
}

const losses: readonly Loss[] = [
  {
    name: 'transferred away',
    make() {
      const view = new Uint8Array(memoryBytes);
      return { view, lose: () => structuredClone(view.buffer, { transfer: [view.buffer] }) };
    },
  },
  {
    name: 'resized to nothing',
    make() {
      const memory = resizable(memoryBytes);
      return { view: new Uint8Array(memory), lose: () => memory.resize(0) };
    },
  },
  {
    name: 'resized so that the view is outside of it',
    make() {
      const memory = resizable(2 * memoryBytes);
      const view = new Uint8Array(memory, memoryBytes, memoryBytes);
      return { view, lose: () => memory.resize(memoryBytes + 10) };
    },
  },
];

/** Sends all of it in pieces of many sizes, with breaks. */
async function sendAll(connection: Connection, data: Buffer, seed: number): Promise<void> {
  for (let at = 0, i = seed; at < data.length; i = (i * 7 + 3) % 11) {
    const bytes = [1, 100, 3_000, 20_000, 64_000, 200_000][i % 6] as number;
    await connection.write(data.subarray(at, at + bytes));
    at += bytes;
    if (i % 3 === 0) await turn();
  }
  await connection.writeEof();
}

/** Reads to the end in many ways; what came, and what a read that ended early must not do. */
async function readAll(connection: Connection, seed: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  const given: Buffer[] = [];
  for (let i = seed; ; i = (i * 5 + 7) % 23) {
    const target = fresh([memoryBytes, 1_000, 20_000, 300_000][i % 4] as number);
    let bytes = 0;
    if (i % 5 === 1) {
      const chunk = await connection.read(i % 2 === 0 ? Infinity : 5_000);
      if (chunk !== null) {
        parts.push(chunk);
        continue;
      }
    } else if (i % 5 === 2) {
      const controller = new AbortController();
      const waiting = connection.readInto(target, { signal: controller.signal });
      for (let turns = i % 3; turns > 0; turns--) await turn();
      controller.abort('enough');
      bytes = await waiting.catch((reason) => {
        expect(reason).toBe('enough');
        return -1;
      });
    } else {
      bytes = await connection.readInto(target);
    }
    if (bytes === 0) break;
    if (bytes > 0) parts.push(target.subarray(0, bytes));
    given.push(target.subarray(Math.max(bytes, 0)));
    if (i % 7 === 0) await turn();
  }
  expect(given.every(untouched)).toBe(true);
  return Buffer.concat(parts);
}

// covers: asyncio/streamreader
describe('readInto', () => {
  for (const seed of [1, 2, 3]) {
    runTest(`among other reads, and cancelled ones, loses no byte (seed ${seed})`, async () => {
      await using pair = await tcpPair();
      const data = pattern(3_000_000, seed);
      const sending = createTask(sendAll, pair.served, data, seed);
      const received = await readAll(pair.client, seed);
      expect(received.equals(data)).toBe(true);
      await sending;
    });
  }

  test('receives into the memory: on native no chunk comes', async () => {
    await using pair = await tcpPair();
    const { client, served } = pair;
    let chunks = 0;
    const stream = client as unknown as { onData(chunk: Buffer): void };
    const { onData } = stream;
    stream.onData = (chunk) => {
      chunks++;
      onData.call(client, chunk);
    };
    const data = pattern(1_000_000);
    let writing: Promise<void> | null = null;
    const target = fresh();
    for (let at = 0; at < data.length; ) {
      const waiting = client.readInto(target);
      writing ??= served.write(data);
      const bytes = await waiting;
      expect(target.compare(data, at, at + bytes, 0, bytes)).toBe(0);
      at += bytes;
    }
    await writing;
    expect(chunks === 0).toBe(policyName === 'native');
  });

  test('shared memory is filled, too', async () => {
    await using pair = await tcpPair();
    const target = new Uint8Array(new SharedArrayBuffer(memoryBytes));
    const waiting = pair.client.readInto(target);
    await pair.served.write('shared');
    expect(await waiting).toBe(6);
    expect(Buffer.from(target.subarray(0, 6)).toString()).toBe('shared');
  });

  test('gives 0 at the end, and what came before it', async () => {
    await using pair = await tcpPair();
    const target = fresh();
    const waiting = pair.client.readInto(target);
    void pair.served.write('last');
    await pair.served.writeEof();
    expect(await waiting).toBe(4);
    expect(await pair.client.readInto(target)).toBe(0);
    expect(await pair.client.readInto(target)).toBe(0);
  });
});

describe('the memory of a readInto that has ended is not written to', () => {
  test('by its signal', async () => {
    await using pair = await tcpPair();
    const target = fresh();
    const controller = new AbortController();
    const waiting = errorOf(pair.client.readInto(target, { signal: controller.signal }));
    await turn();
    controller.abort(new Error('enough'));
    expect((await waiting).message).toBe('enough');
    await pair.served.write('later');
    expect(String(await pair.client.readExactly(5))).toBe('later');
    expect(untouched(target)).toBe(true);
  });

  runTest('by its scope, again and again, while bytes come', async () => {
    await using pair = await tcpPair();
    const data = pattern(400_000);
    const sending = createTask(sendAll, pair.served, data, 4);
    const parts: Buffer[] = [];
    for (let i = 0; ; i++) {
      const target = fresh();
      const bytes = await moveOnAfter(i % 3, () => pair.client.readInto(target));
      if (bytes === undefined) expect(untouched(target)).toBe(true);
      if (bytes === 0) break;
      if (bytes !== undefined) parts.push(target.subarray(0, bytes));
      await sleep(0);
    }
    expect(Buffer.concat(parts).equals(data)).toBe(true);
    await sending;
  });

  runTest('by its task', async () => {
    await using pair = await tcpPair();
    const target = fresh();
    const task = createTask(() => pair.client.readInto(target));
    await sleep(0);
    task.cancel();
    expect(await errorOf(task)).toBeInstanceOf(CancelledError);
    await pair.served.write('later');
    expect(String(await pair.client.read())).toBe('later');
    expect(untouched(target)).toBe(true);
  });

  test('by close() and abort()', async () => {
    for (const [way, type] of [
      ['close', ClosedResourceError],
      ['abort', BrokenResourceError],
    ] as const) {
      await using pair = await tcpPair();
      const target = fresh();
      const waiting = errorOf(pair.client.readInto(target));
      await turn();
      void pair.served.write('late');
      void pair.client[way]();
      expect(await waiting).toBeInstanceOf(type);
      for (let i = 0; i < 10; i++) await turn();
      expect(untouched(target)).toBe(true);
    }
  });
});

describe('memory that is lost while a readInto waits', () => {
  for (const { name, make } of losses) {
    test(`${name}: an error, and no byte is lost`, async () => {
      await using pair = await tcpPair();
      const { view, lose } = make();
      const waiting = errorOf(pair.client.readInto(view));
      await turn();
      lose();
      await pair.served.write('first ');
      expect((await waiting).code).toBe('ERR_UVIO_BUFFER_DETACHED');
      await pair.served.write('second');
      expect(String(await pair.client.readExactly(12))).toBe('first second');
    });
  }

  test('resized to less: what is left is filled', async () => {
    await using pair = await tcpPair();
    const memory = resizable(memoryBytes);
    const waiting = pair.client.readInto(new Uint8Array(memory));
    await turn();
    memory.resize(4);
    await pair.served.write('abcdef');
    expect(await waiting).toBe(4);
    expect(Buffer.from(memory).toString()).toBe('abcd');
    expect(String(await pair.client.readExactly(2))).toBe('ef');
  });
});

describe('after a readInto', () => {
  test('a second one beside it is refused and disturbs nothing', async () => {
    await using pair = await tcpPair();
    const [first, second] = [fresh(), fresh()];
    const waiting = pair.client.readInto(first);
    expect(await errorOf(pair.client.readInto(second))).toBeInstanceOf(BusyResourceError);
    await pair.served.write('x');
    expect(await waiting).toBe(1);
    expect(untouched(second)).toBe(true);
  });

  test('a peer that sends on is held back while nobody reads', async () => {
    await using pair = await tcpPair();
    const { client, served } = pair;
    // More than the buffers of two sockets hold.
    const data = pattern(inMemory ? 1_000_000 : 16_000_000);
    const target = fresh();
    const waiting = client.readInto(target);
    let sent = false;
    const writing = served.write(data).then(() => {
      sent = true;
    });
    let at = await waiting;
    for (let i = 0; i < 50; i++) await turn();
    expect(sent).toBe(false);
    let right = data.compare(target, 0, at, 0, at) === 0;
    while (at < data.length) {
      const bytes = await client.readInto(target);
      right &&= data.compare(target, 0, bytes, at, at + bytes) === 0;
      at += bytes;
    }
    expect(right).toBe(true);
    await writing;
  });

  test('startTls, and a readInto over TLS', async () => {
    await using pair = await tcpPair();
    const { client, served } = pair;
    const target = fresh();
    const waiting = client.readInto(target);
    await served.write('clear');
    expect(await waiting).toBe(5);
    const asServer = { ...serverTls, isServer: true as const };
    await Promise.all([client.startTls(clientTls), served.startTls(asServer)]);
    const data = pattern(300_000);
    const writing = served.write(data);
    const parts: Buffer[] = [];
    for (let at = 0; at < data.length; ) {
      const bytes = await client.readInto(target);
      parts.push(Buffer.from(target.subarray(0, bytes)));
      at += bytes;
    }
    expect(Buffer.concat(parts).equals(data)).toBe(true);
    await writing;
  });

  test('toNode() gives the rest to a Node stream', async () => {
    await using pair = await tcpPair();
    const waiting = pair.client.readInto(fresh());
    await pair.served.write('one');
    expect(await waiting).toBe(3);
    const duplex = pair.client.toNode();
    void pair.served.write('two');
    const closing = pair.served.writeEof();
    let text = '';
    for await (const chunk of duplex) text += chunk;
    expect(text).toBe('two');
    await closing;
  });

  test('the end of a TLS peer is told like any', async () => {
    await using pair = await tlsPair();
    const waiting = pair.client.readInto(fresh());
    const closing = pair.served.close();
    expect(await waiting).toBe(0);
    await pair.client.close();
    await closing;
  });

  test.skipIf(inMemory)('a reset ends a readInto that waits', async () => {
    await using peer = await nodeServer();
    await using client = await openConnection({ host: '127.0.0.1', port: peer.port });
    const target = fresh();
    const waiting = errorOf(client.readInto(target));
    (await peer.accepted()).resetAndDestroy();
    const error = await waiting;
    expect(error).toBeInstanceOf(BrokenResourceError);
    expect((error.cause as { code: string }).code).toBe('ECONNRESET');
    expect(untouched(target)).toBe(true);
  });
});
