/**
 * Verdicts on requests that are malformed or dangerous: one, however the bytes are cut. A comment
 * names the advisories about servers that took what is below it.
 */
import { describe, expect } from 'vitest';
import { Response, type ServeOptions } from '../../lib/http/index.ts';
import { moveOnAfter } from '../../lib/index.ts';
import { policyName } from '../support/policy.ts';
import { runTest } from '../task/support.ts';
import { type Delivery, exchangeRaw, statusesOf, withHandler } from './support.ts';

const get = (lines: string, line = 'GET / HTTP/1.1'): string => `${line}\r\n${lines}\r\n`;
const post = (lines: string, body: string): string =>
  `POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${lines}\r\n${body}`;
const host = 'Host: a\r\nConnection: close\r\n';
const hidden = 'GET /hidden HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';
const chunked = 'Transfer-Encoding: chunked\r\n';

/** RFC 9110 5.5 allows it; llhttp did not before 9.4, nor does the wire of the addon. */
const [major, minor] = (process.versions['llhttp'] as string).split('.').map(Number);
const tabRefused = policyName === 'native' || Number(major) * 100 + Number(minor) < 904;

/** Title, bytes, the statuses of all responses until the server closes. */
type Vector = readonly [string, string, readonly number[] | ((statuses: number[]) => boolean)];

const good: Vector[] = [
  ['a plain request', get(host), [200]],
  ['no blank after the colon', get('Host:a\r\nConnection:close\r\n'), [200]],
  ['blanks around a value', get('Host: \t a \t\r\nConnection: close\r\n'), [200]],
  ['an empty line before the request', `\r\n${get(host)}`, [200]],
  ['HTTP/1.0 without Host', get('', 'GET / HTTP/1.0'), [200]],
  ['HTTP/1.0 with Host', get('Host: a\r\n', 'GET / HTTP/1.0'), [200]],
  [
    'HTTP/1.0, kept, then another',
    `${get('Connection: keep-alive\r\n', 'GET / HTTP/1.0')}${get(host)}`,
    [200, 200],
  ],
  ['an IPv6 host', get('Host: [::1]:80\r\nConnection: close\r\n'), [200]],
  ['an empty host', get('Host:\r\nConnection: close\r\n'), [200]],
  ['absolute form', get(host, 'GET http://a/x HTTP/1.1'), [200]],
  ['asterisk form', get(host, 'OPTIONS * HTTP/1.1'), [404]],
  ['a method of its own', get(host, 'PROPFIND / HTTP/1.1'), [200]],
  ['content-length 0', post('Content-Length: 0\r\n', ''), [200]],
  ['a body', post('Content-Length: 5\r\n', 'hello'), [200]],
  ['chunks', post(chunked, '5\r\nhello\r\n0\r\n\r\n'), [200]],
  ['chunks with upper case sizes', post(chunked, 'A\r\n0123456789\r\n0\r\n\r\n'), [200]],
  ['chunk extensions', post(chunked, '5;a=b;c="d"\r\nhello\r\n0\r\n\r\n'), [200]],
  [
    'trailers that begin as framing does',
    post(chunked, '5\r\nhello\r\n0\r\nTransfer-Encodings: b\r\nContent-Lengt: c\r\n\r\n'),
    [200],
  ],
  ['trailers', post(chunked, '5\r\nhello\r\n0\r\nX-A: b\r\n\r\n'), [200]],
  ['Chunked in capitals', post('Transfer-Encoding: Chunked\r\n', '0\r\n\r\n'), [200]],
  ['three in one go', `${get('Host: a\r\n')}${get('Host: a\r\n')}${get(host)}`, [200, 200, 200]],
  [
    'a body, then another request',
    `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi${get(host)}`,
    [200, 200],
  ],
  [
    'an upgrade that is not one of ours',
    get('Host: a\r\nConnection: upgrade, close\r\nUpgrade: h2c\r\n'),
    [200],
  ],
];

