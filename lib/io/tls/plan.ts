/**
 * TLS options, checked and complete: what all connections of one server, or one connect, share.
 *
 * In: the options of node:tls. Out: a plan. Never: a missing or undefined option that turns a
 * check off; an option that is wrong and is told only when the first connection is there.
 */
import { Buffer } from 'node:buffer';
import { constants } from 'node:crypto';
import {
  checkServerIdentity,
  createSecureContext,
  type PeerCertificate,
  type SecureContext,
  type SecureContextOptions,
} from 'node:tls';
import { argTypeError, rangeError } from '../../base/errors.ts';
import { checkMs } from '../../base/units.ts';
import type { EventLoop } from '../../loop/event-loop.ts';
import type { TlsRareOptions, TlsStart } from '../../loop/tls.ts';
import { ipFamily } from '../addresses.ts';
import type {
  StartTlsOptions,
  TlsClientOptions,
  TlsServerOptions,
  TlsTimes,
} from '../net-types.ts';
import {
  type ClientPskCallback,
  guardAlpn,
  guardClientPsk,
  guardServerPsk,
  guardSni,
  type ServerPskCallback,
} from './callbacks.ts';

/** As asyncio. */
const defaultHandshakeTimeoutMs = 60_000;
const defaultShutdownTimeoutMs = 30_000;
const mostNameBytes = 255;
/** Sessions of servers that share their ticket keys are resumed by each of them. */
const sessionIdContext = 'uvio';

export interface TlsPlan {
  readonly start: TlsStart;
  /** Client: whom the certificate must be for. */
  readonly hostname: string;
  readonly checkServerIdentity: (
    hostname: string,
    certificate: PeerCertificate,
  ) => Error | undefined;
  readonly handshakeTimeoutMs: number;
  readonly shutdownTimeoutMs: number;
}

type AnyOptions = TlsClientOptions & TlsServerOptions;

/** Options of node:tls that are another call's here, and whose name it is. */
const elsewhere: Readonly<Record<string, string>> = {
  socket: 'startTls()',
  host: 'the host of the connection',
  port: 'the port of the connection',
  path: 'openUnixConnection()',
  timeout: 'tlsHandshakeTimeoutMs',
  lookup: 'uvio looks names up itself',
  pauseOnConnect: 'start: false of the server',
};

/** A copy without what is undefined: so `undefined` is as good as left out, everywhere. */
function clean(options: unknown): AnyOptions {
  if (typeof options !== 'object' || options === null) {
    throw argTypeError('tls', 'an object', options);
  }
  const given: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue;
    const instead = elsewhere[name];
    if (instead !== undefined) {
      throw argTypeError(`tls.${name}`, `left out (here: ${instead})`, value);
    }
    given[name] = value;
  }
  checkTypes(given);
  return given as AnyOptions;
}

const wantedTypes: readonly (readonly [type: string, names: readonly string[]])[] = [
  ['boolean', ['rejectUnauthorized', 'requestCert', 'enableTrace', 'requestOCSP']],
  ['function', ['SNICallback', 'ALPNCallback', 'pskCallback', 'checkServerIdentity']],
  ['string', ['servername', 'pskIdentityHint']],
  ['number', ['minDHSize']],
];

/** Those that node:tls looks at only when a connection is there, or never. */
function checkTypes(given: Record<string, unknown>): void {
  for (const [type, names] of wantedTypes) {
    for (const name of names) {
      const value = given[name];
      if (value === undefined || typeof value === type) continue;
      throw argTypeError(`tls.${name}`, `a ${type}`, value);
    }
  }
  const { session, secureContext } = given;
  if (session !== undefined && !(session instanceof Uint8Array)) {
    throw argTypeError('tls.session', 'a Buffer', session);
  }
  if (secureContext !== undefined && !(secureContext as { context?: unknown } | null)?.context) {
    throw argTypeError('tls.secureContext', 'made by tls.createSecureContext()', secureContext);
  }
}

/** @throws what node:tls throws for bad keys, certificates, ciphers and versions. */
function makeContext(options: AnyOptions, isServer: boolean): SecureContext {
  if (options.secureContext !== undefined) return options.secureContext;
  const context: SecureContextOptions = isServer
    ? { sessionIdContext, ...options }
    : { ...options };
  context.secureOptions = withoutRenegotiation(context.secureOptions);
  return createSecureContext(context);
}

/** So that no peer changes its certificate later, or makes us work. TLS 1.3 has none. */
function withoutRenegotiation(secureOptions: number | undefined = 0): number {
  const fits = Number.isInteger(secureOptions) && Math.abs(secureOptions) < 2 ** 31;
  return fits ? secureOptions | constants.SSL_OP_NO_RENEGOTIATION : secureOptions;
}

/** In the form of the wire. */
export function encodeAlpn(protocols: unknown): Buffer | undefined {
  if (protocols === undefined) return undefined;
  if (ArrayBuffer.isView(protocols)) {
    const { buffer, byteOffset, byteLength } = protocols;
    return byteLength === 0
      ? undefined
      : checkWire(Buffer.from(new Uint8Array(buffer, byteOffset, byteLength)));
  }
  if (!Array.isArray(protocols)) {
    throw argTypeError('tls.ALPNProtocols', 'an array of strings or a Buffer', protocols);
  }
  const parts: Buffer[] = [];
  for (const protocol of protocols) {
    if (typeof protocol !== 'string' && !(protocol instanceof Uint8Array)) {
      throw argTypeError('tls.ALPNProtocols', 'an array of strings', protocol);
    }
    const name = Buffer.from(protocol as string);
    if (name.length === 0 || name.length > mostNameBytes) {
      throw rangeError('tls.ALPNProtocols', 'names of 1 to 255 bytes', protocol);
    }
    parts.push(Buffer.of(name.length), name);
  }
  return parts.length === 0 ? undefined : Buffer.concat(parts);
}

