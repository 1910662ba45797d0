/**
 * The opening handshake of RFC 6455 §4, both sides: pure functions over headers.
 *
 * In: headers of the other side. Out: what was agreed on, or why not. Never: a socket.
 */
import { createHash, randomBytes } from 'node:crypto';
import { isToken } from '../headers.ts';
import {
  type Agreement,
  type CompressPlan,
  chooseOffer,
  clientOffer,
  parseExtensions,
  readAnswer,
} from './extensions.ts';

const version = '13';
const magic = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** What both sides agreed on. */
export interface Agreed {
  /** '' for none. */
  readonly protocol: string;
  /** Null: no compression. */
  readonly deflate: Agreement | null;
}

/** Of most sockets: one object for all of them. */
const plain: Agreed = { protocol: '', deflate: null };

/** The value of a header by its name in lower case, lines joined with ', '; null without one. */
export type GetHeader = (name: string) => string | null;

export interface Refusal {
  readonly status: number;
  readonly message: string;
  readonly headers: Record<string, string>;
}

function refuse(message: string, status: number = 400): Refusal {
  const headers: Record<string, string> =
    status === 426 ? { 'sec-websocket-version': version, upgrade: 'websocket' } : {};
  return { status, message, headers };
}

function listHas(header: string | null, word: string): boolean {
  if (header === null) return false;
  return header.split(',').some((part) => part.trim().toLowerCase() === word);
}

/** 16 bytes in base64: the two last digits before '==' carry four bits of them. */
const keyForm = /^[A-Za-z0-9+/]{21}[AQgw]==$/;

export function acceptOf(key: string): string {
  return createHash('sha1')
    .update(key + magic)
    .digest('base64');
}

/** What of a client's request makes a WebSocket of it, and the headers to answer with. */
export function readRequest(
  get: GetHeader,
  protocols: readonly string[],
  compress: CompressPlan | null,
): { agreed: Agreed; headers: string[] } | Refusal {
  if (!listHas(get('upgrade'), 'websocket') || !listHas(get('connection'), 'upgrade')) {
    return refuse('This is a WebSocket: the request must ask for an upgrade', 426);
  }
  if (get('sec-websocket-version')?.trim() !== version) {
    return refuse('Only version 13 of the WebSocket protocol is spoken here', 426);
  }
  const key = get('sec-websocket-key');
  if (key === null || !keyForm.test(key)) return refuse('Sec-WebSocket-Key is missing or bad');
  const headers = [
    'upgrade',
    'websocket',
    'connection',
    'Upgrade',
    'sec-websocket-accept',
    acceptOf(key),
  ];
  const wanted = get('sec-websocket-protocol');
  let protocol = '';
  if (wanted !== null) {
    const offered = wanted.split(',').map((part) => part.trim());
    if (!offered.every(isToken) || new Set(offered).size !== offered.length) {
      return refuse('Sec-WebSocket-Protocol is bad');
    }
    protocol = protocols.find((name) => offered.includes(name)) ?? '';
    if (protocol !== '') headers.push('sec-websocket-protocol', protocol);
  }
  const extensions = get('sec-websocket-extensions');
  if (extensions === null || extensions === '') {
    return { agreed: protocol === '' ? plain : { protocol, deflate: null }, headers };
  }
  const offers = parseExtensions(extensions);
  if (offers === null) return refuse('Sec-WebSocket-Extensions is bad');
  const chosen = compress === null ? null : chooseOffer(offers, compress);
  if (chosen !== null) headers.push('sec-websocket-extensions', chosen.header);
  return { agreed: { protocol, deflate: chosen?.agreement ?? null }, headers };
}

export interface ClientHandshake {
  readonly key: string;
  readonly headers: readonly (readonly [string, string])[];
}

export function makeRequest(
  protocols: readonly string[],
  compress: CompressPlan | null,
): ClientHandshake {
  const key = randomBytes(16).toString('base64');
  const headers: [string, string][] = [
    ['upgrade', 'websocket'],
    ['connection', 'Upgrade'],
    ['sec-websocket-version', version],
    ['sec-websocket-key', key],
  ];
  if (protocols.length > 0) headers.push(['sec-websocket-protocol', protocols.join(', ')]);
  if (compress !== null) headers.push(['sec-websocket-extensions', clientOffer(compress)]);
  return { key, headers };
}

/** What a server's 101 agrees to, or what is wrong with it. */
export function readResponse(
  get: GetHeader,
  key: string,
  protocols: readonly string[],
  compress: CompressPlan | null,
): Agreed | string {
  if (get('upgrade')?.trim().toLowerCase() !== 'websocket') return 'Upgrade is not websocket';
  if (!listHas(get('connection'), 'upgrade')) return 'Connection does not say Upgrade';
  if (get('sec-websocket-accept')?.trim() !== acceptOf(key)) return 'Sec-WebSocket-Accept is wrong';
  const protocol = get('sec-websocket-protocol');
  if (protocol !== null && !protocols.includes(protocol)) {
    return 'The server chose a subprotocol that was not offered';
  }
  if (protocol === null && protocols.length > 0)
    return 'The server speaks none of the subprotocols';
  const extensions = get('sec-websocket-extensions');
  let deflate: Agreement | null = null;
  if (extensions !== null && extensions !== '') {
    deflate = compress === null ? null : readAnswer(extensions, compress);
    if (deflate === null) return 'The server chose an extension that was not offered';
  }
  return { protocol: protocol ?? '', deflate };
}
