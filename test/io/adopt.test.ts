import { type ChildProcess, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { openSync, renameSync } from 'node:fs';
import { type AddressInfo, connect, createServer, Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import '../../lib/io/fd-methods.ts';
import '../../lib/io/loop-methods.ts';
import type { Transport } from '../../lib/io/protocols.ts';
import { startServer, startUnixServer } from '../../lib/io/start-server.ts';
import { currentLoop } from '../../lib/task/frame.ts';
import { createTask } from '../../lib/task/spawn.ts';
import { checkLeaks } from '../support/leaks.ts';
import { inMemory, policyName } from '../support/policy.ts';
import { checkFds, closeQuietly, freshPath, makePipe } from './fds.ts';
import { errorOf, localhost, Recorder, turn, until } from './support.ts';

checkLeaks();
checkFds();

interface Handled {
  _handle: { fd: number };
}

const fdOf = (from: unknown): number => (from as Handled)._handle.fd;

async function nodePair(target: number | string): Promise<[client: Socket, served: Socket]> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
  server.listen(typeof target === 'string' ? { path: target } : { port: 0, host: localhost });
  await once(server, 'listening');
  const where = server.address() as AddressInfo;
  const client = typeof target === 'string' ? connect(target) : connect(where.port, localhost);
  client.on('error', () => {});
  const [[served]] = (await Promise.all([once(server, 'connection'), once(client, 'connect')])) as [
    [Socket],
    unknown,
  ];
  served.on('error', () => {});
  server.close();
  return [client, served];
}

// covers: asyncio/listen-fd, asyncio/connect-accepted-socket
describe.skipIf(inMemory)('descriptors that a process has inherited', () => {
  const said = new Map<string, unknown>();
  let child: ChildProcess;
  let tcpPort = 0;
  let unixPath = '';
  const peers: Socket[] = [];
  const answers: string[] = [];
  let served: string[] = [];

  async function read(socket: Socket): Promise<string> {
    const chunks: Buffer[] = [];
    for await (const chunk of socket) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks).toString();
  }

  beforeAll(async () => {
    const tcp = createServer().listen(0, localhost);
    unixPath = freshPath('unix');
    const moved = freshPath('moved');
    const unix = createServer().listen(unixPath);
    const udp = createSocket('udp4').bind(0, localhost);
    await Promise.all([once(tcp, 'listening'), once(unix, 'listening'), once(udp, 'listening')]);
    tcpPort = (tcp.address() as AddressInfo).port;
    const [tcpClient, tcpServed] = await nodePair(0);
    const [unixClient, unixServed] = await nodePair(freshPath('pair'));
    peers.push(tcpClient, unixClient);
    const file = openSync(process.execPath, 'r');
    const [reads, writes] = makePipe();
    const udpFd = (udp as unknown as Record<symbol, { handle: { fd: number } }>)[
      Object.getOwnPropertySymbols(udp).find((one) => one.description === 'state symbol') as symbol
    ]?.handle.fd as number;
    const passed: [string, number][] = [
      ['tcp', fdOf(tcp)],
      ['unix', fdOf(unix)],
      ['tcpPeer', fdOf(tcpServed)],
      ['unixPeer', fdOf(unixServed)],
      ['udp', udpFd],
      ['file', file],
      ['pipe', reads],
    ];
    const program = fileURLToPath(new URL('./programs/adopt.ts', import.meta.url));
    const loader = fileURLToPath(new URL('../task/ts-loader.mjs', import.meta.url));
    const flags = ['--disable-warning=DEP0205', '--import', loader, program, policyName];
    child = spawn(process.execPath, [...flags, ...passed.map(([name]) => name)], {
      stdio: ['ignore', 'pipe', 'inherit', ...passed.map(([, fd]) => fd)],
    });
    tcpServed.destroy();
    unixServed.destroy();
    tcp.close();
    // Or its close would remove it.
    renameSync(unixPath, moved);
    unix.close();
    udp.close();
    closeQuietly(file, reads, writes);
    let rest = '';
    child.stdout?.on('data', (data: Buffer) => {
      const lines = (rest + String(data)).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const [name, value] = JSON.parse(line) as [string, unknown];
        said.set(name, value);
      }
    });
    const over = once(child, 'close');
    for (const peer of peers) {
      peer.write('ping');
      const [data] = (await once(peer, 'data')) as [Buffer];
      answers.push(String(data));
      peer.end();
    }
    served = [await read(connect(tcpPort, localhost)), await read(connect(moved))];
    expect(await over).toEqual([0, null]);
  }, 20_000);

  afterAll(() => {
    for (const peer of peers) peer.destroy();
  });

  test('connections work, and are closed at the end', () => {
    expect(answers).toEqual(['echo ping', 'echo ping']);
    expect(said.get('adopt tcpPeer')).toEqual({ family: 'IPv4', open: false });
    expect(said.get('adopt unixPeer')).toEqual({ family: 'unix', open: false });
  });

  test('listening sockets serve, TCP and UNIX, and are closed with the server', () => {
    expect(served).toEqual(['served', 'served']);
    expect(said.get('listening tcp')).toEqual({
      address: localhost,
      port: tcpPort,
      family: 'IPv4',
    });
    expect(said.get('listening unix')).toEqual({ address: unixPath, port: 0, family: 'unix' });
    expect(said.get('serve tcp')).toEqual({ open: false });
    expect(said.get('serve unix')).toEqual({ open: false });
  });

  test.each([
    ['tcp', 'EINVAL'],
    ['unix', 'EINVAL'],
    ['udp', 'EPROTOTYPE'],
    ['file', 'ENOTSOCK'],
    ['pipe', 'ENOTSOCK'],
  ])('as a connection %s is %s, and stays open', (name, accepted) => {
    expect(said.get(`refuse ${name}`)).toEqual({ accepted, open: true });
  });

  test.each([
    ['tcpPeer', 'EINVAL'],
    ['unixPeer', 'EINVAL'],
    ['udp', 'EPROTOTYPE'],
    ['file', 'ENOTSOCK'],
    ['pipe', 'ENOTSOCK'],
  ])('as a listener %s is %s, and stays open', (name, code) => {
    expect(said.get(`listen ${name}`)).toEqual({ code, open: true });
  });

  test('what is not open is EBADF', () => {
    expect([said.get('closed'), said.get('adopt closed')]).toEqual(['EBADF', 'EBADF']);
  });

  // covers: systemd/listen-fds
  test('systemdSockets tells them with their names, once', () => {
    const sockets = [
      { fd: 3, name: 'web' },
      { fd: 4, name: 'local' },
    ];
    expect(said.get('systemd')).toEqual([sockets, []]);
  });
});