function checkWire(wire: Buffer): Buffer {
  let at = 0;
  while (at < wire.length) {
    const length = wire[at] as number;
    at += 1 + length;
    if (length === 0 || at > wire.length) {
      throw rangeError('tls.ALPNProtocols', 'names after their lengths', wire);
    }
  }
  return wire;
}

function checkTimes(times: TlsTimes, options: AnyOptions): [handshake: number, shutdown: number] {
  const handshake = times.tlsHandshakeTimeoutMs ?? options.handshakeTimeout;
  return [
    checkMs('tlsHandshakeTimeoutMs', handshake ?? defaultHandshakeTimeoutMs),
    checkMs('tlsShutdownTimeoutMs', times.tlsShutdownTimeoutMs ?? defaultShutdownTimeoutMs),
  ];
}

function clientRare(loop: EventLoop, options: AnyOptions): TlsRareOptions | undefined {
  const { requestOCSP, minDHSize, enableTrace } = options as AnyOptions & { requestOCSP?: boolean };
  const pskCallback = options.pskCallback as ClientPskCallback | undefined;
  if (!pskCallback && !requestOCSP && minDHSize === undefined && !enableTrace) return undefined;
  return {
    requestOCSP,
    minDHSize,
    enableTrace,
    pskCallback: pskCallback && guardClientPsk(loop, pskCallback),
  };
}

function serverRare(loop: EventLoop, options: AnyOptions): TlsRareOptions | undefined {
  const { SNICallback, ALPNCallback, pskIdentityHint, enableTrace } = options;
  const pskCallback = options.pskCallback as ServerPskCallback | undefined;
  if (!SNICallback && !ALPNCallback && !pskCallback && !enableTrace) return undefined;
  return {
    sniCallback: SNICallback && guardSni(loop, SNICallback),
    alpnCallback: ALPNCallback && guardAlpn(loop, ALPNCallback),
    pskCallback: pskCallback && guardServerPsk(loop, pskCallback),
    pskIdentityHint,
    enableTrace,
  };
}

/**
 * @param host whom the caller connected to; null: nobody knows, so `servername` must say it
 * @throws TypeError, RangeError, and what node:tls throws for bad keys, certificates …
 */
export function planClient(
  loop: EventLoop,
  tls: true | TlsClientOptions,
  host: string | null,
  times: TlsTimes,
): TlsPlan {
  const options = clean(tls === true ? {} : tls);
  const rejectUnauthorized = options.rejectUnauthorized !== false;
  const hostname = options.servername || host;
  if (hostname === null || hostname === undefined) {
    if (rejectUnauthorized && options.checkServerIdentity === undefined) {
      const wanted = 'the name that the certificate of the server must be for';
      throw argTypeError('tls.servername', wanted, options.servername);
    }
  }
  const name = options.servername ?? host ?? '';
  const [handshakeTimeoutMs, shutdownTimeoutMs] = checkTimes(times, options);
  return {
    start: {
      isServer: false,
      secureContext: makeContext(options, false),
      contextGiven: options.secureContext !== undefined,
      alpnProtocols: encodeAlpn(options.ALPNProtocols),
      // RFC 6066: an IP address is no name for SNI.
      servername: name === '' || ipFamily(name) !== 0 ? undefined : name,
      session: options.session,
      requestCert: true,
      rejectUnauthorized,
      rare: clientRare(loop, options),
    },
    hostname: hostname ?? '',
    checkServerIdentity: options.checkServerIdentity ?? checkServerIdentity,
    handshakeTimeoutMs,
    shutdownTimeoutMs,
  };
}

/** @throws as `planClient` */
export function planServer(loop: EventLoop, tls: TlsServerOptions, times: TlsTimes): TlsPlan {
  const options = clean(tls);
  const { key, pfx, secureContext, SNICallback, pskCallback, ciphers } = options;
  if (!(key || pfx || secureContext || SNICallback || pskCallback || ciphers)) {
    throw argTypeError('tls', 'options with a key and a certificate (key, cert or pfx)', tls);
  }
  if (options.ALPNProtocols !== undefined && options.ALPNCallback !== undefined) {
    throw argTypeError('tls.ALPNCallback', 'left out with ALPNProtocols', options.ALPNCallback);
  }
  const [handshakeTimeoutMs, shutdownTimeoutMs] = checkTimes(times, options);
  return {
    start: {
      isServer: true,
      secureContext: makeContext(options, true),
      contextGiven: options.secureContext !== undefined,
      alpnProtocols: encodeAlpn(options.ALPNProtocols),
      servername: undefined,
      session: undefined,
      requestCert: options.requestCert === true,
      rejectUnauthorized: options.rejectUnauthorized !== false,
      rare: serverRare(loop, options),
    },
    hostname: '',
    checkServerIdentity,
    handshakeTimeoutMs,
    shutdownTimeoutMs,
  };
}

/** Of `startTls`. */
export function planUpgrade(loop: EventLoop, options: StartTlsOptions): TlsPlan {
  if (typeof options !== 'object' || options === null) {
    throw argTypeError('options', 'an object', options);
  }
  const { isServer, signal, tlsHandshakeTimeoutMs, tlsShutdownTimeoutMs, ...tls } =
    options as TlsServerOptions & TlsTimes & { isServer?: boolean; signal?: AbortSignal };
  const times = { tlsHandshakeTimeoutMs, tlsShutdownTimeoutMs };
  if (isServer === true) return planServer(loop, tls, times);
  return planClient(loop, tls as TlsClientOptions, null, times);
}
