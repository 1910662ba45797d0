/**
 * The addon's parser of requests as a target: what it takes, llhttp takes as well and reads in the
 * same way, and the verdict does not depend on how the bytes were cut.
 */
import type { ExchangeHome, NativeExchange } from '../../../lib/http/native-exchange.ts';
import { NativeIntake } from '../../../lib/http/native-intake.ts';
import type { WireLimits } from '../../../lib/http/wire.ts';
import type { ByteParsers } from '../../../lib/io/handles.ts';
import { cuts, type Outcome, type Random, type Target } from './engine.ts';
import { parseWithLlhttp } from './llhttp.ts';

const host = 'Host: a\r\n';
const chunked = `POST /c HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n`;

/** Each way of framing once. */
export const plainRequests: readonly string[] = [
  `GET /a?b=c HTTP/1.1\r\n${host}X: y\r\nx: \tz \r\n\r\n`,
  `POST /l HTTP/1.1\r\n${host}Content-Length: 3\r\n\r\nabc`,
  `${chunked}3;a="b";c\r\nabc\r\n1\r\nd\r\n0\r\nT: u\r\n\r\n`,
  `${chunked}a\r\n0123456789\r\n0\r\n\r\n`,
  `POST /s HTTP/1.1\r\n${host}Content-Length: 34\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\nx`,
  'GET /o HTTP/1.0\r\nConnection: keep-alive\r\n\r\n',
];

const seeds: readonly string[] = [
  ...plainRequests,
  'GET http://h:8/p?q HTTP/1.1\r\nHost: h:8\r\nConnection: close\r\n\r\n',
  'OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n',
  `GET /w HTTP/1.1\r\n${host}Upgrade: websocket\r\nConnection: Upgrade\r\n\r\nrest`,
  'DELETE /d HTTP/1.1\r\nHost:\r\nContent-Length: 5, 5\r\n\r\nabcde',
  '\r\n\r\nHEAD / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n',
];

const words: readonly string[] = [
  ...['\r\n', '\r', '\n', '\r\n\r\n', ' ', '\t', ':', '\0', ';', '"', '\\', ',', '%0d', '//', '@'],
  ...['Host: b\r\n', 'Content-Length: 1\r\n', 'Content-Length: +1\r\n', 'content-length: 0x1\r\n'],
  ...['Transfer-Encoding: chunked\r\n', 'Transfer-Encoding: chunked, chunked\r\n', 'HTTP/1.1'],
  ...['Transfer-Encoding: identity\r\n', 'Transfer-Encoding : chunked\r\n', 'HTTP/1.0', 'HTTP/2.0'],
  ...['Connection: close\r\n', 'Connection: keep-alive, upgrade\r\n', '0\r\n\r\n', '1\r\nx\r\n'],
  ...['ffffffffffffffff\r\n', '80000000\r\n', '1;\r\n', '1;a=b\r\n', '1 \r\n', ' folded\r\n'],
  ...['CONNECT a:1 ', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'X-Own / HTTP/1.1\r\n', '\xff', '\x7f'],
];

interface Seen {
  readonly requests: readonly string[];
  readonly methods: readonly string[];
  readonly refusal: string;
}

const limits: WireLimits = {
  maxHeaderBytes: 16_384,
  maxHeaders: 100,
  maxPipelined: 1_000,
  keepAliveMs: Infinity,
  headersTimeoutMs: Infinity,
  requestTimeoutMs: Infinity,
  writeTimeoutMs: Infinity,
  maxConcurrentStreams: 1,
};

const home = { closing: false } as unknown as ExchangeHome;

function told(method: string, target: string, lines: readonly string[], body: string): string {
  return JSON.stringify([method, target, lines, body]);
}

function bodyOf(exchange: NativeExchange): string {
  const chunks = exchange.body?.chunks ?? [];
  return Buffer.concat(chunks).toString('latin1');
}

function parse(parsers: ByteParsers, pieces: readonly Buffer[]): Seen {
  const intake = new NativeIntake(home, parsers, limits);
  const queue: NativeExchange[] = [];
  for (const piece of pieces) {
    // As the connection does: nothing is read behind a refusal or a handshake.
    if (intake.refusal !== null || intake.rest !== null) break;
    intake.feed(piece, 0, piece.length, 1_000, queue);
  }
  // Nothing is handled behind the last request of a connection.
  const last = queue.findIndex((one) => !one.keepAlive);
  const complete = queue.slice(0, last < 0 ? Infinity : last + 1).filter((one) => one.complete);
  const { refusal } = intake;
  return {
    requests: complete.map((one) => told(one.method, one.target, one.headerList(), bodyOf(one))),
    methods: complete.map((one) => one.method),
    refusal: refusal === null ? '' : `${refusal.status} ${refusal.reason}`,
  };
}

/** What llhttp does not know, or answers otherwise by rule: nothing is compared from there on. */
const methodsOfBoth: ReadonlySet<string> = new Set([
  ...['GET', 'POST', 'HEAD', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'TRACE'],
]);

function compare(ours: Seen, text: string): { complaint: string | null; code: string } {
  const theirs = parseWithLlhttp('REQUEST', Buffer.from(text, 'latin1'));
  for (let i = 0; i < ours.requests.length; i++) {
    if (!methodsOfBoth.has(ours.methods[i] as string)) break;
    const message = theirs.messages[i];
    const same =
      message?.complete === true &&
      told(message.method, message.target, message.lines, message.body) === ours.requests[i];
    if (same) {
      if (message.upgrade) break;
      continue;
    }
    const found = message === undefined ? `refused it (${theirs.code})` : JSON.stringify(message);
    return { complaint: `we read ${ours.requests[i]}, llhttp ${found}`, code: theirs.code };
  }
  return { complaint: null, code: theirs.code };
}

export function requestTarget(parsers: ByteParsers): Target {
  return {
    name: 'requests',
    seeds,
    words,
    run(text: string, random: Random): Outcome {
      const [whole, ...others] = cuts(text, random).map((pieces) => parse(parsers, pieces));
      const ours = whole as Seen;
      const kinds = ours.requests.map((one) => (one.endsWith('""]') ? 'e' : 'b')).slice(0, 3);
      const { complaint, code } = compare(ours, text);
      const signature = `${kinds.join('')} ${ours.methods.slice(0, 2)} ${ours.refusal} ${code}`;
      for (const other of others) {
        if (JSON.stringify(other) === JSON.stringify(ours)) continue;
        const both = `${JSON.stringify(ours)} whole, ${JSON.stringify(other)} cut`;
        return { signature, complaint: both };
      }
      return { signature, complaint };
    },
  };
}
