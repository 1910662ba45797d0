/** What a request is after it became a socket. Run on every policy. */
import { expect } from 'vitest';
import { Application } from '../../lib/http/index.ts';
import { openConnection } from '../../lib/index.ts';
import { runTest } from '../task/support.ts';
import { withServer } from './support.ts';
import { requestOf } from './websocket-support.ts';

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
