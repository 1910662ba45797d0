/** Requests that leave HTTP, or ask to. Run on every policy, and wire. */
import { expect } from 'vitest';
import { Response } from '../../lib/http/index.ts';
import type { ServerRequest } from '../../lib/http/request.ts';
import { openConnection, sleep, type Transport } from '../../lib/index.ts';
import { runTest } from '../task/support.ts';
import { exchangeRaw, readToEnd, statusesOf, withHandler } from './support.ts';

const lines = 'Connection: Upgrade\r\nUpgrade: websocket\r\n';
const handshake = `GET / HTTP/1.1\r\nHost: a\r\n${lines}\r\n`;

for (const [title, ms] of [
  ['with what came early', 0],
  ['later, with what came meanwhile', 20],
] as const) {
  runTest(`an upgrade hands the stream over, ${title}`, () =>
    withHandler(
      async (request) => {
        const { call } = request as ServerRequest;
        if (ms > 0) await sleep(ms);
        let transport: Transport;
        call.status = 101;
        call.exchange.upgrade(['connection', 'upgrade', 'upgrade', 'websocket'], {
          connectionMade(made): void {
            transport = made;
          },
          dataReceived(data): void {
            transport.write(`${data}>`);
            if (String(data).includes('end')) transport.close();
          },
        });
        return new Response(null);
      },
      async (_url, server) => {
        await using connection = await openConnection({ host: '127.0.0.1', port: server.port });
        await connection.write(`${handshake}${ms > 0 ? '' : 'early'}`);
        if (ms > 0) {
          await sleep(ms / 4);
          await connection.write('early');
        }
        expect(String(await connection.readUntil('\r\n\r\n'))).toMatch(/^HTTP\/1.1 101 /);
        expect(String(await connection.readUntil('>'))).toBe('early>');
        await connection.write('end');
        expect(await readToEnd(connection)).toBe('end>');
      },
    ),
  );
}

runTest('a handshake that is not taken gets a plain answer', () =>
  withHandler(
    () => new Response('hello'),
    async (_url, server) => {
      const answer = await exchangeRaw(server.port, handshake);
      expect(statusesOf(answer)).toEqual([200]);
    },
  ),
);