describe.skipIf(inMemory)('a socket of Node’s', () => {
  const adopt = (socket: Socket): Promise<[{ close(): void }, Recorder]> =>
    currentLoop().connectAcceptedSocket(() => new Recorder(), socket);

  test.each(['TCP', 'UNIX'])('goes on as a transport: %s', async (kind) => {
    const [client, served] = await nodePair(kind === 'TCP' ? 0 : freshPath('adopted'));
    const [, recorder] = await adopt(served);
    client.write('hello');
    await until(() => recorder.log.includes('data hello'));
    recorder.transport?.write('answer');
    const [data] = (await once(client, 'data')) as [Buffer];
    expect(String(data)).toBe('answer');
    client.end();
    await until(() => recorder.log.at(-1) === 'lost');
    expect(recorder.log).toEqual(['made', 'data hello', 'eof', 'lost']);
    client.destroy();
  });

  test('what Node has read already comes first, and once', async () => {
    const [client, served] = await nodePair(0);
    served.resume();
    served.pause();
    served.on('readable', () => {});
    client.write('before');
    await until(() => served.readableLength === 6);
    served.removeAllListeners('readable');
    const [, recorder] = await adopt(served);
    client.write(' after');
    const bytes = (): string => recorder.log.slice(1).join('').replaceAll('data ', '');
    await until(() => bytes().length >= 12);
    expect(bytes()).toBe('before after');
    recorder.transport?.close();
    await until(() => recorder.log.at(-1) === 'lost');
    client.destroy();
  });

  test('one that is not connected, or destroyed, is ENOTCONN', async () => {
    expect((await errorOf(adopt(new Socket()))).code).toBe('ENOTCONN');
    const [client, served] = await nodePair(0);
    served.destroy();
    expect((await errorOf(adopt(served))).code).toBe('ENOTCONN');
    client.destroy();
  });

  test('one that was ended is refused', async () => {
    const [client, served] = await nodePair(0);
    served.end();
    expect((await errorOf(adopt(served))).code).toBe('ERR_INVALID_STATE');
    served.destroy();
    client.destroy();
  });

  test('a TLS socket is ENOTSUP', async () => {
    const [client, served] = await nodePair(0);
    const secure = new TLSSocket(served);
    secure.on('error', () => {});
    expect((await errorOf(adopt(secure))).code).toBe('ENOTSUP');
    secure.destroy();
    served.destroy();
    client.destroy();
  });

  test('in a cancelled task, or with an aborted signal, it is not taken', async () => {
    const [client, served] = await nodePair(0);
    const task = createTask(async () => {
      task.cancel();
      await adopt(served);
    });
    expect((await errorOf(task)).name).toBe('CancelledError');
    const signal = AbortSignal.abort(new Error('mine'));
    const factory = (): Recorder => new Recorder();
    const aborted = currentLoop().connectAcceptedSocket(factory, served, { signal });
    expect((await errorOf(aborted)).message).toBe('mine');
    expect(served.destroyed).toBe(false);
    served.destroy();
    client.destroy();
  });
});