const bad: Vector[] = [
  // CVE-2026-34525
  ['two Hosts', get('Host: a\r\nHost: a\r\n'), [400]],
  ['two different Hosts', get('Host: a\r\nHost: b\r\n'), [400]],
  ['no Host', get(''), [400]],
  ['a Host with a path', get('Host: a/b\r\n'), [400]],
  ['a Host with a blank', get('Host: a b\r\n'), [400]],
  ['a Host with user information', get('Host: u@a\r\n'), [400]],
  ['a Host with a bad port', get('Host: a:b\r\n'), [400]],
  ['a Host list', get('Host: a, b\r\n'), [400]],
  ['two Hosts in HTTP/1.0', get('Host: a\r\nHost: b\r\n', 'GET / HTTP/1.0'), [400]],
  // CVE-2019-15605, CVE-2020-8287, CVE-2022-32213, CVE-2023-47641
  ['length and coding', post(`Content-Length: 3\r\n${chunked}`, `0\r\n\r\n${hidden}`), [400]],
  ['coding and length', post(`${chunked}Content-Length: 3\r\n`, `0\r\n\r\n${hidden}`), [400]],
  ['two codings', post(chunked + chunked, '0\r\n\r\n'), [400]],
  ['chunked, chunked', post('Transfer-Encoding: chunked, chunked\r\n', '0\r\n\r\n'), [400]],
  ['another coding', post('Transfer-Encoding: gzip\r\n', 'x'), [400]],
  ['gzip, chunked', post('Transfer-Encoding: gzip, chunked\r\n', '0\r\n\r\n'), [400]],
  ['chunked is not last', post('Transfer-Encoding: chunked, identity\r\n', '0\r\n\r\n'), [400]],
  ['xchunked', post('Transfer-Encoding: xchunked\r\n', '0\r\n\r\n'), [400]],
  [
    'a coding in HTTP/1.0',
    `POST / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n${chunked}\r\n0\r\n\r\n${hidden}`,
    [400],
  ],
  // CVE-2018-7159, CVE-2023-37276, CVE-2024-23829, CVE-2025-69224: lengths that a lenient parser of
  // numbers takes.
  ['two lengths', post('Content-Length: 5\r\nContent-Length: 6\r\n', 'hello!'), [400]],
  ['the same length twice', post('Content-Length: 5\r\nContent-Length: 5\r\n', 'hello'), [400]],
  ['a list of lengths', post('Content-Length: 5, 5\r\n', 'hello'), [400]],
  ['a length with a sign', post('Content-Length: +5\r\n', 'hello'), [400]],
  ['a negative length', post('Content-Length: -1\r\n', ''), [400]],
  ['a length in hex', post('Content-Length: 0x5\r\n', 'hello'), [400]],
  ['a length with a blank inside', post('Content-Length: 1 1\r\n', 'hello world'), [400]],
  [
    'a length with a tab behind it',
    post('Content-Length: 5\t\r\n', 'hello'),
    [tabRefused ? 400 : 200],
  ],
  ['a length in Arabic digits', post('Content-Length: \xd9\xa5\r\n', 'hello'), [400]],
  ['a length with an underscore', post('Content-Length: 1_1\r\n', 'hello world'), [400]],
  ['an empty length', post('Content-Length: \r\n', ''), [400]],
  ['a length beyond 2^53', post('Content-Length: 99999999999999999999\r\n', ''), [400]],
  // CVE-2021-22959, CVE-2023-47627
  ['a blank before the colon', get('Host : a\r\n'), [400]],
  ['a blank in a name', get('Host: a\r\nX A: b\r\n'), [400]],
  ['no colon', get('Host: a\r\nnonsense\r\n'), [400]],
  ['an empty name', get('Host: a\r\n: b\r\n'), [400]],
  ['a name that is no token', get('Host: a\r\nX(: b\r\n'), [400]],
  // CVE-2023-37276, CVE-2026-34520
  ['NUL in a value', get('Host: a\r\nX: a\0b\r\n'), [400]],
  ['a control character in a value', get('Host: a\r\nX: a\x01b\r\n'), [400]],
  ['CR in a value', get('Host: a\r\nX: a\rb\r\n'), [400]],
  // CVE-2020-8201: it was read as Content-Length once.
  ['CR in a name', post('Content\rLength: 5\r\n', 'hello'), [400]],
  // CVE-2022-32214, CVE-2022-35256, CVE-2023-30589, CVE-2025-23167
  ['LF alone after a line', 'GET / HTTP/1.1\nHost: a\n\n', [400]],
  ['LF alone after a header', 'GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n', [400]],
  ['CR CR LF', 'GET / HTTP/1.1\r\nHost: a\r\r\n\r\n', [400]],
  ['CR X for the last line end', `GET / HTTP/1.1\r\nHost: a\r\n\rX: y\r\n\r\n${hidden}`, [400]],
  ['CR alone after a header', `GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n`, [400]],
  ['a folded line', get('Host: a\r\nX: a\r\n b\r\n'), [400]],
  ['a folded first line', 'GET / HTTP/1.1\r\n Host: a\r\n\r\n', [400]],
  ['a blank at the start', ' GET / HTTP/1.1\r\nHost: a\r\n\r\n', [400]],
  ['no version', 'GET /\r\nHost: a\r\n\r\n', (found) => found[0] === 400 || found[0] === 505],
  ['HTTP/2.0', get(host, 'GET / HTTP/2.0'), [505]],
  ['HTTP/1.2', get(host, 'GET / HTTP/1.2'), [505]],
  ['HTTP/0.9', get(host, 'GET / HTTP/0.9'), [505]],
  ['a version in small letters', get(host, 'GET / http/1.1'), [400]],
  ['a method that is no token', get(host, 'G@T / HTTP/1.1'), [400]],
  // RFC 9112 3 lets a server split at any blanks; node:http does.
  ['two blanks', get(host, 'GET  / HTTP/1.1'), (found) => found[0] === 400 || found[0] === 200],
  ['a target without a slash', get(host, 'GET x HTTP/1.1'), [400]],
  ['a fragment', get(host, 'GET /#a HTTP/1.1'), [400]],
  ['a high byte in the target', get(host, 'GET /\xe4 HTTP/1.1'), [400]],
  ['an asterisk for GET', get(host, 'GET * HTTP/1.1'), [400]],
  ['CONNECT', get(host, 'CONNECT a:80 HTTP/1.1'), [501]],
  ['another expectation', get(`${host}Expect: something\r\n`), [417]],
  ['a chunk size that is none', post(chunked, 'x\r\nhello\r\n0\r\n\r\n'), [400]],
  ['a chunk size with 0x', post(chunked, '0x5\r\nhello\r\n0\r\n\r\n'), [400]],
  ['a chunk size with a sign', post(chunked, '+5\r\nhello\r\n0\r\n\r\n'), [400]],
  ['a chunk size in Arabic digits', post(chunked, '\xd9\xa5\r\nhello\r\n0\r\n\r\n'), [400]],
  ['a chunk size beyond 64 bits', post(chunked, 'fffffffffffffffff\r\nx'), [400]],
  ['a chunk longer than its size', post(chunked, '3\r\nhello\r\n0\r\n\r\n'), [400]],
  ['LF alone after a chunk size', post(chunked, '5\nhello\r\n0\r\n\r\n'), [400]],
  ['LF alone after a chunk', post(chunked, '5\r\nhello\n0\r\n\r\n'), [400]],
  // CVE-2021-22960, CVE-2024-52304
  ['LF in a chunk extension', post(chunked, `2;\nxx\r\n0\r\n\r\n${hidden}`), [400]],
  ['CR in a chunk extension', post(chunked, `2;\rxx\r\n0\r\n\r\n${hidden}`), [400]],
  // CVE-2025-53643
  ['a coding in the trailers', post(chunked, '0\r\nTransfer-Encoding: chunked\r\n\r\n'), [400]],
  ['a length in the trailers', post(chunked, '0\r\nX: y\r\ncontent-LENGTH: 1\r\n\r\n'), [400]],
  ['a bad trailer', post(chunked, '0\r\nX A: b\r\n\r\n'), [400]],
  // CVE-2024-22019
  [
    'extensions of many chunks that are too long together',
    post(chunked, `${`1;${'a'.repeat(200)}\r\nx\r\n`.repeat(100)}0\r\n\r\n`),
    // llhttp counts them for each chunk, the wire of the addon for the body.
    [policyName === 'native' ? 400 : 200],
  ],
  ['extensions without end', post(chunked, `1;${'a'.repeat(20_000)}\r\nx\r\n0\r\n\r\n`), [400]],
  ['junk after a good request', `${get('Host: a\r\n')}junk junk\r\n\r\n`, [200, 400]],
  // CVE-2018-12121, CVE-2026-22815
  ['too many header lines', get(`Host: a\r\n${'X: y\r\n'.repeat(200)}`), [431]],
  ['a header line that is too long', get(`Host: a\r\nX: ${'y'.repeat(20_000)}\r\n`), [431]],
  ['a target that is too long', get(host, `GET /${'y'.repeat(20_000)} HTTP/1.1`), [431]],
  [
    'many short lines that are too long together',
    get(`Host: a\r\n${`X: ${'y'.repeat(190)}\r\n`.repeat(100)}`),
    [431],
  ],
  ['too many trailers', post(chunked, `0\r\n${'X: y\r\n'.repeat(200)}\r\n`), [431]],
  [
    'HTTP/2 without being asked',
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    (found) => found[0] === 400 || found[0] === 505,
  ],
];

