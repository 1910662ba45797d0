/**
 * What stands in single headers and in targets: read by us and by other libraries, where there is
 * one, from the same text. What both take they take for the same.
 */
import { createRequire } from 'node:module';
import { isIP } from 'node:net';
import { dirname, join } from 'node:path';
import type { Call } from '../../../lib/http/call.ts';
import { readEvents } from '../../../lib/http/client/event-reader.ts';
import { chooseEncoding, type Encoding } from '../../../lib/http/compress.ts';
import { parseCookies, setCookie } from '../../../lib/http/cookies.ts';
import type { ServerSentEvent } from '../../../lib/http/events.ts';
import { checkHead } from '../../../lib/http/framing.ts';
import { trimBlanks } from '../../../lib/http/headers.ts';
import { parsePath } from '../../../lib/http/path-params.ts';
import { readForwarded } from '../../../lib/http/proxy.ts';
import {
  type ByteRange,
  checkConditions,
  parseRanges,
  rangeHolds,
} from '../../../lib/http/ranges.ts';
import { ServerRequest } from '../../../lib/http/request.ts';
import { Router } from '../../../lib/http/router.ts';
import { parseExtensions } from '../../../lib/http/websocket/extensions.ts';
import type { Exchange } from '../../../lib/http/wire.ts';
import type { ByteReader } from '../../../lib/io/net-types.ts';
import { cuts, type Outcome, type Random, type Target } from './engine.ts';

const require = createRequire(import.meta.url);
// Parts of Express and of ws, which are tested with.
const ofExpress = createRequire(require.resolve('express'));
const Negotiator = ofExpress('negotiator') as new (request: {
  headers: Record<string, string>;
}) => { encodings(known: string[], options: { preferred: string[] }): string[] };
const rangeParser = createRequire(ofExpress.resolve('send'))('range-parser') as (
  size: number,
  header: string,
) => { start: number; end: number }[] | -1 | -2;
const ofWs = require(join(dirname(require.resolve('ws/package.json')), 'lib/extension.js')) as {
  parse(header: string): Record<string, Record<string, (string | true)[]>[]>;
};

/** Header values as they can come: no control characters but the tab, no blanks around. */
function asValue(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those that no parser lets through.
  return text.replace(/[\0-\x08\x0a-\x1f\x7f]/g, '').replace(/^[\t ]+|[\t ]+$/g, '');
}

function same(one: unknown, other: unknown, what: string): string | null {
  const [ours, theirs] = [JSON.stringify(one), JSON.stringify(other)];
  return ours === theirs ? null : `${what}: we read ${ours}, others ${theirs}`;
}

// ---- ranges ----

const size = 100;

function bytesOf(ranges: readonly ByteRange[]): string {
  return ranges.map(({ start, end }) => `${start}-${end - 1}`).join();
}

function runRange(text: string): Outcome {
  const header = asValue(text);
  const ours = parseRanges(header, size);
  // A suffix that is longer than the whole is the whole (RFC 9110 14.1.2), which it does not know.
  const shorter = header.replace(/([=,]\s*-)(\d+)/g, (_, dash, count) =>
    Number(count) > size ? `${dash}${size}` : `${dash}${count}`,
  );
  const theirs = rangeParser(size, shorter);
  const signature = `${ours?.length} ${typeof theirs === 'number' ? theirs : theirs.length}`;
  const within = ours?.every(({ start, end }) => start >= 0 && start < end && end <= size);
  if (within === false) return { signature, complaint: `gives ${JSON.stringify(ours)}` };
  const sum = ours?.reduce((bytes, { start, end }) => bytes + end - start, 0) ?? 0;
  if (sum > size) return { signature, complaint: 'gives more than there is' };
  if (ours === null || theirs === -2) {
    // One range of plain form is not to be overlooked; what others do not take, we do not either.
    const plain = /^bytes=(\d{1,9})-(\d{0,9})$/.exec(header);
    const right = plain !== null && (plain[2] === '' || Number(plain[1]) <= Number(plain[2]));
    const wrong = ours === null ? right : ours.length > 0;
    return { signature, complaint: wrong ? `we read ${JSON.stringify(ours)}` : null };
  }
  const found = theirs === -1 ? [] : theirs.map(({ start, end }) => ({ start, end: end + 1 }));
  return { signature, complaint: same(bytesOf(ours), bytesOf(found), 'ranges') };
}

// ---- accept-encoding ----

