/** The parser of responses: what is right is read the same way however its bytes are cut. */
import { expect, test } from 'vitest';
import { type ResponseHead, ResponseParser } from '../../lib/http/client/response-parser.ts';

interface Read {
  status: number;
  body: string;
  clean: boolean | null;
  keepAlive: boolean;
  interims: number[];
  headers: readonly string[];
}

/** Feeds the pieces one by one; the connection ends when `ends`. */
function read(method: string, pieces: readonly string[], ends: boolean): Read {
  const found: Read = {
    status: 0,
    body: '',
    clean: null,
    keepAlive: false,
    interims: [],
    headers: [],
  };
  const parser = new ResponseParser({
    onInterim: (status) => found.interims.push(status),
    onHead(head: ResponseHead): void {
      found.status = head.status;
      found.keepAlive = head.keepAlive;
      found.headers = head.lines;
    },
    onUpgrade(): void {},
    onBody(chunk): void {
      found.body += chunk.toString('latin1');
    },
    onEnd(clean): void {
      found.clean = clean;
    },
  });
  parser.begin(method);
  for (const piece of pieces) parser.feed(Buffer.from(piece, 'latin1'));
  if (ends) parser.end();
  return found;
}

type Case = [what: string, method: string, text: string, expected: Partial<Read>];
const chunked = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n';
const simple = 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na';
const cases: Case[] = [
  [
    'a length',
    'GET',
    'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc',
    { body: 'abc', keepAlive: true },
  ],
  ['no reason', 'GET', 'HTTP/1.1 200 \r\ncontent-length: 0\r\n\r\n', { status: 200, body: '' }],
  [
    'no blank after the status',
    'GET',
    'HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n',
    { status: 200 },
  ],
  [
    'a reason beyond ASCII',
    'GET',
    'HTTP/1.1 200 \xe4\r\ncontent-length: 0\r\n\r\n',
    { status: 200 },
  ],
  ['a status nobody knows', 'GET', 'HTTP/1.1 999 X\r\ncontent-length: 0\r\n\r\n', { status: 999 }],
  [
    'one length twice',
    'GET',
    'HTTP/1.1 200 OK\r\ncontent-length: 1, 1\r\ncontent-length: 01\r\n\r\na',
    { body: 'a' },
  ],
  [
    'blanks around values',
    'GET',
    'HTTP/1.1 200 OK\r\nA: \t b c \t\r\nB:\r\ncontent-length:0\r\n\r\n',
    { headers: ['a', 'b c', 'b', '', 'content-length', '0'] },
  ],
  [
    'chunks',
    'GET',
    `${chunked}1\r\na\r\n00A\r\nbcdefghijk\r\n0\r\n\r\n`,
    { body: 'abcdefghijk', keepAlive: true },
  ],
  ['extensions', 'GET', `${chunked}2;a=b\r\nab\r\n0 ; c="d"\r\n\r\n`, { body: 'ab' }],
  ['trailers', 'GET', `${chunked}2\r\nab\r\n0\r\nx: y\r\nz: \r\n\r\n`, { body: 'ab' }],
  ['no body at all', 'GET', `${chunked}0\r\n\r\n`, { body: '' }],
  [
    'interim responses',
    'GET',
    `HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 103 Early\r\na: b\r\n\r\n${simple}`,
    { interims: [100, 103], body: 'a' },
  ],
  ['HEAD', 'HEAD', 'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n', { body: '', keepAlive: true }],
  ['HEAD with chunks', 'HEAD', chunked, { body: '', keepAlive: true }],
  ['204', 'GET', 'HTTP/1.1 204 No\r\n\r\n', { body: '', keepAlive: true }],
  ['304 with a length', 'GET', 'HTTP/1.1 304 No\r\ncontent-length: 9\r\n\r\n', { keepAlive: true }],
  [
    'close',
    'GET',
    'HTTP/1.1 200 OK\r\nconnection: a, Close\r\ncontent-length: 1\r\n\r\na',
    { keepAlive: false },
  ],
  [
    'HTTP/1.0',
    'GET',
    'HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\na',
    { body: 'a', keepAlive: false },
  ],
  [
    'a kept HTTP/1.0',
    'GET',
    'HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 1\r\n\r\na',
    { keepAlive: true },
  ],
  ['until the end', 'GET', 'HTTP/1.1 200 OK\r\n\r\nabc', { body: 'abc', keepAlive: false }],
  ['an empty one until the end', 'GET', 'HTTP/1.1 200 OK\r\n\r\n', { body: '' }],
];

test.each(cases)('%s is read, whole, cut in two anywhere, and byte by byte', (...given) => {
  const [, method, text, expected] = given;
  const whole = read(method, [text], true);
  expect(whole).toMatchObject({ clean: true, ...expected });
  for (let at = 1; at < text.length; at++) {
    expect(read(method, [text.slice(0, at), text.slice(at)], true)).toEqual(whole);
  }
  expect(read(method, [...text], true)).toEqual(whole);
});

test('what comes after a response is told, and belongs to no body', () => {
  for (const [, method, text] of cases.slice(0, 19)) {
    expect(read(method, [`${text}HTTP/1.1 200 OK\r\n`], false).clean).toBe(false);
    const late = read(method, [text, 'HTTP/1.1 200 OK\r\n'], false);
    expect(late).toEqual(read(method, [text], false));
  }
});
