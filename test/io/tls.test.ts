import { Buffer } from 'node:buffer';
import { describe, expect } from 'vitest';
import {
  BrokenResourceError,
  BusyResourceError,
  ClosedResourceError,
} from '../../lib/base/errors.ts';
import { openConnection } from '../../lib/io/connect.ts';
import type { StreamConnection } from '../../lib/io/connection.ts';
import '../../lib/io/loop-methods.ts';
import type { Connection } from '../../lib/io/net-types.ts';
import { startServer } from '../../lib/io/start-server.ts';
import type { TlsStream } from '../../lib/io/tls/stream.ts';
import { currentLoop } from '../../lib/task/frame.ts';
import { moveOnAfter } from '../../lib/task/scope.ts';
import { sleep } from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/task.ts';
import { checkLeaks } from '../support/leaks.ts';
import { runTest } from '../task/support.ts';
import { errorOf, localhost, pattern, Recorder, turn, until } from './support.ts';
import { clientTls, serverTls, tlsPair } from './tls-support.ts';

checkLeaks();

const mebibyte = 1024 * 1024;
const text = (bytes: Buffer | null): string | null => (bytes === null ? null : bytes.toString());

/** The stream that carries the ciphertext of a connection. */
function carrierOf(connection: Connection): TlsStream['carrier'] {
  return ((connection as StreamConnection).handle as TlsStream).carrier;
}

/** FIN without close_notify, after what was written. */
async function cutOff(connection: Connection): Promise<void> {
  await until(() => connection.writeBufferBytes === 0);
  carrierOf(connection).shutdown();
}

/** Between a client and a server of TLS: passes the ciphertext on as it likes. */
async function relay(
  port: number,
  pass: (chunk: Buffer, to: Connection, fromClient: boolean) => Promise<void>,
): Promise<{ port: number } & AsyncDisposable> {
  const server = await startServer(
    async (near) => {
      await using far = await openConnection({ host: localhost, port });
      const pump = async (from: Connection, to: Connection): Promise<void> => {
        for await (const chunk of from) await pass(chunk, to, from === near);
        await to.writeEof();
      };
      const other = createTask(() => pump(far, near).catch(() => near.abort()));
      await pump(near, far).catch(() => far.abort());
      await other;
    },
    { host: localhost },
  );
  return server;
}

