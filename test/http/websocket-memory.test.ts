/** What a socket keeps of its request. Run on every policy. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect } from 'vitest';
import { Application, type HttpRequest, Response } from '../../lib/http/index.ts';
import { type Connection, openConnection } from '../../lib/index.ts';
import { runTest } from '../task/support.ts';
import { withServer } from './support.ts';
import { rawClient, requestOf } from './websocket-support.ts';

function arrayBufferBytes(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  return process.memoryUsage().arrayBuffers;
}

runTest('a request that its handler keeps holds little of what was read with it', async () => {
  const kept: HttpRequest[] = [];
  const app = new Application()
    .ws('/', async (socket, request) => {
      kept.push(request);
      for await (const _ of socket);
    })
    .post('/', async (request) => new Response(`${(await request.bytes()).length}`));
  await withServer(app, async (_url, server) => {
    const posting = await openConnection({ host: '127.0.0.1', port: server.port });
    const sockets: Connection[] = [];
    const open = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i++) {
        sockets.push(await rawClient(server.port));
        // Each handshake is in a part of its own of what the server reads.
        await posting.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n');
        await posting.write(Buffer.alloc(100_000));
        await posting.readUntil('100000');
      }
    };
    await open(5);
    const before = arrayBufferBytes();
    await open(40);
    expect(arrayBufferBytes() - before).toBeLessThan(40 * 16_384);
    expect(kept.length).toBe(45);
    for (const socket of sockets) await socket.close();
    await posting.close();
  });
});

runTest('a request can be asked everything after its handshake', async () => {
  const answers: unknown[] = [];
  const app = new Application().ws('/:name', async (socket, request) => {
    for await (const _ of socket) {
      const { url, ip, secure, httpVersion, params, path, bodyUsed } = request;
      const host = request.headers.get('host');
      const cookies = [...request.cookies];
      answers.push({ url, ip, secure, httpVersion, params, path, bodyUsed, host, cookies });
      expect(request.signal.aborted).toBe(false);
      expect(await request.text()).toBe('');
      await socket.send('ok');
      break;
    }
  });
  await withServer(app, async (_url, server) => {
    const client = await openConnection({ host: '127.0.0.1', port: server.port });
    await client.write(requestOf({ cookie: 'a=b' }, 'GET /room?x=1 HTTP/1.1'));
    await client.readUntil('\r\n\r\n');
    await client.write(Buffer.from([0x81, 0x80, 0, 0, 0, 0]));
    await client.readUntil('ok');
    await client.close();
  });
  expect(answers).toEqual([
    {
      url: 'http://localhost/room?x=1',
      ip: '127.0.0.1',
      secure: false,
      httpVersion: '1.1',
      params: { name: 'room' },
      path: '/room',
      bodyUsed: false,
      host: 'localhost',
      cookies: [['a', 'b']],
    },
  ]);
});
