/** Compressed bodies, events, and headers. */
import { EventEmitter, on } from 'node:events';
import { Readable } from 'node:stream';
import { brotliDecompressSync, gunzipSync, inflateSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { HttpHeaders } from '../../lib/http/headers.ts';
import { eventStream, Response } from '../../lib/http/index.ts';
import { CancelScope, getRunningLoop, openConnection, sleep, timeout } from '../../lib/index.ts';
import { failure, runTest } from '../task/support.ts';
import { appOf, fetchOf, withHandler } from './support.ts';

describe('compression', () => {
  const long = 'compress me '.repeat(200);
  const decoders: Record<string, (bytes: Buffer) => Buffer> = {
    gzip: gunzipSync,
    br: brotliDecompressSync,
    deflate: inflateSync,
    none: (bytes) => bytes,
  };
  const cases: [string, string, Response['compress'], string][] = [
    ['gzip, deflate, br', 'the one that packs best', true, 'br'],
    ['gzip;q=1, br;q=0.5', 'the one that the client likes best', true, 'gzip'],
    ['br', 'none but the one that is wanted', 'gzip', 'none'],
    ['*', 'any', 'deflate', 'deflate'],
    ['gzip;q=0', 'none that is refused', true, 'none'],
    ['identity', 'none', true, 'none'],
    ['GZIP', 'whatever the case', true, 'gzip'],
  ];
  for (const [accepted, what, compress, expected] of cases) {
    runTest(`for '${accepted}' takes ${what}`, async () => {
      for (const content of [
        long,
        async (writer: { write(text: string): Promise<void> }) => {
          for (let i = 0; i < 200; i++) await writer.write('compress me ');
        },
      ]) {
        const response = await fetchOf(
          () => new Response(content as never, { compress, headers: { etag: '"1"' } }),
          {
            headers: { 'accept-encoding': accepted },
          },
        );
        expect(response.headers.get('content-encoding') ?? 'none').toBe(expected);
        expect(response.headers.get('vary')).toBe('accept-encoding');
        expect(response.headers.get('etag')).toBe(expected === 'none' ? '"1"' : 'W/"1"');
        const bytes = Buffer.from(await response.arrayBuffer());
        expect((decoders[expected] as (b: Buffer) => Buffer)(bytes).toString()).toBe(long);
      }
    });
  }

  runTest('leaves alone what is small, packed or encoded', async () => {
    for (const [text, headers] of [
      ['small', {}],
      [long, { 'content-type': 'image/png' }],
      [long, { 'content-encoding': 'x' }],
      [long, { 'cache-control': 'no-transform' }],
    ] as const) {
      const response = await fetchOf(() => new Response(text, { compress: true, headers }), {
        headers: { 'accept-encoding': 'gzip' },
      });
      expect(await response.text()).toBe(text);
    }
  });
});

// covers: aiohttp/server-sent-events
describe('events', () => {
  runTest('are formatted line by line', async () => {
    const source = async function* (): AsyncGenerator<
      string | { data: string; event?: string; id?: string; retryMs?: number }
    > {
      yield 'one';
      yield { data: 'two\nlines', event: 'e', id: '7', retryMs: 1500 };
    };
    const response = await fetchOf(() => eventStream(source()));
    expect(response.headers.get('content-type')).toBe('text/event-stream');
    expect(response.headers.get('cache-control')).toBe('no-cache');
    expect(await response.text()).toBe(
      'data: one\n\nevent: e\nid: 7\nretry: 1500\ndata: two\ndata: lines\n\n',
    );
  });

  runTest('go on where the client was', async () => {
    const response = await fetchOf(
      () => eventStream((sink) => sink.send(`after ${sink.lastEventId}`)),
      { headers: { 'last-event-id': '41' } },
    );
    expect(await response.text()).toBe('data: after 41\n\n');
  });

  runTest('have pings between them', async () => {
    const response = await fetchOf(() => eventStream(() => sleep(250), { pingMs: 10 }));
    expect((await response.text()).startsWith(': ping\n\n: ping\n\n')).toBe(true);
  });

  runTest('end when the client goes: the source is cancelled', async () => {
    let ended = '';
    const app = appOf(() =>
      eventStream(async (sink) => {
        try {
          await sink.send('hi');
          await sleep(60_000);
        } finally {
          ended = 'cancelled';
        }
      }),
    );
    const controller = new AbortController();
    const response = await app.fetch(new Request('http://a/', { signal: controller.signal }));
    await (response.body as never as ReadableStream).getReader().read();
    controller.abort();
    await new CancelScope({ timeoutMs: 500 }).run(async () => {
      while (ended === '') await sleep(1);
    });
    expect(ended).toBe('cancelled');
  });

  for (const kind of ['a Web stream', 'an emitter', 'a stream of Node'] as const) {
    runTest(`end when the client goes, which ends ${kind} that is silent`, async () => {
      const reports: unknown[] = [];
      getRunningLoop().setExceptionHandler((_loop, { error }) => reports.push(error));
      const log: string[] = [];
      const emitter = new EventEmitter();
      const sources = {
        'a Web stream': () =>
          new ReadableStream<string>({
            start: (controller) => controller.enqueue('hi'),
            cancel: () => void log.push('ended'),
          }),
        'an emitter': async () => {
          const events = on(emitter, 'event');
          setImmediate(() => emitter.emit('event', 'hi'));
          const map = events[Symbol.asyncIterator]();
          return {
            [Symbol.asyncIterator]: () => ({
              next: async () => {
                const { done, value } = await map.next();
                return { done, value: value?.[0] };
              },
              return: async () => {
                log.push('ended');
                return await map.return?.();
              },
            }),
          };
        },
        'a stream of Node': () => {
          const stream = new Readable({ objectMode: true, read: () => {} });
          stream.on('close', () => log.push('ended')).push('hi');
          return stream;
        },
      };
      const handler = async (): Promise<Response> => eventStream((await sources[kind]()) as never);
      await withHandler(handler, async (_url, server) => {
        const connection = await openConnection({ host: '127.0.0.1', port: server.port });
        await connection.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
        await connection.readUntil('data: hi');
        await connection.close();
        await timeout(5_000, async () => {
          while (server.requests > 0 || log.length === 0) await sleep(1);
        });
      });
      expect(reports).toEqual([]);
      expect(new Set(log)).toEqual(new Set(['ended']));
    });
  }

  runTest('have ids in UTF-8, also when the client tells one', () =>
    withHandler(
      () => eventStream((sink) => sink.send({ data: `${sink.lastEventId}`, id: 'é' })),
      async (_url, server) => {
        for (const id of ['é', 'plain']) {
          const connection = await openConnection({ host: '127.0.0.1', port: server.port });
          await using _closed = connection;
          await connection.write(`GET / HTTP/1.1\r\nHost: a\r\nLast-Event-ID: ${id}\r\n\r\n`);
          expect(String(await connection.readUntil('\n\n'))).toContain(`id: é\ndata: ${id}\n`);
        }
      },
    ),
  );

  test('have no line ends in names, and a source', () => {
    expect(() => eventStream(5 as never)).toThrow(TypeError);
    expect(() => eventStream((async function* () {})(), { pingMs: Number.NaN })).toThrow(TypeError);
  });

  runTest('with a line end in an id end the stream', async () => {
    getRunningLoop().setExceptionHandler(() => {});
    const response = await fetchOf(() =>
      eventStream((sink) => sink.send({ data: 'x', id: 'a\nb' })),
    );
    expect(await failure(response.text())).toBeInstanceOf(Error);
  });
});

describe('headers', () => {
  const make = (init: ConstructorParameters<typeof HttpHeaders>[0]): HttpHeaders =>
    new HttpHeaders(init);

  test('are the same as those of the Web', () => {
    for (const init of [
      { 'X-B': '1', 'x-a': ' 2 ' },
      [
        ['b', '1'],
        ['a', '2'],
        ['b', '3'],
        ['set-cookie', 'x'],
        ['Set-Cookie', 'y'],
      ] as [string, string][],
      new Headers({ c: 'd' }),
    ]) {
      const [ours, web] = [make(init), new Headers(init as never)];
      expect([...ours]).toEqual([...web]);
      expect([...ours.keys()]).toEqual([...web.keys()]);
      expect([...ours.values()]).toEqual([...web.values()]);
      expect(ours.getSetCookie()).toEqual(web.getSetCookie());
    }
  });

  test('are changed in place', () => {
    const headers = make([
      ['a', '1'],
      ['b', '2'],
      ['A', '3'],
    ]);
    expect(headers.get('a')).toBe('1, 3');
    headers.set('A', '4');
    headers.append('c', '5');
    headers.delete('b');
    expect([...headers]).toEqual([
      ['a', '4'],
      ['c', '5'],
    ]);
    expect([headers.has('C'), headers.has('b'), headers.get('b')]).toEqual([true, false, null]);
    const seen: string[] = [];
    headers.forEach((value, name) => {
      seen.push(`${name}=${value}`);
    });
    expect(seen).toEqual(['a=4', 'c=5']);
  });

  test('take lists, and refuse what breaks a line', () => {
    expect(make({ a: ['1', '2'] }).get('a')).toBe('1, 2');
    for (const bad of [
      [['a']],
      [['a', 'b', 'c']],
      { 'a:': 'b' },
      { a: 'b\0' },
      { a: '\u{1f600}' },
      { '': 'x' },
      5,
    ]) {
      expect(() => make(bad as never)).toThrow(TypeError);
    }
  });

  test('decode what they were made from when asked', () => {
    let listed = 0;
    const headers = HttpHeaders.from({
      headerCount: 1,
      header: (asked) => (asked === 'a' ? '1' : null),
      headerList: () => {
        listed++;
        return ['A', '1'];
      },
    });
    expect([headers.get('A'), headers.has('b'), listed]).toEqual(['1', false, 0]);
    headers.append('b', '2');
    expect([...headers]).toEqual([
      ['a', '1'],
      ['b', '2'],
    ]);
    expect(listed).toBe(1);
  });

  // CVE-2026-21710
  test('never hold names of objects', () => {
    const headers = make([
      ['__proto__', 'x'],
      ['constructor', 'y'],
    ]);
    expect([headers.get('__proto__'), headers.get('toString')]).toEqual(['x', null]);
  });
});