// covers: asyncio/tls, trio/streams
describe('data', () => {
  runTest('goes both ways, and the ends know of TLS', async () => {
    await using pair = await tlsPair();
    const { client, served } = pair;
    await client.write('hello');
    expect(text(await served.read())).toBe('hello');
    await served.write('world');
    expect(text(await client.read())).toBe('world');
    expect(client.tls).toMatchObject({
      protocol: 'TLSv1.3',
      cipher: 'TLS_AES_256_GCM_SHA384',
      alpn: false,
      servername: 'server.test',
      authorized: true,
      authorizationError: null,
      sessionReused: false,
      peerCertificate: { subject: { CN: 'server' }, subjectaltname: expect.any(String) },
    });
    expect(served.tls).toMatchObject({ protocol: 'TLSv1.3', servername: 'server.test' });
    expect(client.remoteAddress.port).toBe(pair.server.port);
  });

  runTest('all reads and writes of a connection work', async () => {
    await using pair = await tlsPair();
    const { client, served } = pair;
    await client.writeLines(['line 1\n', Buffer.from('line 2\r\n'), 'a|b', '']);
    await client.write('');
    await client.write(new Uint8Array([1, 2, 3, 4]));
    expect(await served.readLine()).toBe('line 1');
    expect(await served.readLine()).toBe('line 2');
    expect(text(await served.readUntil('|'))).toBe('a|');
    expect(text(await served.readExactly(1))).toBe('b');
    const target = new Uint8Array(2);
    expect(await served.readInto(target)).toBe(2);
    expect([...target]).toEqual([1, 2]);
    await client.writeEof();
    expect([...(await served.readAll())]).toEqual([3, 4]);
    expect(served.atEof).toBe(true);
  });

  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    runTest(
      `a big transfer keeps every byte, in order, both ways at once (${version})`,
      async () => {
        const limits = { maxVersion: version };
        await using pair = await tlsPair({ server: limits, client: limits });
        const data = [pattern(3 * mebibyte, 1), pattern(3 * mebibyte, 2)] as const;
        const send = async (from: Connection, bytes: Buffer): Promise<void> => {
          for (let at = 0; at < bytes.length; at += 50_001) {
            await from.write(bytes.subarray(at, at + 50_001));
          }
          await from.writeEof();
        };
        const [, , a, b] = await Promise.all([
          send(pair.client, data[0]),
          send(pair.served, data[1]),
          pair.served.readAll(),
          pair.client.readAll(),
        ]);
        expect(a.equals(data[0])).toBe(true);
        expect(b.equals(data[1])).toBe(true);
      },
    );
  }

  runTest('what was written may be changed at once', async () => {
    await using pair = await tlsPair();
    const data = Buffer.alloc(100_000, 1);
    const writing = pair.client.write(data);
    data.fill(2);
    await writing;
    const received = await pair.served.readExactly(data.length);
    expect(received.every((byte) => byte === 1)).toBe(true);
  });

  runTest('ciphertext may come byte by byte, the handshake, too', async () => {
    await using server = await startServer(
      async (connection) => {
        for await (const chunk of connection) await connection.write(chunk);
      },
      { host: localhost, tls: serverTls },
    );
    await using between = await relay(server.port, async (chunk, to) => {
      for (const byte of chunk) {
        await to.write(Uint8Array.of(byte));
        await sleep(0);
      }
    });
    const options = { host: localhost, port: between.port, tls: clientTls };
    await using client = await openConnection(options);
    for (const word of ['one', 'two', 'three']) {
      await client.write(word);
      expect(text(await client.readExactly(word.length))).toBe(word);
    }
    await client.close();
  });

  runTest('a bit that was changed on the way ends the connection', async () => {
    let changeIt = false;
    await using server = await startServer((connection) => connection.readAll().then(() => {}), {
      host: localhost,
      tls: serverTls,
    });
    await using between = await relay(server.port, async (chunk, to, fromClient) => {
      const copy = Buffer.from(chunk);
      if (changeIt && fromClient) copy[copy.length - 1] = (copy.at(-1) as number) ^ 1;
      await to.write(copy);
    });
    const options = { host: localhost, port: between.port, tls: clientTls };
    await using client = await openConnection(options);
    changeIt = true;
    await client.write('x');
    const error = await errorOf(client.read());
    expect(error).toBeInstanceOf(BrokenResourceError);
    expect((error.cause as { code: string }).code).toMatch(/BAD_RECORD_MAC/);
  });

  runTest('a second reader is refused, and a cancelled read loses nothing', async () => {
    await using pair = await tlsPair();
    const first = pair.served.read();
    expect(await errorOf(pair.served.read())).toBeInstanceOf(BusyResourceError);
    await pair.client.write('x');
    expect(text(await first)).toBe('x');
    expect(await moveOnAfter(5, () => pair.served.read())).toBe(undefined);
    const controller = new AbortController();
    const aborted = errorOf(pair.served.read(undefined, { signal: controller.signal }));
    controller.abort();
    expect((await aborted).name).toBe('AbortError');
    await pair.client.write('y');
    expect(text(await pair.served.read())).toBe('y');
  });

  runTest('many connections at once do not disturb each other', async () => {
    await using server = await startServer(
      async (connection) => {
        for await (const chunk of connection) await connection.write(chunk);
      },
      { host: localhost, tls: serverTls },
    );
    const one = async (index: number): Promise<void> => {
      const options = { host: localhost, port: server.port, tls: clientTls };
      await using client = await openConnection(options);
      const data = pattern(20_000, index + 1);
      await client.write(data);
      expect((await client.readExactly(data.length)).equals(data)).toBe(true);
      await client.close();
    };
    await Promise.all(Array.from({ length: 20 }, (_, index) => one(index)));
    await until(() => server.connections === 0);
  });
});