const echo = async (request: Request): Promise<Response> =>
  new Response(`${new URL(request.url).pathname} ${await request.text()}`);

/** With small limits: what is too much for these is short enough to come byte by byte. */
const small: ServeOptions = { maxHeaderBytes: 1_024, maxHeaders: 12 };
const long = 'y'.repeat(1_100);
const half = 'y'.repeat(520);
const above: Vector[] = [
  ['within the limits', get(`${host}X: ${half}\r\n`), [200]],
  ['trailers within the limits', post(chunked, `0\r\nX: ${half}\r\n\r\n`), [200]],
  ['a long line', get(`${host}X: ${long}\r\n`), [431]],
  ['a long name', get(`${host}${long}: x\r\n`), [431]],
  ['a long target', get(host, `GET /${long} HTTP/1.1`), [431]],
  ['lines that are long together', get(`${host}X: ${half}\r\nY: ${half}\r\n`), [431]],
  ['many lines', get(`${host}${'X: y\r\n'.repeat(12)}`), [431]],
  ['a long trailer', post(chunked, `0\r\nX: ${long}\r\n\r\n`), [431]],
  ['many trailers', post(chunked, `0\r\n${'X: y\r\n'.repeat(12)}\r\n`), [431]],
  [
    'a header and a trailer that are long together',
    post(`${chunked}X: ${half}\r\n`, `0\r\nX: ${half}\r\n\r\n`),
    [431],
  ],
];