const encodings: readonly Encoding[] = ['br', 'gzip', 'deflate'];
const entryForm = /^[a-z*-]+(?:[\t ]*;[\t ]*q=(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?))?$/i;

function runEncoding(text: string): Outcome {
  const header = asValue(text);
  const ours = chooseEncoding(header);
  const entries = header.split(',').map((entry) => trimBlanks(entry));
  const names = entries.map((entry) => (/^[a-z*-]+/i.exec(entry)?.[0] ?? '').toLowerCase());
  // Another weight, a name twice and an alias: each may do as it likes.
  const plain =
    entries.every((entry) => entryForm.test(entry)) &&
    new Set(names).size === names.length &&
    !names.includes('x-gzip');
  const known = [...encodings];
  const [theirs = null] = new Negotiator({ headers: { 'accept-encoding': header } }).encodings(
    known,
    { preferred: known },
  );
  const signature = `${plain} ${ours} ${theirs} ${Math.min(3, entries.length)}`;
  return { signature, complaint: plain ? same(ours, theirs, 'encoding') : null };
}

// ---- cookies ----

function runCookies(text: string): Outcome {
  const header = asValue(text);
  const found = [...parseCookies(header)];
  const signature = `${Math.min(4, found.length)} ${header.includes('%')} ${header.includes('"')}`;
  for (const [name, value] of found) {
    const raw = header.split(';').find((part) => trimBlanks(part.split('=')[0] ?? '') === name);
    if (raw === undefined) return { signature, complaint: `no cookie of the name ${name}` };
    let line: string;
    try {
      line = setCookie(name, value);
    } catch (error) {
      if (error instanceof TypeError) continue;
      return { signature, complaint: `${error}` };
    }
    if (/[\r\n\0]/.test(line)) return { signature, complaint: 'a line end in Set-Cookie' };
    const back = parseCookies(line.split(';')[0] as string).get(name);
    if (back !== value) return { signature, complaint: `${value} comes back as ${back}` };
  }
  return { signature, complaint: null };
}

// ---- preconditions ----

const validators = { etag: '"abc"', modifiedMs: Date.UTC(2026, 0, 2, 3, 4, 5) };
const conditions = ['if-match', 'if-none-match', 'if-modified-since', 'if-unmodified-since'];

function runConditions(text: string): Outcome {
  const value = asValue(text);
  const seen = conditions.map((one) =>
    checkConditions('GET', (name) => (name === one ? value : null), validators),
  );
  seen.push(rangeHolds(value, validators) ? 304 : null);
  return { signature: seen.join(), complaint: null };
}

// ---- forwarded ----

