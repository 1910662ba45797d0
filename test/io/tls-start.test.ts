import { Buffer } from 'node:buffer';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import {
  BrokenResourceError,
  BusyResourceError,
  ClosedResourceError,
  InvalidStateError,
} from '../../lib/base/errors.ts';
import { openUnixConnection } from '../../lib/io/connect.ts';
import '../../lib/io/loop-methods.ts';
import type { Connection } from '../../lib/io/net-types.ts';
import type { Transport } from '../../lib/io/protocols.ts';
import { startUnixServer } from '../../lib/io/start-server.ts';
import { currentLoop } from '../../lib/task/frame.ts';
import { sleep } from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/task.ts';
import { memoryConnectionPair } from '../../lib/testing/memory.ts';
import { checkLeaks } from '../support/leaks.ts';
import { runTest } from '../task/support.ts';
import {
  deferred,
  errorOf,
  localhost,
  pattern,
  Recorder,
  tcpPair,
  turn,
  until,
} from './support.ts';
import { ca, clientTls, serverTls } from './tls-support.ts';

checkLeaks();

const asServer = { ...serverTls, isServer: true as const };
const text = (bytes: Buffer | null): string | null => (bytes === null ? null : bytes.toString());

async function upgrade(client: Connection, served: Connection): Promise<void> {
  await Promise.all([client.startTls(clientTls), served.startTls(asServer)]);
}

