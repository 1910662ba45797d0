/** Requests behind a last response. Run on every policy, and wire. */
import { expect } from 'vitest';
import { Response } from '../../lib/http/index.ts';
import { openConnection, sleep } from '../../lib/index.ts';
import { failure, runTest } from '../task/support.ts';
import { withHandler } from './support.ts';

const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`;

// Until all of the response is taken, input still comes.
runTest('behind a response with connection: close no request is handled, whenever it came', () => {
  const handled: string[] = [];
  return withHandler(
    async (request) => {
      handled.push(request.path);
      await sleep(1);
      return new Response('x'.repeat(8 << 20), { headers: { connection: 'close' } });
    },
    async (_url, server) => {
      await using connection = await openConnection({ host: '127.0.0.1', port: server.port });
      await connection.write(`${get('/first')}${get('/queued')}GET /late HTTP/1.1\r\nX: `);
      for (;;) {
        const chunk = await connection.read(65_536);
        if (chunk === null || chunk.length === 0) break;
        await failure(async () => {
          await connection.write('a');
          throw new Error('written');
        });
        await sleep(0);
      }
      expect(handled).toEqual(['/first']);
    },
  );
});
