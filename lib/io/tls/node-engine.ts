/**
 * The TLS engine over node:tls: a TLSSocket on a Duplex whose other end is the engine.
 *
 * In: ciphertext and plaintext. Out: the other one. Never: a decision about trust: TLSSocket is
 * told to let every certificate pass, and io judges (trust.ts) before a byte goes on.
 *
 * It works with every backend, a simulated one, too, but goes through two of Node's streams. What
 * Node does later (setImmediate after each write of ciphertext) comes in real time, which a
 * simulated clock waits for as long as it is so short.
 */
import { Buffer } from 'node:buffer';
import { Duplex } from 'node:stream';
import {
  type ConnectionOptions,
  connect,
  type DetailedPeerCertificate,
  type PeerCertificate,
  TLSSocket,
  type TLSSocketOptions,
} from 'node:tls';
import { InvalidStateError } from '../../base/errors.ts';
import type { TlsEngine, TlsSink, TlsStart, TlsState } from '../../loop/tls.ts';

/** What TLSSocket takes for the network. */
class Carrier extends Duplex {
  readonly #engine: NodeTlsEngine;

  constructor(engine: NodeTlsEngine) {
    super({ allowHalfOpen: true });
    this.#engine = engine;
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#engine.sent(chunk);
    done();
  }

  override _final(done: () => void): void {
    this.#engine.finished();
    done();
  }
}

/** The handle of a TLSSocket. Not documented, but unchanged since Node 0.11. */
interface TlsHandle {
  verifyError?(): (Error & { code?: string }) | null | undefined;
}

export class NodeTlsEngine implements TlsEngine {
  readonly #start: TlsStart;
  readonly #sink: TlsSink;
  readonly #carrier: Carrier;
  #socket: TLSSocket | null = null;
  #secure = false;
  #ended = false;
  #finished = false;
  #destroyed = false;
  readonly #progress: () => void;

  constructor(start: TlsStart, sink: TlsSink) {
    this.#start = start;
    this.#sink = sink;
    this.#carrier = new Carrier(this);
    this.#progress = (): void => {
      if (!this.#destroyed) this.#sink.onProgress();
    };
  }

