/** UNIX sockets: what unix.test.ts leaves out; and listening on several addresses. */
import { lstatSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { describe, expect, test } from 'vitest';
import { openConnection, openUnixConnection } from '../../lib/io/connect.ts';
import type { Connection, ListenOptions, Server } from '../../lib/io/net-types.ts';
import { startServer, startUnixServer } from '../../lib/io/start-server.ts';
import { checkLeaks } from '../support/leaks.ts';
import { inMemory, policyName } from '../support/policy.ts';
import { nodeHasReusePort } from '../support/reuse-port.ts';
import { checkFds, freshPath } from './fds.ts';
import { errorOf } from './support.ts';

checkLeaks();
checkFds();

async function hello(connection: Connection): Promise<void> {
  await connection.write('hello');
}

async function greeting(connecting: Promise<Connection>): Promise<string> {
  await using connection = await connecting;
  return String(await connection.readAll());
}

const linux = process.platform === 'linux';

// covers: asyncio/unix-sockets
describe('abstract names', () => {
  test.runIf(linux)('have no file, and are free again at once', async () => {
    const name = `\0uvio-more-${process.pid}`;
    for (let i = 0; i < 3; i++) {
      await using server = await startUnixServer(hello, name);
      expect(server.addresses).toEqual([{ address: name, port: 0, family: 'unix' }]);
      expect(await greeting(openUnixConnection(name))).toBe('hello');
    }
    expect((await errorOf(openUnixConnection(name))).code).toBe('ECONNREFUSED');
  });

  test('of more than 107 bytes are ENAMETOOLONG', async () => {
    const name = `\0${'x'.repeat(107)}`;
    expect((await errorOf(startUnixServer(hello, name))).code).toBe('ENAMETOOLONG');
    expect((await errorOf(openUnixConnection(name))).code).toBe('ENAMETOOLONG');
  });
});

describe('paths', () => {
  test('of 107 bytes do, of 108 are ENAMETOOLONG before anything is bound', async () => {
    const base = inMemory ? '/virtual' : freshPath('x');
    const path = base + 'y'.repeat(107 - base.length);
    await using server = await startUnixServer(hello, path);
    expect(server.listening).toBe(true);
    expect(await greeting(openUnixConnection(path))).toBe('hello');
    const error = await errorOf(startUnixServer(hello, `${path}y`));
    expect(error).toMatchObject({ code: 'ENAMETOOLONG', syscall: 'listen' });
  });

  test.skipIf(inMemory)('a live owner of another kind keeps its socket: EADDRINUSE', async () => {
    const path = freshPath('node');
    const owner = createServer((socket) => {
      // The question whether somebody answers hangs up at once.
      socket.on('error', () => {});
      socket.end('node');
    });
    await new Promise<void>((done) => owner.listen(path, done));
    const before = lstatSync(path).ino;
    expect((await errorOf(startUnixServer(hello, path))).code).toBe('EADDRINUSE');
    expect(lstatSync(path).ino).toBe(before);
    expect(await greeting(openUnixConnection(path))).toBe('node');
    await new Promise((done) => owner.close(done));
  });

  test.skipIf(inMemory)('a file, a folder and a link to a file are left alone', async () => {
    const file = freshPath('file');
    const folder = freshPath('folder');
    const link = freshPath('link');
    writeFileSync(file, 'precious');
    mkdirSync(folder);
    symlinkSync(file, link);
    for (const path of [file, folder, link]) {
      expect((await errorOf(startUnixServer(hello, path))).code).toBe('EADDRINUSE');
      expect((await errorOf(openUnixConnection(path))).code).toBe('ECONNREFUSED');
    }
    expect(readFileSync(link, 'utf8')).toBe('precious');
    expect(lstatSync(link).isSymbolicLink()).toBe(true);
  });
});

function listen(options: ListenOptions): Promise<Server> {
  return startServer(hello, options);
}

// covers: asyncio/server-sockets
describe('several addresses', () => {
  test('port 0 is the same port on all hosts', async () => {
    await using server = await listen({ host: ['127.0.0.1', '127.0.0.2'] });
    const ports = server.addresses.map(({ port }) => port);
    expect(ports).toEqual([server.port, server.port]);
    for (const host of ['127.0.0.1', '127.0.0.2']) {
      expect(await greeting(openConnection({ host, port: server.port }))).toBe('hello');
    }
  });

  test('one that is taken: nothing stays open on the others', async () => {
    await using owner = await listen({ host: '127.0.0.2' });
    const { port } = owner;
    const error = await errorOf(listen({ host: ['127.0.0.1', '127.0.0.2'], port }));
    expect(error.code).toBe('EADDRINUSE');
    await using again = await listen({ host: '127.0.0.1', port });
    expect(again.port).toBe(port);
  });

  test('reusePort lets two listen; where it cannot, it is ENOTSUP and not silent', async () => {
    const options = { host: '127.0.0.1', reusePort: true };
    if (policyName === 'pure' && !nodeHasReusePort) {
      expect((await errorOf(listen(options))).code).toBe('ENOTSUP');
      return;
    }
    if (inMemory) return;
    await using first = await listen(options);
    await using second = await listen({ ...options, port: first.port });
    expect(second.port).toBe(first.port);
    const without = errorOf(listen({ host: '127.0.0.1', port: first.port }));
    expect((await without).code).toBe('EADDRINUSE');
  });
});
