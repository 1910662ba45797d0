/**
 * Options of servers, and what they mean.
 *
 * In: what users give. Out: a plan with all defaults. Never: a silent correction.
 */
import { argTypeError, type WaitOptions } from '../base/errors.ts';
import { checkBytes, checkInteger, checkMs } from '../base/units.ts';
import type { EventLoop } from '../io/handles.ts';
import { checkListen, type ListenPlan } from '../io/listen.ts';
import type { ListenOptions, TlsServerOptions } from '../io/net-types.ts';
import type { FetchHandler } from './application.ts';
import { defaultMaxBodyBytes } from './dispatch.ts';
import { makeTrust, type TrustTest } from './proxy.ts';
import type { WireLimits } from './wire.ts';

export interface AccessRecord {
  /** '' when the request could not be read. */
  readonly method: string;
  readonly path: string;
  /** 0: the client went away before there was one. */
  readonly status: number;
  /** Of the body. */
  readonly bytes: number;
  readonly durationMs: number;
  readonly ip: string;
}

export interface ServeOptions extends WaitOptions {
  /** Default: all interfaces. */
  host?: string | readonly string[];
  /** Default 8080; 0 for any free port. */
  port?: number;
  /** A UNIX socket instead of host and port. */
  path?: string;
  /** A listening socket opened elsewhere, instead of host, port and path (see `systemdSockets`). */
  fd?: number;
  /** `fd` belongs to the main thread. @internal */
  shareFd?: boolean;
  /** HTTPS: options of node:tls. `ALPNProtocols` is made of `http2` when left out. */
  tls?: TlsServerOptions;
  /**
   * True: HTTP/2 on the same port for clients that ask for it in the TLS handshake. 'cleartext':
   * HTTP/2 and nothing else, without TLS, for clients that know it before, as proxies and gRPC do.
   * (RFC 9113 3.3) Default false.
   */
  http2?: boolean | 'cleartext';
  reusePort?: boolean;
  /** Default 511. */
  backlog?: number;
  /** Default Infinity. */
  maxConnections?: number;
  /** Idle time of a kept connection. Default 75_000. */
  keepAliveMs?: number;
  /** From connect, or from the first byte of a later head, to its end; 408. Default 60_000. */
  headersTimeoutMs?: number;
  /** To the full request; 408. Default 300_000. */
  requestTimeoutMs?: number;
  /**
   * While bytes of a response wait and the client takes none, or is not there any more: then the
   * connection is broken, at most half as long later; with HTTP/2 the stream, when that is what
   * stands still. Default 60_000. (nginx: send_timeout)
   */
  writeTimeoutMs?: number;
  /** Request line and headers together; 431. Default 16 KiB. */
  maxHeaderBytes?: number;
  /** 431. Default 128. */
  maxHeaders?: number;
  /** Pipelined requests read ahead on one connection. Default 16. */
  maxPipelined?: number;
  /** HTTP/2: requests under way on one connection. Default 100. */
  maxConcurrentStreams?: number;
  /** Cancel the handler when its client is gone. Default false: `request.signal` tells. */
  handlerCancellation?: boolean;
  /**
   * Addresses or networks whose X-Forwarded-* / Forwarded headers count, the former where both are
   * there: so a proxy that sets Forwarded must drop them. Default none.
   */
  trustProxy?: boolean | readonly string[];
  /** For handlers to end at close, before they are cancelled. Default 60_000. */
  shutdownTimeoutMs?: number;
  /** Default: none. */
  accessLog?: (record: AccessRecord) => void;
}

export interface FetchServeOptions extends ServeOptions {
  fetch: FetchHandler;
  /** Give `fetch` a real Web Request, for code that calls `new Request(request)`. Slower. */
  webRequest?: boolean;
  /** 413 above it, however the body is read. Default 1 MiB; Infinity: no limit. */
  maxBodyBytes?: number;
}

export interface ServePlan {
  readonly listen: ListenPlan;
  /** HTTP/2 without TLS. */
  readonly cleartext: boolean;
  readonly limits: WireLimits;
  readonly trust: TrustTest | null;
  readonly handlerCancellation: boolean;
  readonly webRequest: boolean;
  readonly maxBodyBytes: number;
  readonly writeTimeoutMs: number;
  readonly shutdownTimeoutMs: number;
  readonly accessLog: ((record: AccessRecord) => void) | null;
}