// covers: asyncio/start-tls
describe('Connection.startTls', () => {
  runTest('turns a connection into a TLS one, after talk in the clear', async () => {
    await using pair = await tcpPair();
    const { client, served } = pair;
    await client.write('STARTTLS\n');
    expect(await served.readLine()).toBe('STARTTLS');
    await served.write('go on\n');
    const serving = served.startTls(asServer);
    expect(await client.readLine()).toBe('go on');
    expect(client.tls).toBe(null);
    await Promise.all([client.startTls(clientTls), serving]);
    expect(client.tls).toMatchObject({ authorized: true, protocol: 'TLSv1.3' });
    expect(served.tls).toMatchObject({ servername: 'server.test' });
    await client.write('secret');
    expect(text(await served.read())).toBe('secret');
    await served.write('answer');
    expect(text(await client.read())).toBe('answer');
    await Promise.all([client.close(), served.close()]);
  });

  runTest('works with the server as the client of TLS', async () => {
    await using pair = await tcpPair();
    await upgrade(pair.served, pair.client);
    await pair.served.write('x');
    expect(text(await pair.client.read())).toBe('x');
    expect(pair.served.tls?.authorized).toBe(true);
  });

  runTest('works in memory', async () => {
    const [client, served] = memoryConnectionPair();
    await upgrade(client, served);
    const data = pattern(300_000);
    void client.write(data);
    expect((await served.readExactly(data.length)).equals(data)).toBe(true);
    await Promise.all([client.close(), served.close()]);
  });

  runTest('works inside of TLS', async () => {
    await using pair = await tcpPair();
    const { client, served } = pair;
    await upgrade(client, served);
    const outer = client.tls;
    await upgrade(client, served);
    expect(client.tls).not.toBe(outer);
    const data = pattern(300_000);
    void client.write(data);
    expect((await served.readExactly(data.length)).equals(data)).toBe(true);
    await Promise.all([client.close(), served.close()]);
  });

  runTest('what was written before leaves before, in the clear', async () => {
    await using pair = await tcpPair();
    const { client, served } = pair;
    void client.write('in the clear\n');
    const starting = client.startTls(clientTls);
    expect(await served.readLine()).toBe('in the clear');
    // The hello may have come with it: then it was received in the clear, too.
    const refused = await served.startTls(asServer).catch((error: Error) => error);
    if (refused instanceof Error) {
      expect(refused).toBeInstanceOf(InvalidStateError);
      served.abort();
      await errorOf(starting);
    } else {
      await starting;
    }
  });

  runTest('a writer that waits is woken when its bytes have left', async () => {
    await using pair = await tcpPair();
    const { client, served } = pair;
    const data = Buffer.alloc(8 * 1024 * 1024);
    const writing = client.write(data);
    const starting = client.startTls(clientTls);
    await served.readExactly(data.length - 1);
    expect((await served.readExactly(1)).length).toBe(1);
    await writing;
    client.abort();
    expect(await errorOf(starting)).toBeInstanceOf(ClosedResourceError);
  });

  runTest('bytes that came in the clear and were not read are refused', async () => {
    await using pair = await tcpPair();
    const { client, served } = pair;
    await client.write('STARTTLS\nEVIL\n');
    expect(await served.readLine()).toBe('STARTTLS');
    await turn();
    const error = await errorOf(served.startTls(asServer));
    expect(error).toBeInstanceOf(InvalidStateError);
    expect(error.message).toContain('5 bytes');
    // Nothing was begun.
    expect(served.tls).toBe(null);
    expect(await served.readLine()).toBe('EVIL');
  });

  runTest('a failure that it has told is not told again by close', async () => {
    await using pair = await tcpPair();
    const { client, served } = pair;
    await served.write('no TLS');
    const error = await errorOf(client.startTls(clientTls));
    expect(error.code).toMatch(/^ERR_SSL_/);
    await client.close();
  });

  runTest('bytes in the clear that come later are no TLS', async () => {
    await using pair = await tcpPair();
    const { client, served } = pair;
    const starting = errorOf(served.startTls(asServer));
    await client.write('EVIL\n');
    expect((await starting).code).toMatch(/^ERR_SSL_/);
    expect(await errorOf(served.read())).toBeInstanceOf(Error);
  });

  runTest('meanwhile writing is refused, and a read waits for what comes by TLS', async () => {
    await using pair = await tcpPair();
    const { client, served } = pair;
    const starting = client.startTls(clientTls);
    expect(await errorOf(client.write('x'))).toBeInstanceOf(BusyResourceError);
    expect(await errorOf(client.writeEof())).toBeInstanceOf(BusyResourceError);
    expect(await errorOf(client.startTls(clientTls))).toBeInstanceOf(BusyResourceError);
    const reading = client.read();
    await served.startTls(asServer);
    await starting;
    await served.write('secret');
    expect(text(await reading)).toBe('secret');
  });

  runTest('is refused while somebody reads', async () => {
    await using pair = await tcpPair();
    const reading = pair.client.read();
    expect(await errorOf(pair.client.startTls(clientTls))).toBeInstanceOf(BusyResourceError);
    await pair.served.write('x');
    expect(text(await reading)).toBe('x');
  });

  runTest('is refused on what was closed or has ended', async () => {
    await using pair = await tcpPair();
    const { client, served } = pair;
    await client.writeEof();
    expect(await errorOf(client.startTls(clientTls))).toBeInstanceOf(ClosedResourceError);
    expect(await served.read()).toBe(null);
    expect(await errorOf(served.startTls(asServer))).toBeInstanceOf(BrokenResourceError);
    await client.close();
    expect(await errorOf(client.startTls(clientTls))).toBeInstanceOf(ClosedResourceError);
  });

  runTest('as a client it needs to know whom it talks to', async () => {
    await using pair = await tcpPair();
    const error = await errorOf(pair.client.startTls({ ca }));
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).toContain('servername');
    expect(await errorOf(pair.client.startTls(5 as never))).toBeInstanceOf(TypeError);
    // The connection is as it was.
    await pair.client.write('x');
    expect(text(await pair.served.read())).toBe('x');
  });

  runTest('a peer that is not trusted ends the connection', async () => {
    await using pair = await tcpPair();
    const { client, served } = pair;
    const serving = served.startTls(asServer).catch(() => {});
    const error = await errorOf(client.startTls({ ...clientTls, servername: 'wrong.test' }));
    expect(error.code).toBe('ERR_TLS_CERT_ALTNAME_INVALID');
    await until(() => !client.open);
    await client.close();
    await serving;
  });

  runTest('takes no longer than its time', async () => {
    await using pair = await tcpPair();
    const options = { ...clientTls, tlsHandshakeTimeoutMs: 20 };
    expect((await errorOf(pair.client.startTls(options))).name).toBe('TimeoutError');
    await using other = await tcpPair();
    const serving = other.served.startTls({ ...asServer, handshakeTimeout: 20 });
    expect((await errorOf(serving)).name).toBe('TimeoutError');
  });

  for (const way of ['task', 'signal', 'before'] as const) {
    runTest(`cancelled (${way}) it leaves nothing half done`, async () => {
      await using pair = await tcpPair();
      const { client, served } = pair;
      const controller = new AbortController();
      const { signal } = controller;
      const task = createTask(() => client.startTls({ ...clientTls, signal }));
      if (way !== 'before') await sleep(5);
      if (way === 'signal') controller.abort();
      else task.cancel();
      expect((await errorOf(task)).name).toMatch(/CancelledError|AbortError/);
      if (way === 'before') {
        // It had not begun.
        await client.write('x');
        expect(text(await served.read())).toBe('x');
      } else {
        expect(client.open).toBe(false);
        await errorOf(served.readExactly(10_000));
      }
    });
  }

  runTest('close and abort by another task end it', async () => {
    await using pair = await tcpPair();
    const starting = errorOf(pair.client.startTls(clientTls));
    await pair.client.close();
    expect(await starting).toBeInstanceOf(ClosedResourceError);
    const serving = errorOf(pair.served.startTls(asServer));
    pair.served.abort();
    expect(await serving).toBeInstanceOf(Error);
  });

  runTest('a connection of a server that is upgraded ends with the server', async () => {
    await using pair = await tcpPair();
    await upgrade(pair.client, pair.served);
    expect(pair.server.connections).toBe(1);
    pair.server.abortClients();
    expect(await errorOf(pair.client.read())).toBeInstanceOf(BrokenResourceError);
  });
});