async function check(vectors: Vector[], how: Delivery, options: ServeOptions = {}): Promise<void> {
  const wrong: string[] = [];
  await withHandler(
    echo,
    async (_url, server) => {
      for (const [title, bytes, expected] of vectors) {
        const answer = await moveOnAfter(1_500, () => exchangeRaw(server.port, bytes, how));
        const statuses = statusesOf(answer ?? '');
        const right =
          typeof expected === 'function'
            ? expected(statuses)
            : JSON.stringify(statuses) === JSON.stringify(expected);
        if (!right || answer === undefined || answer.includes('/hidden')) {
          wrong.push(`${title}: ${answer === undefined ? 'left open' : JSON.stringify(statuses)}`);
        }
      }
    },
    options,
  );
  expect(wrong).toEqual([]);
}

describe.each<Delivery>(['whole', 'bytes', 'random'])('delivered %s', (how) => {
  const longest = how === 'bytes' ? 4_000 : Infinity;
  const some = (vectors: Vector[]): Vector[] =>
    vectors.filter(([, bytes]) => bytes.length < longest);

  runTest(`${good.length} good requests are answered`, () => check(some(good), how));
  // covers: aiohttp/limits
  runTest(`${bad.length} bad requests are refused, and close the connection`, () =>
    check(some(bad), how),
  );

  runTest('limits count the bytes of a message (CVE-2018-12121, CVE-2026-54277)', () =>
    check(above, how, small),
  );
});

runTest('a body of 100,000 chunks costs no more than its bytes (CVE-2025-69229)', () =>
  withHandler(echo, async (_url, server) => {
    const body = `${'1\r\nx\r\n'.repeat(100_000)}0\r\n\r\n`;
    const before = process.cpuUsage().user;
    const answer = await exchangeRaw(server.port, post(chunked, body));
    expect(statusesOf(answer)).toEqual([200]);
    expect(answer).toContain('x'.repeat(100_000));
    // About 0.1 s; a copy of all that came for each chunk would be minutes.
    expect(process.cpuUsage().user - before).toBeLessThan(3_000_000);
  }),
);

describe('a target', () => {
  const targets: [target: string, url: RegExp, query: [string, string][]][] = [
    [
      '/p?a=1&a=2',
      /^http:\/\/a\/p\?a=1&a=2$/,
      [
        ['a', '1'],
        ['a', '2'],
      ],
    ],
    // A second one is part of the first name.
    ['/p??a=1', /^http:\/\/a\/p\?\?a=1$/, [['?a', '1']]],
    ['http://b:8/p?c', /^http:\/\/b:8\/p\?c$/, [['c', '']]],
    // Of the right form, but no host of the Web: the server's own address stands for it.
    ['http://%2Fy/p?c', /^http:\/\/127\.0\.0\.1:\d+\/p\?c$/, [['c', '']]],
  ];
  for (const [target, url, query] of targets) {
    runTest(`${target} is read as the Web reads it`, () =>
      withHandler(
        (request) => Response.json([request.path, request.url, [...request.query]]),
        async (_url, server) => {
          const head = `GET ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`;
          const answer = await exchangeRaw(server.port, head);
          const found = JSON.parse(answer.slice(answer.indexOf('\r\n\r\n') + 4));
          expect(found).toEqual(['/p', expect.stringMatching(url), query]);
        },
      ),
    );
  }
});