function runForwarded(text: string): Outcome {
  const value = asValue(text);
  const names = ['forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto'];
  const seen = names.map((one) =>
    readForwarded(
      { header: (name) => (name === one ? value : null) } as Exchange,
      '10.0.0.1',
      (ip) => ip.startsWith('10.'),
    ),
  );
  const bad = seen.find(
    ({ ip, host, scheme }) =>
      isIP(ip) === 0 ||
      (host !== null && /[\s/\\@?#"]/.test(host)) ||
      (scheme !== null && !/^https?$/.test(scheme)),
  );
  const signature = seen.map(({ ip, host, scheme }) => `${ip.length} ${host === null} ${scheme}`);
  return { signature: signature.join(), complaint: bad === undefined ? null : JSON.stringify(bad) };
}

// ---- extensions of WebSockets ----

function runExtensions(text: string): Outcome {
  const header = asValue(text);
  const ours = parseExtensions(header);
  let theirs: Record<string, Record<string, (string | true)[]>[]> | null = null;
  try {
    theirs = ofWs.parse(header);
  } catch {
    // Refused.
  }
  const signature = `${ours?.length} ${theirs === null}`;
  if (ours === null || theirs === null) {
    const complaint = ours === null ? null : `ws refuses what we read: ${JSON.stringify(ours)}`;
    return { signature, complaint };
  }
  const flat = ours.map(({ name, parameters }) => [
    name,
    [...parameters].map(([key, value]) => [key, value ?? true]),
  ]);
  const counts = Object.values(theirs).reduce((sum, list) => sum + list.length, 0);
  if (counts !== flat.length) return { signature, complaint: `${counts} of ${flat.length} offers` };
  // A set: a header may hold thousands of offers.
  const textOf = (name: string, pairs: unknown[]): string =>
    `${name} ${JSON.stringify(pairs.sort())}`;
  const there = new Set<string>();
  for (const [name, list] of Object.entries(theirs)) {
    for (const one of list) there.add(textOf(name, Object.entries(one)));
  }
  for (const [name, parameters] of flat as [string, [string, string | true][]][]) {
    const wanted = textOf(
      name,
      parameters.map(([key, value]) => [key, [value]]),
    );
    if (!there.has(wanted)) return { signature, complaint: `ws has no ${wanted}` };
  }
  return { signature, complaint: null };
}

// ---- targets ----

const limits = { maxHeaderBytes: 16_384, maxHeaders: 100 } as never;
const router = new Router(
  ['/a/:one', '/b/:one/c', '/d/:n(\\d+)', '/e/*rest', '/f'].map((path) => ({
    method: 'GET',
    parts: parsePath(path),
    app: null as never,
    chain: null as never,
    maxBodyBytes: 0,
  })),
);

function requestOf(target: string): ServerRequest {
  const at = target.indexOf('?');
  const exchange = {
    method: 'GET',
    target,
    secure: false,
    header: (name: string) => (name === 'host' ? 'h.test:81' : null),
    localAddress: { address: '127.0.0.1', port: 81, family: 'IPv4' },
  };
  return new ServerRequest({
    exchange,
    path: at < 0 ? target : target.slice(0, at),
    settings: { trust: null },
  } as unknown as Call);
}

/** Values of a path, as the Web would read them; null for what cannot be. */
function decoded(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

function runTarget(text: string): Outcome {
  const head = { method: 'GET', target: text, httpVersion: '1.1', lines: ['Host', 'h.test:81'] };
  if (checkHead(head, limits) !== null) return { signature: 'refused', complaint: null };
  if (!text.startsWith('/')) {
    const { url } = requestOf(text);
    const complaint = URL.canParse(text) ? same(url, new URL(text).href, 'url') : null;
    return { signature: `absolute ${URL.canParse(url)}`, complaint };
  }
  const request = requestOf(text);
  const web = new URL(`http://h.test:81${text}`);
  const found = router.find('GET', request.path);
  const params = Object.entries(found?.params ?? {});
  const kinds = [params.map(([name]) => name), request.query.size > 0, text.includes('%')];
  const signature = kinds.join(' ');
  const wrong =
    same(request.url, web.href, 'url') ?? same([...request.query], [...web.searchParams], 'query');
  if (wrong !== null) return { signature, complaint: wrong };
  const parts = request.path.split('/');
  for (const [name, value] of params) {
    const raw = name === 'rest' ? parts.slice(2).join('/') : (parts[2] as string);
    const other = same(value, decoded(raw), name);
    if (other !== null && decoded(raw) !== null) return { signature, complaint: other };
  }
  return { signature, complaint: null };
}

// ---- events ----

async function eventsOf(pieces: readonly Buffer[]): Promise<ServerSentEvent[]> {
  async function* all(): AsyncGenerator<Buffer> {
    yield* pieces;
  }
  const found: ServerSentEvent[] = [];
  for await (const event of readEvents(all() as unknown as ByteReader)) found.push(event);
  return found;
}

/** The rules of HTML 9.2.6, over the whole text. */
function eventsByRule(text: string): ServerSentEvent[] {
  const found: ServerSentEvent[] = [];
  let fields: Record<string, string> = {};
  let data: string[] = [];
  let id: string | undefined;
  const lines = text.replace(/^\ufeff/, '').split(/\r\n|\n|\r/);
  for (const line of lines.slice(0, -1)) {
    if (line === '') {
      const { event, retry } = fields;
      if (data.length > 0) {
        found.push({
          data: data.join('\n'),
          ...(event && { event }),
          ...(id !== undefined && { id }),
          ...(retry !== undefined && { retryMs: Number(retry) }),
        });
        fields = {};
      } else delete fields['event'];
      data = [];
      continue;
    }
    const [, name = '', value = ''] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? [];
    if (name === 'data') data.push(value);
    if (name === 'event') fields['event'] = value;
    if (name === 'id' && !value.includes('\0')) id = value;
    if (name === 'retry' && /^\d{1,9}$/.test(value)) fields['retry'] = value;
  }
  return found;
}

async function runEvents(text: string, random: Random): Promise<Outcome> {
  const wanted = eventsByRule(Buffer.from(text, 'latin1').toString('utf8'));
  const keys = wanted.slice(0, 2).map((event) => Object.keys(event).join());
  const signature = `${Math.min(4, wanted.length)} ${keys}`;
  for (const pieces of cuts(text, random)) {
    const complaint = same(await eventsOf(pieces), wanted, 'events');
    if (complaint !== null) return { signature, complaint };
  }
  return { signature, complaint: null };
}

const escapes = [
  '%',
  '%2f',
  '%00',
  '%c3%a4',
  '%ff',
  '%2e%2e',
  '..',
  '//',
  '\\',
  '+',
  '&',
  '=',
  ';',
];

const targets: readonly Target[] = [
  {
    name: 'ranges',
    seeds: ['bytes=0-3', 'bytes=5-', 'bytes=-7', 'bytes=0-3, 7-9,50-', 'bytes=200-', 'bytes=-0'],
    words: ['bytes=', '-', ',', ' ', '\t', '\xa0', '0', '99', '100', '-5', 'BYTES=', '1e1', '+1'],
    run: runRange,
  },
  {
    name: 'encodings',
    seeds: ['gzip, deflate, br', 'br;q=0.5, gzip;q=1.0, *;q=0', '*', 'identity;q=0, gzip ; q=0.1'],
    words: ['gzip', 'br', 'deflate', '*', ',', ';q=', '0', '0.5', '1', ';', ' ', 'x-gzip', '1.001'],
    run: runEncoding,
  },
  {
    name: 'cookies',
    seeds: ['a=b; c=d', 'a="b c"; a=2', 'x=%C3%A4; __proto__=1', 'n=', '=v; only', 'a=b=c;;d=e'],
    words: ['=', ';', '; ', '"', ...escapes, '__proto__', 'constructor', ' ', '\t', ',', '\xe4'],
    run: runCookies,
  },
  {
    name: 'conditions',
    seeds: ['"abc"', 'W/"abc", "x"', '*', 'Fri, 02 Jan 2026 03:04:05 GMT', '2026-01-01'],
    words: ['"', 'W/', ',', '*', '"abc"', 'GMT', '2026', ' ', '-', ':', '+275760'],
    run: runConditions,
  },
  {
    name: 'forwarded',
    seeds: [
      'for=1.2.3.4;proto=https;host=a.test, for="[2001:db8::1]:80"',
      '1.2.3.4, 10.0.0.2',
      'a.test:80',
      'https, http',
      'For="10.0.0.7:81"; Proto=HTTP; by=_x',
    ],
    words: [
      'for=',
      'host=',
      'proto=',
      ';',
      ',',
      '"',
      '[',
      ']',
      '::1',
      '10.0.0.9',
      ':',
      '__proto__=',
    ],
    run: runForwarded,
  },
  {
    name: 'extensions',
    seeds: [
      'permessage-deflate; client_max_window_bits; server_max_window_bits=10',
      'permessage-deflate; a="b", x-other; c=d;e',
      'permessage-deflate',
    ],
    words: [
      'permessage-deflate',
      ';',
      ',',
      '=',
      '"',
      ' ',
      '\t',
      'a',
      '\\',
      'client_max_window_bits',
    ],
    run: runExtensions,
  },
  {
    name: 'targets',
    seeds: [
      '/a/b?c=d&e=%20f',
      '/b/x%2Fy/c',
      '/d/17',
      '/e/x/y/z?',
      '/f?a=+&b',
      'http://h:8/p?q',
      '*',
    ],
    words: [
      '/a/',
      '/b/',
      '/c',
      '/d/',
      '/e/',
      '?',
      '#',
      ...escapes,
      'http://',
      '@',
      ':',
      '"',
      '\xe4',
    ],
    run: runTarget,
  },
  {
    name: 'events',
    seeds: [
      'data: a\n\n',
      'event: x\r\ndata: b\r\ndata:c\r\nid: 7\r\nretry: 10\r\n\r\n: note\n\ndata\n\n',
      '\xef\xbb\xbfdata: \xc3\xa4\r\rid\ndata: x\n\n',
    ],
    words: [
      'data: ',
      'data',
      'event:',
      'id: ',
      'retry: 5',
      '\n',
      '\r',
      '\r\n',
      ':',
      '\0',
      '\xc3\xa4',
    ],
    shortRounds: 300,
    run: runEvents,
  },
];

export const valueTargets: readonly Target[] = targets.map((one) => ({ ...one, maxKept: 150 }));