  start(): void {
    const socket = this.#start.isServer ? this.#accept() : this.#connect();
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => {
      if (!this.#destroyed) this.#sink.onPlaintext(chunk);
    });
    socket.on('end', () => this.#end(true));
    const fail = (error: Error): void => this.#fail(error);
    socket.on('error', fail);
    // Of a server that has not been secure yet.
    socket.on('_tlsError', fail);
  }

  #accept(): TLSSocket {
    const { secureContext, requestCert, rejectUnauthorized, alpnProtocols, rare } = this.#start;
    const options: TLSSocketOptions = {
      isServer: true,
      secureContext,
      requestCert,
      rejectUnauthorized,
    };
    const record = options as Record<string, unknown>;
    if (alpnProtocols !== undefined) options.ALPNProtocols = alpnProtocols;
    if (rare !== undefined) {
      if (rare.sniCallback !== undefined) options.SNICallback = rare.sniCallback;
      if (rare.alpnCallback !== undefined) record['ALPNCallback'] = rare.alpnCallback;
      if (rare.pskCallback !== undefined) record['pskCallback'] = rare.pskCallback;
      if (rare.pskIdentityHint !== undefined) record['pskIdentityHint'] = rare.pskIdentityHint;
      if (rare.enableTrace !== undefined) record['enableTrace'] = rare.enableTrace;
    }
    const socket = new TLSSocket(this.#carrier, options);
    socket.on('secure', () => this.#secured());
    return socket;
  }

  #connect(): TLSSocket {
    const { secureContext, servername, session, alpnProtocols, rare } = this.#start;
    const options: ConnectionOptions = {
      socket: this.#carrier,
      secureContext,
      // io judges: see `judgePeer`.
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
    };
    // Names that the types of this version of Node lack, or know otherwise.
    const record = options as Record<string, unknown>;
    if (servername !== undefined) options.servername = servername;
    if (session !== undefined) options.session = session;
    if (alpnProtocols !== undefined) options.ALPNProtocols = alpnProtocols;
    if (rare !== undefined) {
      if (rare.pskCallback !== undefined) record['pskCallback'] = rare.pskCallback;
      if (rare.requestOCSP !== undefined) record['requestOCSP'] = rare.requestOCSP;
      if (rare.minDHSize !== undefined) options.minDHSize = rare.minDHSize;
      if (rare.enableTrace !== undefined) options.enableTrace = rare.enableTrace;
    }
    const socket = connect(options);
    socket.on('secureConnect', () => this.#secured());
    socket.on('session', (ticket: Buffer) => {
      if (!this.#destroyed) this.#sink.onSession(ticket);
    });
    return socket;
  }

  feed(chunk: Uint8Array): void {
    if (!this.#destroyed && !this.#carrier.destroyed) this.#carrier.push(chunk);
  }

  feedEnd(): void {
    // 'end' of a close_notify that was fed comes a tick later.
    setImmediate(() => this.#end(false));
  }

  write(data: string | Uint8Array): void {
    // Node keeps what it cannot encrypt at once, so it is copied.
    const bytes = typeof data === 'string' ? Buffer.from(data, 'utf8') : Buffer.from(data);
    this.#socket?.write(bytes, this.#progress);
  }

  get bufferedBytes(): number {
    return this.#destroyed ? 0 : (this.#socket?.writableLength ?? 0);
  }

  shutdown(): void {
    this.#socket?.end();
  }

  destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    // An error that was under way is nobody's any more; its listeners stay.
    this.#socket?.destroy();
    this.#carrier.destroy();
  }

  state(): TlsState {
    const socket = this.#socket as TLSSocket;
    const { alpnProtocol } = socket;
    const servername = (socket as unknown as { servername?: string | false | null }).servername;
    return {
      protocol: socket.getProtocol() ?? '',
      cipher: socket.getCipher()?.name ?? '',
      alpn: alpnProtocol === null || alpnProtocol === undefined ? false : alpnProtocol,
      servername: this.#start.isServer ? servername || null : (this.#start.servername ?? null),
      sessionReused: socket.isSessionReused(),
    };
  }

  verifyError(): Error | null {
    const { _handle: handle } = this.#socket as unknown as { _handle: TlsHandle | null };
    // Without an answer nobody is trusted.
    if (typeof handle?.verifyError !== 'function') return new Error('The peer was not verified');
    return handle.verifyError() ?? null;
  }

  peerCertificate(detailed: boolean): PeerCertificate | DetailedPeerCertificate | null {
    const certificate = (this.#socket as TLSSocket).getPeerCertificate(detailed);
    // Node gives an empty object for none.
    return certificate && Object.keys(certificate).length > 0 ? certificate : null;
  }

  exportKeyingMaterial(bytes: number, label: string, context: Buffer | undefined): Buffer {
    const socket = this.#socket as TLSSocket;
    // Both directions have ended, and Node has freed it.
    if (socket.destroyed) throw new InvalidStateError('The connection is gone');
    // Left out is not the same as empty (RFC 5705), and Node looks at what is given.
    if (context === undefined) {
      return (socket.exportKeyingMaterial as (bytes: number, label: string) => Buffer)(
        bytes,
        label,
      );
    }
    return socket.exportKeyingMaterial(bytes, label, context);
  }

  /** @internal */
  sent(bytes: Buffer): void {
    if (!this.#destroyed) this.#sink.onCiphertext(bytes);
  }

  /** @internal */
  finished(): void {
    if (this.#destroyed || this.#finished) return;
    this.#finished = true;
    this.#sink.onFinished();
  }

  #secured(): void {
    if (this.#destroyed || this.#secure) return;
    this.#secure = true;
    if (this.#start.contextGiven) this.#socket?.disableRenegotiation();
    this.#sink.onSecure();
  }

  #end(clean: boolean): void {
    if (this.#destroyed || this.#ended) return;
    this.#ended = true;
    // An end before the handshake is done is the carrying stream's to tell.
    if (this.#secure) this.#sink.onEnd(clean);
  }

  #fail(error: Error): void {
    if (!this.#destroyed) this.#sink.onTlsError(error);
  }
}
