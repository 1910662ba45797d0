/** An accepted socket that becomes a transport over TLS. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import { describe, expect } from 'vitest';
import type { AcceptedSocketOptions } from '../../lib/io/adopt.ts';
import '../../lib/io/fd-methods.ts';
import type { Transport } from '../../lib/io/protocols.ts';
import { currentLoop } from '../../lib/task/frame.ts';
import { createTask } from '../../lib/task/spawn.ts';
import { checkLeaks } from '../support/leaks.ts';
import { inMemory } from '../support/policy.ts';
import { runTest } from '../task/support.ts';
import { checkFds } from './fds.ts';
import { errorOf, localhost, Recorder, until } from './support.ts';
import { ca, serverTls } from './tls-support.ts';

checkLeaks();
checkFds();

async function nodePair(): Promise<{ client: Socket; served: Socket; closed: Promise<unknown> }> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
  server.listen(0, localhost);
  await once(server, 'listening');
  const client = connect((server.address() as AddressInfo).port, localhost);
  client.on('error', () => {});
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const [[served]] = await Promise.all([accepted, once(client, 'connect')]);
  server.close();
  return { client, served, closed: once(client, 'close') };
}

function adopt(
  socket: Socket,
  options: AcceptedSocketOptions = {},
  factory = (): Recorder => new Recorder(),
): Promise<[Transport, Recorder]> {
  return currentLoop().connectAcceptedSocket(factory, socket, { tls: serverTls, ...options });
}

// covers: asyncio/connect-accepted-socket
describe.skipIf(inMemory)('an accepted socket with tls', () => {
  runTest('its protocol is made after the handshake, and talks over TLS', async () => {
    const { client, served } = await nodePair();
    const secure = tlsConnect({ socket: client, ca, servername: 'server.test' });
    const [transport, recorder] = await adopt(served);
    secure.write('hello');
    await until(() => recorder.log.includes('data hello'));
    transport.write('answer');
    const [data] = (await once(secure, 'data')) as [Buffer];
    expect(String(data)).toBe('answer');
    expect(secure.authorized).toBe(true);
    secure.end();
    await until(() => recorder.log.at(-1) === 'lost');
  });

  runTest('a handshake that fails closes the socket, and no protocol is made', async () => {
    const { client, served, closed } = await nodePair();
    let made = 0;
    client.write('GET / HTTP/1.1\r\n\r\n');
    const asked = adopt(served, {}, () => {
      made += 1;
      return new Recorder();
    });
    expect((await errorOf(asked)).code).toBe('ERR_SSL_HTTP_REQUEST');
    client.resume();
    await closed;
    expect(made).toBe(0);
  });

  runTest('a handshake that does not come ends by its timeout', async () => {
    const { client, served, closed } = await nodePair();
    const error = await errorOf(adopt(served, { tlsHandshakeTimeoutMs: 20 }));
    expect(error.name).toBe('TimeoutError');
    client.resume();
    await closed;
  });

  runTest('cancelled in the handshake, or aborted by a signal, it closes the socket', async () => {
    const first = await nodePair();
    const task = createTask(() => adopt(first.served));
    setImmediate(() => task.cancel());
    expect((await errorOf(task)).name).toBe('CancelledError');
    const second = await nodePair();
    const controller = new AbortController();
    const asked = adopt(second.served, { signal: controller.signal });
    setImmediate(() => controller.abort(new Error('mine')));
    expect((await errorOf(asked)).message).toBe('mine');
    for (const { client, closed } of [first, second]) {
      client.resume();
      await closed;
    }
  });

  runTest('an error of the factory rejects and closes the socket', async () => {
    const { client, served, closed } = await nodePair();
    const secure = tlsConnect({ socket: client, ca, servername: 'server.test' });
    secure.on('error', () => {});
    const asked = adopt(served, {}, () => {
      throw new Error('no protocol');
    });
    expect((await errorOf(asked)).message).toBe('no protocol');
    secure.resume();
    await closed;
  });

  runTest('wrong options of TLS leave the socket to the caller', async () => {
    const { client, served } = await nodePair();
    expect(await errorOf(adopt(served, { tls: {} }))).toBeInstanceOf(TypeError);
    served.end('still mine');
    const [data] = (await once(client, 'data')) as [Buffer];
    expect(String(data)).toBe('still mine');
    client.destroy();
    served.destroy();
  });
});
