/** HTTP/2 servers: how streams, connections and servers end. Run on every policy. */
import { Buffer } from 'node:buffer';
import type { ClientHttp2Stream } from 'node:http2';
import { describe, expect } from 'vitest';
import { Application, HttpError, Response } from '../../lib/http/index.ts';
import { Event, getRunningLoop, sleep } from '../../lib/index.ts';
import { failure, runTest, virtualTest } from '../task/support.ts';
import { type Client, openH2, settled, withH2 } from './http2-support.ts';

const hello = (): Response => new Response('hello');
const megabyte = Buffer.alloc(1_048_576, 'x');

describe('the end of a stream of HTTP/2', () => {
  type Cancel = (stream: ClientHttp2Stream, client: Client) => void;
  // Node's client ends a body before it cancels.
  const cancels: [what: string, cancel: Cancel, broken: boolean][] = [
    ['cancels it', (stream) => stream.close(8), false],
    ['closes the connection', (_stream, client) => client.session.destroy(), true],
    ['breaks the connection', (_stream, client) => client.duplex.destroy(), true],
  ];
  for (const [what, cancel, broken] of cancels) {
    runTest(`aborts the request's signal when its client ${what}`, async () => {
      const began = new Event();
      const gone = new Event();
      const failed: unknown[] = [];
      await withH2(
        async (request) => {
          began.set();
          const whole = request.text().catch((error: Error) => failed.push(error.name));
          await new Promise<void>((resolve) => {
            request.signal.addEventListener('abort', () => resolve());
          });
          await whole;
          gone.set();
          return new Response('nobody sees that');
        },
        async (client, server) => {
          const stream = client.session.request({ ':method': 'POST' });
          stream.on('error', () => {});
          stream.write('some');
          await began.wait();
          cancel(stream, client);
          await gone.wait();
          await settled(() => server.requests === 0);
          expect(failed).toEqual(broken ? ['BrokenResourceError'] : []);
        },
      );
    });
  }

  runTest('cancels the handler where that is asked for', async () => {
    const began = new Event();
    let cancelled = false;
    await withH2(
      async () => {
        began.set();
        try {
          await sleep(60_000);
        } catch (error) {
          cancelled = true;
          throw error;
        }
        return hello();
      },
      async (client, server) => {
        const stream = client.session.request({ ':path': '/' });
        stream.on('error', () => {});
        await began.wait();
        stream.close(8);
        await settled(() => server.requests === 0);
        expect(cancelled).toBe(true);
      },
      { handlerCancellation: true },
    );
  });

  runTest('tells a writer, whether it waits or writes', async () => {
    const errors: string[] = [];
    await withH2(
      () =>
        new Response(async (writer) => {
          try {
            for (;;) await writer.write(megabyte);
          } catch (error) {
            errors.push((error as Error).name);
            throw error;
          }
        }),
      async (client, server) => {
        const stream = client.session.request({ ':path': '/' });
        stream.on('error', () => {});
        await new Promise((resolve) => stream.once('response', resolve));
        stream.close(8);
        await settled(() => server.requests === 0);
        expect(errors).toEqual(['BrokenResourceError']);
      },
    );
  });

  runTest(
    'is an error for the client when a body breaks half-way, not for other streams',
    async () => {
      const told: unknown[] = [];
      getRunningLoop().setExceptionHandler((_loop, { error }) => told.push(error));
      const app = new Application().get('/ok', hello).get(
        '/broken',
        () =>
          new Response(async (writer) => {
            await writer.write('part');
            throw new HttpError(500, 'on purpose');
          }),
      );
      // All that was written is out, or nothing was: the end must not overtake the reset.
      for (const [path, part] of [
        ['/late', 'part'],
        ['/empty', ''],
      ] as const) {
        app.get(path, () => {
          return new Response(async (writer) => {
            if (part !== '') await writer.write(part);
            await sleep(10);
            throw new HttpError(500, 'on purpose');
          });
        });
      }
      await withH2(app, async (client) => {
        for (const path of ['/broken', '/late', '/empty']) {
          const error = await failure(client.get(path));
          expect([path, error.message]).toEqual([path, expect.stringMatching(/INTERNAL_ERROR/)]);
        }
        expect((await client.get('/ok')).body).toBe('hello');
      });
      expect(told).toHaveLength(3);
    },
  );
});

describe('the end of an HTTP/2 server', () => {
  virtualTest('is not that of a client that leaves: what it asked for is answered', async () => {
    const began = new Event();
    await withH2(
      async () => {
        began.set();
        await sleep(2_300);
        return hello();
      },
      async (client, server) => {
        const answer = client.get('/');
        await began.wait();
        client.session.close();
        expect((await answer).body).toBe('hello');
        await settled(() => server.connections === 0);
      },
    );
  });

  runTest('lets streams under way end, and tells clients to go', async () => {
    const began = new Event();
    const go = new Event();
    await withH2(
      async () => {
        began.set();
        await go.wait();
        return hello();
      },
      async (client, server) => {
        let goaway = -1;
        client.session.on('goaway', (code) => {
          goaway = code;
        });
        const answer = client.get('/');
        await began.wait();
        const closed = server.close();
        await settled(() => goaway === 0);
        go.set();
        expect((await answer).body).toBe('hello');
        await closed;
        expect(server.connections).toBe(0);
      },
    );
  });

  runTest('answers while it drains, and asks clients to go elsewhere', () =>
    withH2(hello, async (client, server) => {
      await client.get('/');
      let goaway = -1;
      client.session.on('goaway', (code) => {
        goaway = code;
      });
      const closed = server.close({ drainMs: 500 });
      await sleep(1);
      expect((await client.get('/')).body).toBe('hello');
      await settled(() => goaway === 0);
      await closed;
    }),
  );

  runTest('cancels handlers that are late', async () => {
    const began = new Event();
    await withH2(
      async () => {
        began.set();
        await sleep(60_000);
        return hello();
      },
      async (client, server) => {
        const answer = client.get('/');
        await began.wait();
        await server.close({ timeoutMs: 5 });
        expect((await answer).status).toBe(503);
        expect(server.connections).toBe(0);
      },
    );
  });

  runTest('closes connections that are idle, or never spoke', () =>
    withH2(hello, async (client, server) => {
      await client.get('/');
      const silent = await openH2(server.port);
      await settled(() => server.connections === 2);
      await server.close();
      expect(server.connections).toBe(0);
      silent.abort();
    }),
  );
});
