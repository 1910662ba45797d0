/** Servers that are broken or mean harm: an error, a clean pool, and the next request is right. */
import { gzipSync } from 'node:zlib';
import { describe, expect } from 'vitest';
import {
  ClientPayloadError,
  ClientResponseError,
  ClientTimeoutError,
  ServerDisconnectedError,
} from '../../lib/http/index.ts';
import { type Connection, sleep } from '../../lib/index.ts';
import { failure, realTimeTest, runTest } from '../task/support.ts';
import { expectClean, failsWith, ok, withRaw, withSession } from './client-support.ts';
import { deliver } from './support.ts';

const heads: [string, string][] = [
  ['no status line', 'hello\r\n\r\n'],
  ['HTTP/2.0', 'HTTP/2.0 200 OK\r\n\r\n'],
  ['HTTP/0.9', '<html>\n\n'],
  ['a status of two digits', 'HTTP/1.1 20 OK\r\ncontent-length: 0\r\n\r\n'],
  ['a status of four digits', 'HTTP/1.1 2000 OK\r\ncontent-length: 0\r\n\r\n'],
  ['a blank before the status line', ' HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n'],
  ['an empty line before it', '\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n'],
  ['a control character in the reason', 'HTTP/1.1 200 O\x01K\r\ncontent-length: 0\r\n\r\n'],
  ['bare line feeds', 'HTTP/1.1 200 OK\ncontent-length: 0\n\n'],
  ['one bare line feed', 'HTTP/1.1 200 OK\r\na: b\ncontent-length: 0\r\n\r\n'],
  ['a bare CR in a value', 'HTTP/1.1 200 OK\r\na: b\rc: d\r\ncontent-length: 0\r\n\r\n'],
  ['NUL in a value', 'HTTP/1.1 200 OK\r\na: b\0\r\ncontent-length: 0\r\n\r\n'],
  ['a blank before the colon', 'HTTP/1.1 200 OK\r\ncontent-length : 5\r\n\r\n'],
  ['a header without a colon', 'HTTP/1.1 200 OK\r\nnonsense\r\n\r\n'],
  ['a header without a name', 'HTTP/1.1 200 OK\r\n: x\r\n\r\n'],
  ['a folded header', 'HTTP/1.1 200 OK\r\na: b\r\n c\r\ncontent-length: 0\r\n\r\n'],
  ['two lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc'],
  ['a list of lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 2, 3\r\n\r\nabc'],
  ['a negative length', 'HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n'],
  ['a signed length', 'HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nab'],
  ['a hexadecimal length', 'HTTP/1.1 200 OK\r\ncontent-length: 0x2\r\n\r\nab'],
  ['a length beyond all numbers', `HTTP/1.1 200 OK\r\ncontent-length: ${'9'.repeat(30)}\r\n\r\n`],
  ['an empty length', 'HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\n'],
  [
    'length and chunks',
    'HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
  ],
  ['another coding', 'HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n'],
  ['a coding twice', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n'],
  // llhttp takes neither for what it says, and reads on until the connection ends.
  ['a tab behind a coding', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\t\r\n\r\n0\r\n\r\n'],
  ['a tab behind a length', 'HTTP/1.1 200 OK\r\ncontent-length: 2 \t \r\n\r\nab'],
  ['chunks of HTTP/1.0', 'HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n'],
  ['a protocol nobody asked for', 'HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\n'],
  ['endless interim responses', 'HTTP/1.1 103 Early\r\na: b\r\n\r\n'.repeat(40)],
  ['endless headers', `HTTP/1.1 200 OK\r\n${'a: b\r\n'.repeat(10_000)}`],
  ['an endless header', `HTTP/1.1 200 OK\r\na: ${'b'.repeat(100_000)}`],
  ['too many headers', `HTTP/1.1 200 OK\r\n${'a: b\r\n'.repeat(300)}\r\n`],
];

const chunked = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n';
const bodies: [string, string][] = [
  ['a size that is no number', `${chunked}xyz\r\nabc\r\n0\r\n\r\n`],
  ['a signed size', `${chunked}+2\r\nab\r\n0\r\n\r\n`],
  ['a size with 0x', `${chunked}0x2\r\nab\r\n0\r\n\r\n`],
  ['an empty size', `${chunked}\r\n\r\n`],
  ['a size beyond all numbers', `${chunked}${'f'.repeat(17)}\r\n`],
  ['a blank after a size', `${chunked}2 \r\nab\r\n0\r\n\r\n`],
  ['a bare line feed after a size', `${chunked}2\nab\r\n0\r\n\r\n`],
  ['a chunk longer than its size', `${chunked}2\r\nabc\r\n0\r\n\r\n`],
  ['a bare line feed after a chunk', `${chunked}2\r\nab\n0\r\n\r\n`],
  ['an endless extension', `${chunked}2;${'x'.repeat(10_000)}`],
  ['many extensions', `${chunked}${`1;${'x'.repeat(2_000)}\r\na\r\n`.repeat(20)}`],
  ['a trailer that is no header', `${chunked}0\r\nnonsense\r\n\r\n`],
  ['endless trailers', `${chunked}0\r\n${'a: b\r\n'.repeat(10_000)}`],
  ['its end too early', 'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab'],
  ['its end within a chunk', `${chunked}9\r\nab`],
  ['no last chunk', `${chunked}2\r\nab\r\n`],
  [
    'bytes that are no gzip',
    'HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nabcd',
  ],
  [
    'half a gzip',
    `HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 12\r\n\r\n${gzipSync('hello')
      .subarray(0, 12)
      .toString('latin1')}`,
  ],
  [
    'too many encodings',
    `HTTP/1.1 200 OK\r\ncontent-encoding: ${'gzip, '.repeat(3)}gzip\r\ncontent-length: 1\r\n\r\na`,
  ],
];

/** Bad once, then right; after the bad one the connection is closed. */
function once(text: string): (request: string, connection: Connection) => unknown {
  let first = true;
  return async (_request, connection) => {
    if (!first) return ok;
    first = false;
    await connection.write(Buffer.from(text, 'latin1')).catch(() => {});
    return null;
  };
}

// covers: aiohttp/error-tree
describe('a malformed head', () => {
  runTest('of any kind is an error, and the next request is right', async () => {
    for (const [what, text] of heads) {
      await withRaw(once(text), (url) =>
        withSession({}, async (session) => {
          const error = await failure(session.get(url));
          expect([what, error instanceof ClientResponseError]).toEqual([what, true]);
          expect([what, error.status]).toEqual([what, 0]);
          await expectClean(session, url);
        }),
      );
    }
  });
});

describe('a malformed body', () => {
  runTest('of any kind is an error, and the next request is right', async () => {
    for (const [what, text] of bodies) {
      await withRaw(once(text), (url) =>
        withSession({}, async (session) => {
          const error = await failure(session.get(url).text());
          expect([what, error instanceof ClientPayloadError]).toEqual([what, true]);
          await expectClean(session, url);
        }),
      );
    }
  });

  runTest('is the same error however its bytes are cut', async () => {
    const some = [...heads.slice(0, 12), ...bodies.slice(0, 9)];
    for (const [what, text] of some) {
      if (text.length > 500) continue;
      await withRaw(
        async (_request, connection) => {
          await deliver(connection, text, 'random').catch(() => {});
          return null;
        },
        (url) =>
          withSession({}, async (session) => {
            const error = await failure(session.get(url).text());
            const known =
              error instanceof ClientResponseError || error instanceof ClientPayloadError;
            expect([what, known]).toEqual([what, true]);
          }),
      );
    }
  });
});

describe('a server', () => {
  runTest('that closes without a word is a ServerDisconnectedError', () =>
    withRaw(
      () => null,
      (url) =>
        withSession({}, async (session) => {
          const error = await failsWith(session.get(url), ServerDisconnectedError);
          expect(error.code).toBe('ECONNRESET');
          expect(session.connector.stats()).toEqual({ open: 0, idle: 0, waiting: 0 });
        }),
    ),
  );

  runTest('that sends two responses for one request poisons no later one', () =>
    withRaw(
      () => `${ok}HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil`,
      (url, log) =>
        withSession({}, async (session) => {
          for (let i = 0; i < 3; i++) expect(await session.get(url).text()).toBe('ok');
          expect(log.length).toBe(3);
        }),
    ),
  );

  runTest('that speaks while nobody asked loses its connection', () =>
    withRaw(
      async (request, connection) => {
        await connection.write(ok);
        if (!request.startsWith('GET /late')) return '';
        await sleep(5);
        return 'HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil';
      },
      (url) =>
        withSession({}, async (session) => {
          expect(await session.get(`${url}/late`).text()).toBe('ok');
          while (session.connector.stats().open > 0) await sleep(5);
          expect(await session.get(url).text()).toBe('ok');
        }),
    ),
  );

  runTest('that answers before the body was sent ends the sending', () =>
    withRaw(
      () => ok,
      (url) =>
        withSession({}, async (session) => {
          let ended = false;
          const endless = async function* (): AsyncGenerator<string> {
            try {
              for (;;) {
                yield 'x'.repeat(1000);
                await sleep(1);
              }
            } finally {
              ended = true;
            }
          };
          expect(await session.post(url, { body: endless() }).text()).toBe('ok');
          while (!ended) await sleep(1);
          await expectClean(session, url);
        }),
    ),
  );

  // CVE-2025-69223, CVE-2026-22036
  realTimeTest('with a bomb of gzip is stopped, unless somebody reads it as a stream', () => {
    const bomb = gzipSync(Buffer.alloc(40_000_000));
    const start = 'HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length:';
    const head = `${start} ${bomb.length}\r\n\r\n`;
    return withRaw(
      (request) => (request.startsWith('GET /ok') ? ok : Buffer.concat([Buffer.from(head), bomb])),
      (url) =>
        withSession({}, async (session) => {
          const error = await failsWith(session.get(url).bytes(), ClientPayloadError);
          expect(error.message).toMatch('grows too much');
          const response = await session.get(url);
          let bytes = 0;
          for await (const chunk of response.reader) bytes += chunk.length;
          expect(bytes).toBe(40_000_000);
          await expectClean(session, `${url}/ok`);
        }),
    );
  });

  runTest('that sends its head byte by byte for ever meets the total limit', () =>
    withRaw(
      async (_request, connection) => {
        await connection.write('HTTP/1.1 200 OK\r\n');
        for (let i = 0; i < 1000 && connection.open; i++) {
          await connection.write('a: b\r\n').catch(() => {});
          await sleep(10);
        }
        return null;
      },
      (url) =>
        withSession({ timeoutMs: 50, timeout: { readMs: 1000 } }, async (session) => {
          const error = await failsWith(session.get(url), ClientTimeoutError);
          expect((error as ClientTimeoutError).phase).toBe('total');
        }),
    ),
  );
});
