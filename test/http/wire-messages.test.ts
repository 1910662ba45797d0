/**
 * HTTP/1 over node:http with light messages, with Node's own, and where a Node wants more of them.
 * Run on every policy: wires that are not node:http's are asked the same.
 */
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { Application, Response } from '../../lib/http/index.ts';
import { LightMessage } from '../../lib/http/light-message.ts';
import { lightMessagesFit, setLightMessages } from '../../lib/http/light-probe.ts';
import { openConnection, sleep } from '../../lib/index.ts';
import { runTest } from '../task/support.ts';
import { deliver, exchangeRaw, readToEnd, withServer } from './support.ts';

const app = new Application()
  .get('/', () => new Response('hello'))
  .get('/later', async () => {
    await sleep(0);
    return new Response('later');
  })
  .get('/parts', () => {
    const parts = async function* (): AsyncGenerator<string> {
      for (const part of ['one', 'two', 'three']) {
        yield part;
        await sleep(0);
      }
    };
    return new Response(parts());
  })
  .post('/bytes', async (request) => new Response(await request.bytes()))
  .post('/length', async (request) => {
    let bytes = 0;
    for await (const chunk of request.body ?? []) bytes += chunk.length;
    return new Response(String(bytes));
  })
  .post('/echo', (request) => {
    // It asks for the body when its own head was given, and so much later that it is out.
    const parts = async function* (): AsyncGenerator<Uint8Array> {
      await sleep(5);
      yield* request.reader;
    };
    return new Response(parts());
  })
  .post('/unread', () => new Response('unread'));

const get = (path: string, version = '1.1', lines = ''): string =>
  `GET ${path} HTTP/${version}\r\nHost: a\r\n${lines}\r\n`;
const post = (path: string, body: string, lines = ''): string =>
  `POST ${path} HTTP/1.1\r\nHost: a\r\n${lines}Content-Length: ${body.length}\r\n\r\n${body}`;
const chunked = (path: string, parts: string[]): string =>
  `POST ${path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n` +
  parts.map((part) => `${part.length.toString(16)}\r\n${part}\r\n`).join('');
const last = get('/', '1.1', 'Connection: close\r\n');

/** What a client sees, but for heads. */
const bodies = (answer: string): string[] =>
  answer.split(/HTTP\/1\.1 /).flatMap((part) => {
    const [head = '', ...rest] = part.split('\r\n\r\n');
    if (head === '') return [];
    return [`${head.slice(0, 3)} ${rest.join('\r\n\r\n')}`];
  });

function suite(): void {
  for (const how of ['whole', 'random'] as const) {
    const long = 'x'.repeat(how === 'whole' ? 200_000 : 20_000);
    runTest(`bodies of all kinds, ${how}`, () =>
      withServer(app, async (_url, server) => {
        const requests =
          get('/later') +
          post('/bytes', 'abc') +
          post('/length', long) +
          post('/unread', 'dropped') +
          chunked('/bytes', ['abc', 'defg', '']) +
          chunked('/length', [long, long, '']) +
          chunked('/length', ['']) +
          get('/parts') +
          last;
        const connection = await openConnection({ host: '127.0.0.1', port: server.port });
        await using _closed = connection;
        const answer = readToEnd(connection);
        await deliver(connection, requests, how);
        expect(bodies(String(await answer))).toEqual([
          '200 later',
          '200 abc',
          `200 ${long.length}`,
          '200 unread',
          '200 abcdefg',
          `200 ${2 * long.length}`,
          '200 0',
          '200 3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n',
          '200 hello',
        ]);
      }),
    );
  }

  runTest('many pipelined requests, each answered once and in order', () =>
    withServer(app, async (_url, server) => {
      const paths = Array.from({ length: 200 }, (_, i) => (i % 3 === 0 ? '/later' : '/'));
      const answer = await exchangeRaw(server.port, paths.map((p) => get(p)).join('') + last);
      const wanted = paths.map((path) => (path === '/' ? '200 hello' : '200 later'));
      expect(bodies(answer)).toEqual([...wanted, '200 hello']);
    }),
  );

  runTest('100 is never said behind the head of a response', () =>
    withServer(app, async (_url, server) => {
      const asks = post('/echo', 'abc', 'Expect: 100-continue\r\n');
      expect(bodies(await exchangeRaw(server.port, asks))).toEqual(['200 3\r\nabc\r\n0\r\n\r\n']);
    }),
  );

  runTest('100-continue, HTTP/1.0 and a client that ends early', () =>
    withServer(app, async (_url, server) => {
      const asks = post('/bytes', 'abc', 'Expect: 100-continue\r\n') + last;
      expect(bodies(await exchangeRaw(server.port, asks))).toEqual([
        '100 ',
        '200 abc',
        '200 hello',
      ]);
      const kept = 'Connection: keep-alive\r\n';
      const old = await exchangeRaw(server.port, get('/', '1.0', kept) + get('/parts', '1.0'));
      expect(bodies(old)).toEqual(['200 hello', '200 onetwothree']);
      expect(old.toLowerCase()).toContain('connection: keep-alive\r\n');
      const connection = await openConnection({ host: '127.0.0.1', port: server.port });
      await using _closed = connection;
      await connection.write(get('/later') + get('/parts'));
      connection.writeEof();
      expect(bodies(String(await readToEnd(connection))).map((one) => one.slice(0, 3))).toEqual([
        '200',
        '200',
      ]);
    }),
  );
}

describe('light messages', () => {
  runTest('fit every Node that uvio supports', () => {
    expect(lightMessagesFit()).toBe(true);
  });
  suite();
});

describe("Node's own messages", () => {
  beforeAll(() => setLightMessages(false));
  afterAll(() => setLightMessages(null));
  suite();
});

describe('a Node whose server asks for more', () => {
  const { push } = LightMessage.prototype;

  runTest('is served with its own messages', () => {
    setLightMessages(null);
    try {
      LightMessage.prototype.push = () => {
        throw new TypeError('No such field');
      };
      expect(lightMessagesFit()).toBe(false);
    } finally {
      LightMessage.prototype.push = push;
      setLightMessages(null);
    }
  });
});