export const defaultPort = 8080;

/** @throws TypeError, RangeError for bad options */
export function checkServe(
  loop: EventLoop,
  options: ServeOptions & Pick<FetchServeOptions, 'webRequest' | 'maxBodyBytes'>,
): ServePlan {
  if (typeof options !== 'object' || options === null) {
    throw argTypeError('options', 'an object', options);
  }
  const { path, accessLog, trustProxy } = options;
  if (accessLog !== undefined && typeof accessLog !== 'function') {
    throw argTypeError('accessLog', 'a function', accessLog);
  }
  const ms = (name: keyof ServeOptions, fallback: number): number =>
    checkMs(name, (options[name] as number | undefined) ?? fallback);
  const writeTimeoutMs = ms('writeTimeoutMs', 60_000);
  return {
    // A path is taken whatever stands beside it.
    listen: { ...checkListen(loop, listenOptions(options)), path },
    cleartext: options.http2 === 'cleartext',
    limits: {
      maxHeaderBytes: checkInteger('maxHeaderBytes', options.maxHeaderBytes ?? 16_384, 64, 2 ** 24),
      maxHeaders: checkInteger('maxHeaders', options.maxHeaders ?? 128, 1),
      maxPipelined: checkInteger('maxPipelined', options.maxPipelined ?? 16, 1),
      keepAliveMs: ms('keepAliveMs', 75_000),
      headersTimeoutMs: ms('headersTimeoutMs', 60_000),
      requestTimeoutMs: ms('requestTimeoutMs', 300_000),
      writeTimeoutMs,
      maxConcurrentStreams: checkInteger(
        'maxConcurrentStreams',
        options.maxConcurrentStreams ?? 100,
        1,
        2 ** 31 - 1,
      ),
    },
    trust: makeTrust(trustProxy),
    handlerCancellation: options.handlerCancellation ?? false,
    webRequest: options.webRequest ?? false,
    maxBodyBytes: checkBytes('maxBodyBytes', options.maxBodyBytes ?? defaultMaxBodyBytes),
    writeTimeoutMs,
    shutdownTimeoutMs: ms('shutdownTimeoutMs', 60_000),
    accessLog: accessLog ?? null,
  };
}

/** Of ALPN, only what is served here is agreed on. */
function secureOptions(tls: TlsServerOptions, http2: boolean): TlsServerOptions {
  const { ALPNProtocols, ALPNCallback } = tls;
  const named = ALPNProtocols !== undefined || ALPNCallback !== undefined;
  if (!named) return { ...tls, ALPNProtocols: http2 ? ['h2', 'http/1.1'] : ['http/1.1'] };
  if (http2 && Array.isArray(ALPNProtocols) && !ALPNProtocols.includes('h2')) {
    throw argTypeError('tls.ALPNProtocols', "with 'h2', or left out, with http2", ALPNProtocols);
  }
  return tls;
}

function listenOptions(options: ServeOptions): ListenOptions {
  const { host, port, fd, shareFd, backlog, reusePort, maxConnections, signal, tls } = options;
  const { http2 = false } = options;
  const cleartext = http2 === 'cleartext';
  if (typeof http2 !== 'boolean' && !cleartext) {
    throw argTypeError('http2', "a boolean or 'cleartext'", http2);
  }
  if (http2 === true && tls === undefined) throw argTypeError('tls', 'there for http2', tls);
  if (cleartext && tls !== undefined) throw argTypeError('tls', "absent for 'cleartext'", tls);
  if (tls !== undefined && (typeof tls !== 'object' || tls === null)) {
    throw argTypeError('tls', 'an object', tls);
  }
  return {
    start: false,
    ...(host === undefined ? {} : { host }),
    ...(fd === undefined
      ? { port: port ?? defaultPort }
      : { fd, ...(port === undefined ? {} : { port }) }),
    ...(shareFd === undefined ? {} : { shareFd }),
    ...(backlog === undefined ? {} : { backlog }),
    ...(reusePort === undefined ? {} : { reusePort }),
    ...(maxConnections === undefined ? {} : { maxConnections }),
    ...(tls === undefined ? {} : { tls: secureOptions(tls, http2 === true) }),
    ...(signal === undefined ? {} : { signal }),
  };
}
