/** Connections of a server: order, ends, limits and time. Run on every policy, and wire. */
import { describe, expect } from 'vitest';
import { Application, HttpError, Response, serve } from '../../lib/http/index.ts';
import {
  CancelledError,
  CancelScope,
  Event,
  getRunningLoop,
  moveOnAfter,
  openConnection,
  sleep,
} from '../../lib/index.ts';
import { failure, realTimeTest, runTest } from '../task/support.ts';
import { deliver, exchangeRaw, readToEnd, statusesOf, withHandler } from './support.ts';

const get = (path: string, lines = ''): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n${lines}\r\n`;
const last = (path: string): string => get(path, 'Connection: close\r\n');
const post = (body: string, lines = ''): string =>
  `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n${lines}\r\n${body}`;

const hello = (): Response => new Response('hello');
const path = (request: Request): Response => new Response(new URL(request.url).pathname);

const connect = (port: number): ReturnType<typeof openConnection> =>
  openConnection({ host: '127.0.0.1', port });

/** The head of the next response, and its body by content-length. */
async function readResponse(
  connection: Awaited<ReturnType<typeof connect>>,
): Promise<{ head: string; body: string }> {
  const head = String(await connection.readUntil('\r\n\r\n'));
  const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
  const body = length > 0 ? String(await connection.readExactly(length)) : '';
  return { head, body };
}

describe('a connection', () => {
  runTest('is kept for the next request', () =>
    withHandler(path, async (_url, server) => {
      await using connection = await connect(server.port);
      for (const name of ['/a', '/b', '/c']) {
        await connection.write(get(name));
        expect((await readResponse(connection)).body).toBe(name);
      }
      expect(server.connections).toBe(1);
    }),
  );

  const closing: [string, string][] = [
    ['Connection: close', last('/')],
    ['a list with close', get('/', 'Connection: x, close\r\n')],
    ['HTTP/1.0', 'GET / HTTP/1.0\r\n\r\n'],
  ];
  for (const [what, request] of closing) {
    runTest(`is closed after a request with ${what}`, () =>
      withHandler(hello, async (_url, server) => {
        const answer = await exchangeRaw(server.port, request);
        expect(answer).toMatch(/connection: close/i);
        expect(answer.endsWith('hello')).toBe(true);
      }),
    );
  }

  runTest('of HTTP/1.0 is kept when the client asks, and told so', () =>
    withHandler(hello, async (_url, server) => {
      await using connection = await connect(server.port);
      await connection.write('GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n');
      expect((await readResponse(connection)).head).toMatch(/connection: keep-alive/i);
      await connection.write(last('/'));
      expect(await readToEnd(connection)).toMatch(/^HTTP\/1.1 200/);
    }),
  );

  runTest('is closed when the response says so', () =>
    withHandler(
      () => new Response('x', { headers: { connection: 'close' } }),
      async (_url, server) => {
        expect(statusesOf(await exchangeRaw(server.port, get('/')))).toEqual([200]);
      },
    ),
  );

  runTest('handles requests one after the other, in order', async () => {
    const seen: string[] = [];
    await withHandler(
      async (request) => {
        seen.push(`begin ${request.path}`);
        await sleep(request.path === '/1' ? 10 : 1);
        seen.push(`end ${request.path}`);
        return new Response(request.path);
      },
      async (_url, server) => {
        const answer = await exchangeRaw(server.port, get('/1') + get('/2') + last('/3'));
        expect(answer.match(/\/\d$|\/\d(?=HTTP)/g)).toEqual(['/1', '/2', '/3']);
      },
    );
    expect(seen).toEqual(['begin /1', 'end /1', 'begin /2', 'end /2', 'begin /3', 'end /3']);
  });

  runTest('still gets its answer when the client has ended its side', () =>
    withHandler(
      async () => {
        await sleep(5);
        return new Response('late');
      },
      async (_url, server) => {
        await using connection = await connect(server.port);
        await connection.write(get('/'));
        await connection.writeEof();
        const answer = await readToEnd(connection);
        expect(answer).toContain('late');
      },
    ),
  );

  runTest('gets all of its answers when it has ended its side after several requests', () =>
    withHandler(
      async (request) => {
        await sleep(2);
        return new Response(request.path);
      },
      async (_url, server) => {
        await using connection = await connect(server.port);
        await connection.write(get('/1') + get('/2') + get('/3'));
        await connection.writeEof();
        const answer = await readToEnd(connection);
        expect(answer.match(/\/\d(?=HTTP|$)/g)).toEqual(['/1', '/2', '/3']);
        expect(answer.match(/connection: close/gi)).toHaveLength(1);
      },
    ),
  );

  runTest('that only connects and goes is no error', () =>
    withHandler(hello, async (_url, server) => {
      const connection = await connect(server.port);
      await connection.close();
      const reset = await connect(server.port);
      await reset.write('GET / HT');
      reset.abort();
      expect(statusesOf(await exchangeRaw(server.port, last('/')))).toEqual([200]);
    }),
  );
});

describe('a body', () => {
  runTest('is held back until it is asked for, and 100 is said then', () =>
    withHandler(
      async (request) => new Response(await request.text()),
      async (_url, server) => {
        await using connection = await connect(server.port);
        await connection.write(
          'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n',
        );
        expect(String(await connection.readUntil('\r\n\r\n'))).toMatch(/^HTTP\/1.1 100 /);
        await connection.write('hi');
        expect((await readResponse(connection)).body).toBe('hi');
      },
    ),
  );

  runTest('that nobody wants is not asked for: the connection is closed', () =>
    withHandler(
      () => new Response('no', { status: 403 }),
      async (_url, server) => {
        const request = post('', 'Expect: 100-continue\r\n').replace('Length: 0', 'Length: 9');
        const answer = await exchangeRaw(server.port, request);
        expect(statusesOf(answer)).toEqual([403]);
      },
    ),
  );

  runTest('that is small and was not read keeps the connection', () =>
    withHandler(path, async (_url, server) => {
      expect(statusesOf(await exchangeRaw(server.port, post('x'.repeat(500)) + last('/')))).toEqual(
        [200, 200],
      );
    }),
  );

  runTest('that is large and was not read closes it, after the response', () =>
    withHandler(path, async (_url, server) => {
      const answer = await exchangeRaw(server.port, post('x'.repeat(900_000)));
      expect(statusesOf(answer)).toEqual([200]);
      expect(answer).not.toContain('<reset>');
    }),
  );

  runTest('above the limit is a 413 that closes, read by the client', async () => {
    const app = new Application({ maxBodyBytes: 10 });
    app.post('/', async (request) => new Response(await request.text()));
    await using server = await serve(app, { host: '127.0.0.1', port: 0 });
    expect(statusesOf(await exchangeRaw(server.port, post('x'.repeat(900_000))))).toEqual([413]);
    const head = 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n';
    const chunked = `${head}${'4\r\nabcd\r\n'.repeat(5)}0\r\n\r\n`;
    expect(statusesOf(await exchangeRaw(server.port, chunked))).toEqual([413]);
  });

  runTest('that came with its head is read once, and its reader is at its end then', async () => {
    const seen: unknown[] = [];
    await withHandler(
      async (request) => {
        const text = await request.text();
        seen.push(request.bodyUsed, (await failure(request.bytes())).name);
        seen.push(await request.reader.read(), await request.reader.readAll());
        return new Response(text);
      },
      async (_url, server) => {
        const answer = await exchangeRaw(server.port, post('hello', 'Connection: close\r\n'));
        expect(answer).toMatch(/hello$/);
      },
    );
    expect(seen).toEqual([true, 'TypeError', null, Buffer.alloc(0)]);
  });

  runTest('that came with its head is not given to a task that was cancelled', async () => {
    let left = '';
    await withHandler(
      async (request) => {
        const scope = new CancelScope();
        scope.cancel();
        await scope.run(async () => {
          left = 'before';
          await request.bytes();
          left = 'after';
        });
        return new Response('x');
      },
      (_url, server) => exchangeRaw(server.port, post('hello', 'Connection: close\r\n')),
    );
    expect(left).toBe('before');
  });

  runTest('that ends early is an error of the reader', async () => {
    let seen: unknown;
    await withHandler(
      async (request) => {
        seen = await failure(request.text());
        return new Response('x');
      },
      async (_url, server) => {
        await using connection = await connect(server.port);
        await connection.write(post('hello').slice(0, -2));
        await connection.writeEof();
        await readToEnd(connection);
      },
    );
    expect(seen).toBeInstanceOf(HttpError);
  });

  runTest('is read no faster than the handler reads it', async () => {
    await withHandler(
      async (request) => {
        await sleep(20);
        let bytes = 0;
        for await (const chunk of request.reader) bytes += chunk.length;
        return new Response(String(bytes));
      },
      async (_url, server) => {
        await using connection = await connect(server.port);
        const text = post('y'.repeat(1_000_000), 'Connection: close\r\n');
        const sent = deliver(connection, text, 'whole');
        expect(await readToEnd(connection)).toMatch(/1000000$/);
        await sent;
      },
    );
  });
});

describe('a response', () => {
  runTest('to HEAD has the length and no body', async () => {
    for (const make of [
      hello,
      (): Response => new Response(['hello'], { headers: { 'content-length': '5' } }),
    ]) {
      await withHandler(make, async (_url, server) => {
        const request = last('/').replace('GET', 'HEAD');
        const answer = await exchangeRaw(server.port, request);
        expect(answer).toMatch(/content-length: 5\r\n/i);
        expect(answer.endsWith('\r\n\r\n')).toBe(true);
      });
    }
  });

  runTest('without a known length is chunked, or ends with the connection', () =>
    withHandler(
      () => new Response(['ab', 'c']),
      async (_url, server) => {
        const chunked = await exchangeRaw(server.port, last('/'));
        expect(chunked).toMatch(/transfer-encoding: chunked/i);
        // Node 26 joins chunks of one turn.
        expect(chunked).toMatch(/(2\r\nab\r\n1\r\nc|3\r\nabc)\r\n0\r\n\r\n$/);
        const plain = await exchangeRaw(server.port, 'GET / HTTP/1.0\r\n\r\n');
        expect(plain).not.toMatch(/chunked/i);
        expect(plain.endsWith('\r\n\r\nabc')).toBe(true);
      },
    ),
  );

  runTest('with a declared length has just that', async () => {
    const declared = (bytes: number): Response =>
      new Response(['abc'], { headers: { 'content-length': String(bytes) } });
    await withHandler(
      (request) => declared(Number(request.query.get('n'))),
      async (_url, server) => {
        getRunningLoop().setExceptionHandler(() => {});
        expect(await exchangeRaw(server.port, last('/?n=3'))).toMatch(
          /length: 3[\s\S]*\r\n\r\nabc$/,
        );
        for (const wrong of [2, 4]) {
          const answer = await exchangeRaw(server.port, last(`/?n=${wrong}`));
          expect(answer).not.toMatch(/abc$/);
        }
      },
    );
  });

  runTest('cannot set its own framing', () =>
    withHandler(
      () =>
        new Response('abc', {
          headers: { 'transfer-encoding': 'chunked', 'content-length': '99', 'keep-alive': 'x' },
        }),
      async (_url, server) => {
        const answer = await exchangeRaw(server.port, last('/'));
        expect(answer).toMatch(/content-length: 3\r\n/i);
        expect(answer).not.toMatch(/chunked|99|keep-alive/i);
      },
    ),
  );

  runTest('has a date, and the reason of its status', () =>
    withHandler(
      () => new Response('x', { status: 418 }),
      async (_url, server) => {
        const answer = await exchangeRaw(server.port, last('/'));
        expect(answer).toMatch(/^HTTP\/1.1 418 I'm a Teapot\r\n/i);
        expect(answer).toMatch(/\r\ndate: \w{3}, \d\d \w{3} \d{4} /i);
      },
    ),
  );

  runTest('of 204 and 304 has neither body nor chunks', async () => {
    for (const status of [204, 304]) {
      await withHandler(
        () => new Response(null, { status }),
        async (_url, server) => {
          const answer = await exchangeRaw(server.port, last('/'));
          expect(answer).not.toMatch(/transfer-encoding/i);
          expect(answer.endsWith('\r\n\r\n')).toBe(true);
        },
      );
    }
  });

  // covers: aiohttp/streamresponse
  runTest('goes no faster than its client reads', async () => {
    let written = 0;
    const stopped = new Event();
    const handler = (): Response =>
      new Response(async (writer) => {
        try {
          for (let i = 0; i < 1_000; i++) {
            await writer.write(Buffer.alloc(65_536));
            written += 65_536;
          }
        } finally {
          stopped.set();
        }
      });
    await withHandler(handler, async (_url, server) => {
      const connection = await connect(server.port);
      await connection.write(get('/'));
      await moveOnAfter(50, () => stopped.wait());
      expect(stopped.isSet).toBe(false);
      expect(written).toBeLessThan(20 * 1024 * 1024);
      connection.abort();
      await stopped.wait();
    });
  });

  runTest('whose body fails breaks the connection', () =>
    withHandler(
      () =>
        new Response(async (writer) => {
          await writer.write('half');
          throw new Error('disk');
        }),
      async (_url, server) => {
        const seen: unknown[] = [];
        getRunningLoop().setExceptionHandler((_loop, { error }) => seen.push(error));
        const answer = await exchangeRaw(server.port, last('/'));
        expect(answer).not.toMatch(/0\r\n\r\n$/);
        expect(seen).toMatchObject([{ message: 'disk' }]);
      },
    ),
  );
});

describe('a client that leaves', () => {
  runTest('aborts the signal of its request', async () => {
    const aborted = new Event();
    await withHandler(
      async (request) => {
        request.signal.addEventListener('abort', () => aborted.set());
        await aborted.wait();
        return new Response('x');
      },
      async (_url, server) => {
        const connection = await connect(server.port);
        await connection.write(get('/'));
        await sleep(5);
        connection.abort();
        await aborted.wait();
      },
    );
  });

  // covers: aiohttp/handler-cancellation
  runTest('leaves the handler alone by default, and cancels it if that is wanted', async () => {
    for (const handlerCancellation of [false, true]) {
      const [begun, ended] = [new Event(), new Event()];
      let how: unknown = 'normal';
      await withHandler(
        async () => {
          try {
            begun.set();
            await sleep(handlerCancellation ? 20_000 : 30);
          } catch (error) {
            how = error;
            throw error;
          } finally {
            ended.set();
          }
          return new Response('x');
        },
        async (_url, server) => {
          const connection = await connect(server.port);
          await connection.write(get('/'));
          await begun.wait();
          connection.abort();
          await ended.wait();
        },
        { handlerCancellation },
      );
      if (handlerCancellation) expect(how).toBeInstanceOf(CancelledError);
      else expect(how).toBe('normal');
    }
  });

  runTest('is an error to who writes to it', async () => {
    let seen: unknown;
    const ended = new Event();
    await withHandler(
      () =>
        new Response(async (writer) => {
          try {
            for (;;) {
              await writer.write('x'.repeat(10_000));
              await sleep(1);
            }
          } catch (error) {
            seen = error;
            throw error;
          } finally {
            ended.set();
          }
        }),
      async (_url, server) => {
        const connection = await connect(server.port);
        await connection.write(get('/'));
        await connection.read();
        connection.abort();
        await ended.wait();
      },
    );
    expect(seen).toMatchObject({ code: 'ERR_UVIO_BROKEN' });
  });

  realTimeTest('that never reads holds little memory, however much it asks', async () => {
    let handled = 0;
    await withHandler(
      () => {
        handled++;
        return new Response('x'.repeat(10_000));
      },
      async (_url, server) => {
        const connection = await connect(server.port);
        void connection.write(get('/').repeat(20_000));
        await sleep(100);
        const before = handled;
        await sleep(50);
        // What the kernel's buffers hold, and not all.
        expect(handled).toBe(before);
        expect(handled).toBeLessThan(2_000);
        connection.abort();
      },
    );
  });
});