async function transportPair(): Promise<
  {
    client: Transport;
    served: Transport;
    clientLog: Recorder;
    servedLog: Recorder;
    connections: () => number;
  } & AsyncDisposable
> {
  const loop = currentLoop();
  const accepted = deferred<Recorder>();
  const server = await loop.createServer(
    () => {
      const recorder = new Recorder();
      loop.callSoon(() => accepted.resolve(recorder));
      return recorder;
    },
    { host: localhost },
  );
  const options = { host: localhost, port: server.port };
  const [client, clientLog] = await loop.createConnection(() => new Recorder(), options);
  const servedLog = await accepted.promise;
  return {
    client,
    clientLog,
    servedLog,
    served: servedLog.transport as Transport,
    connections: () => server.connections,
    async [Symbol.asyncDispose]() {
      server.close();
      server.abortClients();
      client.abort();
      await server.waitClosed();
    },
  };
}

// covers: asyncio/start-tls
describe('loop.startTls', () => {
  runTest('gives new transports, on both sides, and the protocols go on', async () => {
    await using pair = await transportPair();
    const { client, served, clientLog, servedLog } = pair;
    const loop = currentLoop();
    client.write('STARTTLS');
    await until(() => servedLog.log.includes('data STARTTLS'));
    const [a, b] = await Promise.all([
      loop.startTls(client, clientLog, clientTls),
      loop.startTls(served, servedLog, asServer),
    ]);
    expect(a.tls).toMatchObject({ authorized: true });
    expect(pair.connections()).toBe(1);
    a.write('secret');
    await until(() => servedLog.log.includes('data secret'));
    expect(servedLog.log).toEqual(['made', 'data STARTTLS', 'data secret']);
    // The old ones are as good as closed.
    expect(client.closing).toBe(true);
    client.write('in the clear');
    client.abort();
    b.close();
    await until(() => clientLog.log.includes('lost') && servedLog.log.includes('lost'));
    expect(pair.connections()).toBe(0);
  });

  runTest('another protocol may go on, with its own memory', async () => {
    await using pair = await transportPair();
    const loop = currentLoop();
    const memory = Buffer.alloc(7);
    let received = '';
    const buffered = {
      getBuffer: () => memory,
      bufferUpdated: (bytes: number) => {
        received += memory.toString('utf8', 0, bytes);
      },
    };
    const [a] = await Promise.all([
      loop.startTls(pair.client, pair.clientLog, clientTls),
      loop.startTls(pair.served, buffered, asServer),
    ]);
    a.write('more than seven bytes');
    await until(() => received.length === 21);
    expect(received).toBe('more than seven bytes');
  });

  runTest('a transport that paused reading reads again', async () => {
    await using pair = await transportPair();
    const loop = currentLoop();
    pair.client.pauseReading();
    pair.served.pauseReading();
    const [a] = await Promise.all([
      loop.startTls(pair.client, pair.clientLog, clientTls),
      loop.startTls(pair.served, pair.servedLog, asServer),
    ]);
    a.write('x');
    await until(() => pair.servedLog.log.includes('data x'));
  });

  runTest('a handshake that fails ends the protocol, too', async () => {
    await using pair = await transportPair();
    const loop = currentLoop();
    pair.served.write('no TLS');
    const error = await errorOf(loop.startTls(pair.client, pair.clientLog, clientTls));
    expect(error.code).toMatch(/^ERR_SSL_/);
    await until(() => pair.clientLog.lost !== undefined);
    expect(pair.clientLog.lost).toBe(error);
  });

  runTest('cancelled, the connection is gone', async () => {
    await using pair = await transportPair();
    const loop = currentLoop();
    const task = createTask(() => loop.startTls(pair.client, pair.clientLog, clientTls));
    await sleep(5);
    task.cancel();
    expect((await errorOf(task)).name).toBe('CancelledError');
    await until(() => pair.clientLog.log.includes('lost'));
  });

  runTest('what is no transport, protocol or options is refused', async () => {
    await using pair = await transportPair();
    const loop = currentLoop();
    const { client, clientLog } = pair;
    expect(await errorOf(loop.startTls({} as never, clientLog, clientTls))).toBeInstanceOf(
      TypeError,
    );
    expect(await errorOf(loop.startTls(client, {} as never, clientTls))).toBeInstanceOf(TypeError);
    expect(await errorOf(loop.startTls(client, clientLog, null as never))).toBeInstanceOf(
      TypeError,
    );
    client.writeEof();
    expect(await errorOf(loop.startTls(client, clientLog, clientTls))).toBeInstanceOf(
      ClosedResourceError,
    );
    client.abort();
    expect(await errorOf(loop.startTls(client, clientLog, clientTls))).toBeInstanceOf(
      ClosedResourceError,
    );
  });
});

// covers: asyncio/tls
runTest('TLS works over UNIX sockets', async () => {
  const path = join(tmpdir(), `uvio-tls-${process.pid}.sock`);
  await using _server = await startUnixServer(
    async (connection) => {
      for await (const chunk of connection) await connection.write(chunk);
    },
    path,
    { tls: serverTls },
  );
  await using client = await openUnixConnection(path, { tls: clientTls });
  await client.write('x');
  expect(text(await client.read())).toBe('x');
  expect(client.remoteAddress.family).toBe('unix');
  const [transport, recorder] = await currentLoop().createUnixConnection(
    () => new Recorder(),
    path,
    { tls: clientTls },
  );
  transport.write('y');
  await until(() => recorder.log.includes('data y'));
  transport.close();
  await until(() => recorder.log.includes('lost'));
});
