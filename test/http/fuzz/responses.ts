/**
 * The client's parser of responses as a target: what it takes, llhttp takes as well and reads in
 * the same way, and the verdict does not depend on how the bytes were cut.
 */
import { type ResponseHead, ResponseParser } from '../../../lib/http/client/response-parser.ts';
import { cuts, type Outcome, type Random, type Target } from './engine.ts';
import { parseWithLlhttp } from './llhttp.ts';

const chunked = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n';

const seeds: readonly string[] = [
  'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX: y\r\n\r\nabc',
  'HTTP/1.1 200\r\ncontent-length: 0\r\nSet-Cookie: a=b\r\nSet-Cookie: c\r\n\r\n',
  `${chunked}3;a=b\r\nabc\r\n1\r\nd\r\n0\r\nT: u\r\n\r\n`,
  `${chunked}a\r\n0123456789\r\n0\r\n\r\n`,
  `${chunked}3\t;a=b\r\nabc\r\n0\r\n\r\n`,
  'HTTP/1.0 404 Not Found\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx',
  'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n',
  'HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\nEtag: "x"\r\n\r\n',
  'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end',
  'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n',
];

const words: readonly string[] = [
  ...['\r\n', '\r', '\n', '\r\n\r\n', ' ', '\t', ':', '\0', ';', '\xff', '\x7f', 'HTTP/1.1 200 OK'],
  ...['Content-Length: 1\r\n', 'Content-Length: 1, 1\r\n', 'Transfer-Encoding: chunked\r\n'],
  ...['Transfer-Encoding: gzip, chunked\r\n', 'Transfer-Encoding : chunked\r\n', ' folded\r\n'],
  ...['Connection: close\r\n', 'Connection: keep-alive\r\n', '0\r\n\r\n', '1\r\nx\r\n', '1;\r\n'],
  ...['ffffffffffffffff\r\n', 'HTTP/1.1 103 Early Hints\r\n\r\n', 'HTTP/2.0 200\r\n', '0x1\r\n'],
];

interface Seen {
  readonly interims: readonly number[];
  readonly status: number;
  readonly lines: readonly string[];
  readonly body: string;
  readonly complete: boolean;
  readonly error: string;
}

function parse(method: string, pieces: readonly Buffer[]): Seen {
  const interims: number[] = [];
  let head: ResponseHead | null = null;
  let body = '';
  let complete = false;
  let error = '';
  const parser = new ResponseParser({
    onInterim: (status) => void interims.push(status),
    onHead: (found) => {
      head = found;
    },
    // None asks for one.
    onUpgrade: () => {
      throw new Error('an upgrade');
    },
    onBody: (chunk) => {
      body += chunk.toString('latin1');
    },
    onEnd: () => {
      complete = true;
    },
  });
  parser.begin(method);
  try {
    for (const piece of pieces) if (!parser.idle) parser.feed(piece);
    if (!parser.idle) parser.end();
  } catch (thrown) {
    error = (thrown as Error).message;
  }
  const { status, lines } = (head as ResponseHead | null) ?? { status: 0, lines: [] };
  return { interims, status, lines, body, complete, error };
}

function lowered(lines: readonly string[]): string {
  return JSON.stringify(lines.map((line, i) => (i % 2 === 0 ? line.toLowerCase() : line)));
}

function compare(
  method: string,
  ours: Seen,
  text: string,
): { complaint: string | null; code: string } {
  const bytes = Buffer.from(text, 'latin1');
  const { messages, code } = parseWithLlhttp('RESPONSE', bytes, {
    skipBody: method === 'HEAD',
    ends: true,
  });
  const final = messages.find(({ status }) => status >= 200);
  if (!ours.complete || ours.error !== '') return { complaint: null, code };
  // Equal lengths are one (RFC 9110 8.6), which llhttp refuses.
  if (code.endsWith('_CONTENT_LENGTH')) return { complaint: null, code };
  // Extensions of chunks are dropped, whatever their form.
  if (code === 'HPE_STRICT') return { complaint: null, code };
  // A recipient has to take blanks before them (RFC 9112 7.1.1); llhttp refuses a tab.
  if (code === 'HPE_INVALID_CHUNK_SIZE' && /^[\da-f]+[ \t]+;/im.test(text)) {
    return { complaint: null, code };
  }
  // The end of a connection is the final response's to tell of.
  if (ours.interims.length > 0 && code === 'HPE_CLOSED_CONNECTION')
    return { complaint: null, code };
  const same =
    final?.complete === true &&
    final.status === ours.status &&
    lowered(final.lines) === lowered(ours.lines) &&
    final.body === ours.body;
  if (same) return { complaint: null, code };
  return {
    complaint: `we read ${JSON.stringify(ours)}, llhttp ${JSON.stringify(final)} ${code}`,
    code,
  };
}

export const responseTarget: Target = {
  name: 'responses',
  seeds,
  words,
  run(text: string, random: Random): Outcome {
    const method = text.length % 5 === 0 ? 'HEAD' : 'GET';
    const [whole, ...others] = cuts(text, random).map((pieces) => parse(method, pieces));
    const ours = whole as Seen;
    const { complaint, code } = compare(method, ours, text);
    const { interims, status, complete, error } = ours;
    const kind = [method, interims.length > 0, Math.floor(status / 100), complete, error, code];
    const signature = kind.join(' ');
    // Which of several faults is told of may depend on what came first.
    const verdict = (seen: Seen): string =>
      JSON.stringify(seen, (key, value) => (key === 'error' ? value !== '' : value));
    for (const other of others) {
      if (verdict(other) === verdict(ours)) continue;
      return {
        signature,
        complaint: `${JSON.stringify(ours)} whole, ${JSON.stringify(other)} cut`,
      };
    }
    return { signature, complaint };
  },
};