test.runIf(inMemory)('a simulated loop has no descriptors: ENOTSUP', async () => {
  const adopted = currentLoop().connectAcceptedSocket(() => new Recorder(), 0);
  expect((await errorOf(adopted)).code).toBe('ENOTSUP');
  expect((await errorOf(startServer(() => {}, { fd: 0 }))).code).toBe('ENOTSUP');
});

describe('bad input', () => {
  test.each([['3'], [null], [-1], [{}]])('socket %j is refused', async (socket) => {
    const adopted = currentLoop().connectAcceptedSocket(() => new Recorder(), socket as number);
    expect(['ERR_INVALID_ARG_TYPE', 'ERR_OUT_OF_RANGE']).toContain((await errorOf(adopted)).code);
  });

  test('fd together with a host, a port or a path is refused', async () => {
    const code = 'ERR_INVALID_ARG_TYPE';
    for (const more of [{ host: localhost }, { port: 0 }]) {
      expect((await errorOf(startServer(() => {}, { fd: 3, ...more }))).code).toBe(code);
    }
    const unix = startUnixServer(() => {}, '/x', { fd: 3 } as object);
    expect((await errorOf(unix)).code).toBe(code);
  });
});

test('data that came in the batch of a pause is before what comes with the resume', async () => {
  const served: Transport[] = [];
  const loop = currentLoop();
  const server = await loop.createServer(
    () => ({ connectionMade: (one: Transport) => void served.push(one), dataReceived(): void {} }),
    { host: localhost },
  );
  const got = ['', ''];
  const clients: Transport[] = [];
  for (const index of [0, 1]) {
    const dataReceived = (data: Buffer): void => {
      got[index] += String(data);
      // The other's may be behind this one already.
      clients[1 - index]?.pauseReading();
    };
    const where = { host: localhost, port: server.port };
    const [client] = await loop.createConnection(() => ({ dataReceived }), where);
    clients.push(client);
  }
  await until(() => served.length === 2);
  for (const one of served) one.write('1');
  await until(() => got.join('') !== '');
  const held = got[0] === '' ? 0 : 1;
  for (let i = 0; i < 3; i++) await turn();
  expect(got[held]).toBe('');
  for (const one of served) one.write('2');
  await until(() => got[1 - held] === '12');
  clients[held]?.resumeReading();
  await until(() => got[held]?.length === 2);
  expect(got[held]).toBe('12');
  for (const one of [...clients, ...served]) one.abort();
  await server[Symbol.asyncDispose]();
});

// Of a backend that reads there itself the hint is the most it would take, not a chunk that it has.
test.runIf(policyName === 'native')('a BufferedProtocol gets bytes without a chunk', async () => {
  await using server = await startServer((connection) => connection.write('hello'), {
    host: localhost,
  });
  const memory = Buffer.alloc(100);
  const hints: number[] = [];
  let got = '';
  const [transport] = await currentLoop().createConnection(
    () => ({
      getBuffer(hintBytes: number): Buffer {
        hints.push(hintBytes);
        return memory;
      },
      bufferUpdated(bytes: number): void {
        got += memory.toString('utf8', 0, bytes);
      },
    }),
    { host: localhost, port: server.port },
  );
  await until(() => got === 'hello');
  expect(new Set(hints)).toEqual(new Set([65_536]));
  transport.close();
});
