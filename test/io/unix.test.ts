import {
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isMainThread } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openUnixConnection } from '../../lib/io/connect.ts';
import '../../lib/io/loop-methods.ts';
import type { Connection } from '../../lib/io/net-types.ts';
import type { Protocol, Transport } from '../../lib/io/protocols.ts';
import { startUnixServer } from '../../lib/io/start-server.ts';
import { currentLoop } from '../../lib/task/frame.ts';
import { checkLeaks } from '../support/leaks.ts';
import { inMemory } from '../support/policy.ts';
import { errorOf, NodeClient, pattern } from './support.ts';

checkLeaks();

let folder: string;
let count = 0;
const freshPath = (): string => join(folder, `${++count}.sock`);

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'uvio-unix-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

async function echo(connection: Connection): Promise<void> {
  for await (const chunk of connection) await connection.write(chunk);
}

class Echo implements Protocol {
  #transport: Transport | undefined;

  connectionMade(transport: Transport): void {
    this.#transport = transport;
  }

  dataReceived(data: Buffer): void {
    this.#transport?.write(data);
  }
}

async function expectEcho(path: string, text = 'hello'): Promise<void> {
  await using client = await openUnixConnection(path);
  await client.write(text);
  expect(String(await client.readExactly(Buffer.byteLength(text)))).toBe(text);
}

test('echo, addresses, and the file is gone at the end', async () => {
  const path = freshPath();
  const server = await startUnixServer(echo, path);
  expect(server.addresses).toEqual([{ address: path, port: 0, family: 'unix' }]);
  expect(server.port).toBe(0);
  if (!inMemory) expect(lstatSync(path).isSocket()).toBe(true);
  const client = await openUnixConnection(path);
  expect(client.remoteAddress).toEqual({ address: path, port: 0, family: 'unix' });
  expect(client.localAddress.family).toBe('unix');
  const data = pattern(1024 * 1024);
  const writing = client.write(data);
  expect((await client.readExactly(data.length)).equals(data)).toBe(true);
  await writing;
  await client.close();
  await server[Symbol.asyncDispose]();
  expect(existsSync(path)).toBe(false);
});

test('a client of Node’s own', async () => {
  await using server = await startUnixServer(echo, freshPath());
  const client = new NodeClient(server.addresses[0]?.address ?? '');
  client.socket.end('from node');
  await client.closed;
  expect(String(client.received)).toBe('from node');
});

test.runIf(process.platform === 'linux')('the abstract namespace', async () => {
  const name = `\0uvio-test-${process.pid}`;
  await using server = await startUnixServer(echo, name);
  await expectEcho(name);
  expect((await errorOf(startUnixServer(echo, name))).code).toBe('EADDRINUSE');
  expect(server.listening).toBe(true);
});

test('protocols: createUnixServer and createUnixConnection', async () => {
  const path = freshPath();
  const loop = currentLoop();
  const server = await loop.createUnixServer(() => new Echo(), path);
  let received: (text: string) => void = () => {};
  const answer = new Promise<string>((resolve) => {
    received = resolve;
  });
  const [transport] = await loop.createUnixConnection(
    () => ({ dataReceived: (data: Buffer) => received(String(data)) }),
    path,
  );
  transport.write('ping');
  expect(await answer).toBe('ping');
  transport.close();
  await server[Symbol.asyncDispose]();
});

test('a path on which somebody answers is EADDRINUSE', async () => {
  const path = freshPath();
  await using server = await startUnixServer(echo, path);
  const error = await errorOf(startUnixServer(echo, path));
  expect(error).toMatchObject({ code: 'EADDRINUSE', syscall: 'listen', address: path });
  await expectEcho(path);
  expect(server.listening).toBe(true);
});

// A simulation has no files.
describe.skipIf(inMemory)('the file', () => {
  test('a stale one is replaced', async () => {
    const path = freshPath();
    const moved = freshPath();
    const first = await startUnixServer(echo, path);
    // What a killed server leaves behind: a socket file that nobody listens on.
    renameSync(path, moved);
    await first[Symbol.asyncDispose]();
    renameSync(moved, path);
    expect(lstatSync(path).isSocket()).toBe(true);
    expect((await errorOf(openUnixConnection(path))).code).toBe('ECONNREFUSED');
    await using server = await startUnixServer(echo, path);
    await expectEcho(path);
    expect(server.listening).toBe(true);
  });

  // A worker cannot go elsewhere.
  test.runIf(isMainThread)('with a relative path goes also when the process has gone', async () => {
    const before = process.cwd();
    process.chdir(folder);
    try {
      const server = await startUnixServer(echo, 'relative.sock');
      await expectEcho(join(folder, 'relative.sock'));
      process.chdir(before);
      await server[Symbol.asyncDispose]();
      expect(existsSync(join(folder, 'relative.sock'))).toBe(false);
    } finally {
      process.chdir(before);
    }
  });

  test('one that is no socket is left alone', async () => {
    const path = freshPath();
    writeFileSync(path, 'precious');
    expect((await errorOf(startUnixServer(echo, path))).code).toBe('EADDRINUSE');
    expect(lstatSync(path).isFile()).toBe(true);
  });

  test('that another server has put in place of ours stays', async () => {
    const path = freshPath();
    const first = await startUnixServer(echo, path);
    unlinkSync(path);
    await using second = await startUnixServer(echo, path);
    await first[Symbol.asyncDispose]();
    await expectEcho(path);
    expect(second.listening).toBe(true);
    expect(readdirSync(folder).filter((name) => name.includes(`.${process.pid}`))).toEqual([]);
  });
});

describe('bad input', () => {
  const long = `/tmp/${'x'.repeat(200)}`;

  test('a path that is too long is ENAMETOOLONG, for both sides', async () => {
    const listening = await errorOf(startUnixServer(echo, long));
    expect(listening).toMatchObject({ code: 'ENAMETOOLONG', syscall: 'listen', address: long });
    const connecting = await errorOf(openUnixConnection(long));
    expect(connecting).toMatchObject({ code: 'ENAMETOOLONG', syscall: 'connect' });
    const bytes = await errorOf(openUnixConnection(`/tmp/${'ü'.repeat(60)}`));
    expect(bytes.code).toBe('ENAMETOOLONG');
  });

  // A simulation has no folders.
  test.skipIf(inMemory)('a path in a folder that does not exist', async () => {
    const path = join(folder, 'no', 'such.sock');
    const listening = await errorOf(startUnixServer(echo, path));
    expect(listening).toMatchObject({ code: 'ENOENT', syscall: 'listen', address: path });
    expect((await errorOf(openUnixConnection(path))).code).toBe('ENOENT');
  });

  test.each([[''], ['a\0b'], [5], [null]])('path %j is a TypeError', async (path) => {
    expect(await errorOf(openUnixConnection(path as string))).toBeInstanceOf(TypeError);
    expect(await errorOf(startUnixServer(echo, path as string))).toBeInstanceOf(TypeError);
  });
});