// covers: trio/ssl-truncation, asyncio/ssl-timeouts
describe('the end', () => {
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    runTest(`writeEof ends one direction, the other goes on (${version})`, async () => {
      await using pair = await tlsPair({ client: { maxVersion: version } });
      const { client, served } = pair;
      await client.write('question');
      await client.writeEof();
      expect(text(await served.readAll())).toBe('question');
      await served.write('answer');
      expect(text(await client.read())).toBe('answer');
      expect(await errorOf(client.write('more'))).toBeInstanceOf(ClosedResourceError);
      await served.writeEof();
      expect(await client.read()).toBe(null);
      await Promise.all([client.close(), served.close()]);
    });
  }

  runTest('close flushes megabytes and ends cleanly for the peer', async () => {
    await using pair = await tlsPair();
    const data = pattern(4 * mebibyte);
    void pair.client.write(data);
    const closing = pair.client.close();
    expect(pair.client.open).toBe(false);
    expect((await pair.served.readAll()).equals(data)).toBe(true);
    await pair.served.close();
    await closing;
  });

  runTest('close of both sides at once', async () => {
    await using pair = await tlsPair();
    await Promise.all([pair.client.close(), pair.served.close(), pair.client.close()]);
    expect(pair.client.signal.aborted).toBe(true);
    expect(await errorOf(pair.client.read())).toBeInstanceOf(ClosedResourceError);
  });

  runTest(
    'close does not wait longer than tlsShutdownTimeoutMs for a peer that stays',
    async () => {
      await using pair = await tlsPair({ connect: { tlsShutdownTimeoutMs: 20 } });
      await pair.client.write('last');
      await pair.client.close();
      expect(text(await pair.served.read())).toBe('last');
      expect(await pair.served.read()).toBe(null);
    },
  );

  runTest('close tells when a peer that does not read kept bytes from leaving', async () => {
    await using pair = await tlsPair({ connect: { tlsShutdownTimeoutMs: 20 } });
    void pair.client.write(Buffer.alloc(mebibyte * 8));
    const error = await errorOf(pair.client.close());
    expect(error).toBeInstanceOf(BrokenResourceError);
    expect(error.cause).toMatchObject({ code: 'ETIMEDOUT' });
  });

  for (const what of ['has ended', 'floods'] as const) {
    runTest(`close tells the same when the peer that does not read ${what}`, async () => {
      await using pair = await tlsPair({ connect: { tlsShutdownTimeoutMs: 20 } });
      const { client, served } = pair;
      void client.write(Buffer.alloc(mebibyte * 8));
      if (what === 'has ended') await served.writeEof();
      const closing = client.close();
      if (what === 'floods') void served.write(Buffer.alloc(mebibyte));
      const error = await errorOf(closing);
      expect(error).toBeInstanceOf(BrokenResourceError);
      expect(error.cause).toMatchObject({ code: 'ETIMEDOUT' });
    });
  }

  runTest('a peer that goes on sending after close is cut off', async () => {
    await using pair = await tlsPair();
    const writing = (async () => {
      for (;;) await pair.served.write(Buffer.alloc(64 * 1024));
    })();
    await pair.client.read();
    await pair.client.close();
    expect(await errorOf(writing)).toBeInstanceOf(BrokenResourceError);
  });

  runTest('a cancelled close gives up at once', async () => {
    await using pair = await tlsPair();
    const task = createTask(() => pair.client.close());
    await turn();
    task.cancel();
    expect((await errorOf(task)).name).toBe('CancelledError');
  });

  runTest('an end without close_notify is an error, and not an end', async () => {
    await using pair = await tlsPair();
    const { client, served } = pair;
    await client.write('some');
    await cutOff(client);
    expect(text(await served.read())).toBe('some');
    const error = await errorOf(served.read());
    expect(error).toBeInstanceOf(BrokenResourceError);
    expect(error.cause).toMatchObject({ code: 'ERR_UVIO_TLS_TRUNCATED' });
    expect(served.atEof).toBe(false);
    expect(await errorOf(served.write('x'))).toBeInstanceOf(BrokenResourceError);
  });

  runTest('what was read ahead before such an end is still given', async () => {
    await using pair = await tlsPair();
    await pair.client.write('some bytes');
    await pair.client.write('more');
    await cutOff(pair.client);
    await until(() => !pair.served.open);
    expect(text(await pair.served.readExactly(14))).toBe('some bytesmore');
    expect((await errorOf(pair.served.read())).cause).toMatchObject({
      code: 'ERR_UVIO_TLS_TRUNCATED',
    });
  });

  runTest('a reset is the error of the system', async () => {
    await using pair = await tlsPair();
    const reading = errorOf(pair.served.read());
    carrierOf(pair.client).abort();
    const { cause } = await reading;
    expect(['ECONNRESET', 'ERR_UVIO_TLS_TRUNCATED']).toContain((cause as { code: string }).code);
  });

  runTest('what comes behind close_notify is nobody’s', async () => {
    await using pair = await tlsPair();
    await pair.client.writeEof();
    expect(await pair.served.read()).toBe(null);
    carrierOf(pair.client).write('not TLS at all');
    for (let i = 0; i < 5; i++) await turn();
    await pair.served.write('still there');
    expect(text(await pair.client.read())).toBe('still there');
  });

  runTest('a protocol hears the end, and what it lacked', async () => {
    const loop = currentLoop();
    const { server, recorders } = await recording();
    await using _server = server;
    const options = { host: localhost, port: server.port, tls: clientTls };
    const clean = await openConnection(options);
    await clean.write('x');
    await clean.close();
    await until(() => recorders[0]?.log.includes('lost') ?? false);
    expect(recorders[0]?.log).toEqual(['made', 'data x', 'eof', 'lost']);
    const cut = await openConnection(options);
    await cutOff(cut);
    await until(() => recorders[1]?.lost !== undefined);
    expect(recorders[1]?.lost).toMatchObject({ code: 'ERR_UVIO_TLS_TRUNCATED' });
    expect(recorders[1]?.log.includes('eof')).toBe(false);
    cut.abort();
    expect(loop.metrics().ready).toBeGreaterThanOrEqual(0);
  });

  runTest('abort ends everything at once', async () => {
    await using pair = await tlsPair();
    const reading = errorOf(pair.client.read());
    pair.client.abort(new Error('enough'));
    expect(await reading).toBeInstanceOf(BrokenResourceError);
    expect(await errorOf(pair.served.read())).toBeInstanceOf(BrokenResourceError);
  });

  runTest('the server ends its connections, whose peers meet a clean end', async () => {
    let begun = false;
    const server = await startServer(
      async (connection) => {
        begun = true;
        await connection.readAll();
      },
      { host: localhost, tls: serverTls },
    );
    const options = { host: localhost, port: server.port, tls: clientTls };
    await using client = await openConnection(options);
    await until(() => begun);
    server.close();
    server.closeClients();
    expect(await client.read()).toBe(null);
    await client.close();
    await server.waitClosed();
  });
});

async function recording(): Promise<{
  server: Awaited<ReturnType<typeof startServer>>;
  recorders: Recorder[];
}> {
  const recorders: Recorder[] = [];
  const factory = (): Recorder => {
    const recorder = new Recorder();
    recorders.push(recorder);
    return recorder;
  };
  const server = await currentLoop().createServer(factory, { host: localhost, tls: serverTls });
  return { server, recorders };
}
