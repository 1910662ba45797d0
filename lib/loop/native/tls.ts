/**
 * TLS on the OpenSSL that Node exports, by the addon: one call for a chunk that came, one for a
 * write.
 *
 * In: ciphertext and plaintext. Out: the other of both, through a TlsSink. Never: sockets, trust;
 * an SSL_CTX of its own: Node's SecureContext has parsed keys, certificates and options.
 */
import { Buffer } from 'node:buffer';
import { X509Certificate } from 'node:crypto';
import type { DetailedPeerCertificate, PeerCertificate, SecureContext } from 'node:tls';
import type { TlsEngine, TlsSink, TlsStart, TlsState } from '../tls.ts';
import {
  claimOutput,
  loadTlsBinding,
  TLS_END,
  TLS_FAILED,
  TLS_PENDING,
  TLS_SECURE,
  TLS_SESSION,
  TLS_SPILLED,
  TLS_WHOLE,
  type TlsBinding,
  type TlsSession,
  WORD_CONSUMED,
  WORD_EVENTS,
  WORD_OUTPUT,
  WRITE_BYTES,
} from './tls-binding.ts';

/** Plaintext of records that came in parts goes there, piece by piece. */
const POOL_BYTES = 64 * 1024;
/** A record's plaintext: with less room than that a new pool begins. */
const RECORD_BYTES = 16 * 1024;
/** Text that surely fits in there as UTF-8 needs no memory of its own. */
const TEXT_BYTES = 16 * 1024;

const nothing: Buffer = Buffer.alloc(0);

let pool: Buffer = nothing;
let poolAt = 0;
let text: Buffer | undefined;

/** Null where the addon is missing, and for what it cannot do: the generic engine takes those. */
export function createTlsEngine(start: TlsStart, sink: TlsSink): TlsEngine | null {
  if (start.rare !== undefined) return null;
  const { binding } = loadTlsBinding();
  if (binding === null) return null;
  const session = binding.calls.open(
    contextOf(start.secureContext),
    start.isServer,
    start.alpnProtocols,
    start.servername,
    start.session,
    start.requestCert,
    start.rejectUnauthorized,
  );
  return session === null ? null : new NativeTls(binding, session, start, sink);
}

/** The SSL_CTX. Node does not document it: the addon checks what it gets. */
function contextOf(secureContext: SecureContext): unknown {
  return (secureContext.context as { readonly _external?: unknown } | undefined)?._external;
}

class NativeTls implements TlsEngine {
  readonly #binding: TlsBinding;
  /** Null once destroyed. */
  #session: TlsSession | null;
  /** Holds the SecureContext, of which OpenSSL may still need what is Node's. */
  readonly #start: TlsStart;
  readonly #sink: TlsSink;
  /** The next chunk begins with a whole record, as far as it goes. */
  #whole = true;
  /** Plaintext is left in OpenSSL. */
  #pending = false;
  #feeding = false;
  /** Fed from inside a callback of the feed at work. */
  #queue: Uint8Array[] | null = null;
  /** onEnd or onTlsError was told. */
  #ended = false;
  #shut = false;
  /** It failed, which the sink is about to be told. */
  #broken = false;

  constructor(binding: TlsBinding, session: TlsSession, start: TlsStart, sink: TlsSink) {
    this.#binding = binding;
    this.#session = session;
    this.#start = start;
    this.#sink = sink;
  }

  get bufferedBytes(): number {
    return this.#broken && !this.#ended ? Infinity : 0;
  }

  start(): void {
    if (this.#session === null || this.#start.isServer) return;
    claimOutput(this.#binding);
    this.#binding.calls.start(this.#session);
    this.#afterCall();
  }

  feed(chunk: Uint8Array): void {
    if (this.#feeding) {
      this.#queue ??= [];
      this.#queue.push(chunk);
      return;
    }
    this.#feeding = true;
    try {
      this.#decrypt(chunk);
      while (this.#queue !== null) {
        const queue: Uint8Array[] = this.#queue;
        this.#queue = null;
        for (const next of queue) this.#decrypt(next);
      }
    } finally {
      this.#feeding = false;
    }
  }

  #decrypt(chunk: Uint8Array): void {
    const { words, calls } = this.#binding;
    let at = 0;
    while (!this.#ended && (at < chunk.length || this.#pending)) {
      const session = this.#session;
      if (session === null) return;
      claimOutput(this.#binding);
      let plain: Buffer;
      let consumed: number;
      if (this.#whole) {
        // Nobody else has the chunk: its plaintext, which is shorter, goes to the same place.
        const bytes = calls.feed(session, chunk, at);
        consumed = words[WORD_CONSUMED] as number;
        plain = bytes === 0 ? nothing : viewOf(chunk, at, bytes);
      } else {
        if (POOL_BYTES - poolAt < RECORD_BYTES || pool === nothing) renewPool();
        const bytes = calls.feedInto(session, chunk, at, pool, poolAt);
        consumed = words[WORD_CONSUMED] as number;
        plain = bytes === 0 ? nothing : pool.subarray(poolAt, poolAt + bytes);
        poolAt += bytes;
      }
      at += consumed;
      this.#tell(words[WORD_EVENTS] as number, plain);
    }
  }

  /** Ciphertext first: it lies in memory that the next operation writes to. */
  #tell(events: number, plain: Buffer): void {
    this.#whole = (events & TLS_WHOLE) !== 0;
    this.#pending = (events & TLS_PENDING) !== 0;
    if ((this.#binding.words[WORD_OUTPUT] as number) > 0) this.#tellCiphertext(events);
    const sink = this.#sink;
    if (plain.length > 0 && this.#session !== null) sink.onPlaintext(plain);
    if ((events & (TLS_SECURE | TLS_SESSION | TLS_END | TLS_FAILED)) === 0) return;
    if ((events & TLS_SECURE) !== 0 && this.#session !== null) sink.onSecure();
    if ((events & TLS_SESSION) !== 0) this.#tellSession();
    if ((events & TLS_FAILED) !== 0) this.#tellError();
    else if ((events & TLS_END) !== 0) this.#tellEnd(true);
  }

  #tellCiphertext(events: number): void {
    const binding = this.#binding;
    for (let now = events; ; now = binding.words[WORD_EVENTS] as number) {
      const bytes = binding.words[WORD_OUTPUT] as number;
      const output = binding.outputs[binding.depth] as Buffer;
      binding.depth += 1;
      try {
        this.#sink.onCiphertext(output.subarray(0, bytes));
      } finally {
        binding.depth -= 1;
      }
      if ((now & TLS_SPILLED) === 0 || this.#session === null) return;
      claimOutput(binding);
      binding.calls.drain(this.#session);
    }
  }

  #tellSession(): void {
    if (this.#session === null) return;
    const session = this.#binding.calls.session(this.#session);
    if (session !== null) this.#sink.onSession(session);
  }

  #tellEnd(clean: boolean): void {
    if (this.#ended || this.#session === null) return;
    this.#ended = true;
    this.#sink.onEnd(clean);
  }

  #tellError(): void {
    if (this.#ended || this.#session === null) return;
    this.#ended = true;
    this.#sink.onTlsError(errorOf(...this.#binding.calls.failure(this.#session)));
  }

  feedEnd(): void {
    this.#tellEnd(false);
  }

  write(data: string | Uint8Array): void {
    if (typeof data === 'string') this.#writeText(data);
    else this.#encrypt(data, data.length);
  }

  #writeText(data: string): void {
    if (data.length * 3 > TEXT_BYTES) {
      const bytes = Buffer.from(data, 'utf8');
      this.#encrypt(bytes, bytes.length);
      return;
    }
    text ??= Buffer.allocUnsafeSlow(TEXT_BYTES);
    this.#encrypt(text, text.write(data, 'utf8'));
  }

  #encrypt(data: Uint8Array, length: number): void {
    for (let at = 0; at < length; at += WRITE_BYTES) {
      if (this.#session === null) return;
      claimOutput(this.#binding);
      this.#binding.calls.write(this.#session, data, at, Math.min(at + WRITE_BYTES, length));
      this.#afterCall();
    }
  }

  /** After a call from which only ciphertext may be told. */
  #afterCall(): void {
    const { words } = this.#binding;
    const events = words[WORD_EVENTS] as number;
    if ((words[WORD_OUTPUT] as number) > 0) this.#tellCiphertext(events);
    if ((events & TLS_FAILED) === 0) return;
    this.#broken = true;
    process.nextTick(() => this.#tellError());
  }

  shutdown(): void {
    if (this.#session === null || this.#shut) return;
    this.#shut = true;
    claimOutput(this.#binding);
    this.#binding.calls.shutdown(this.#session);
    this.#afterCall();
    if (this.#session !== null) this.#sink.onFinished();
  }

  destroy(): void {
    if (this.#session === null) return;
    this.#binding.calls.close(this.#session);
    this.#session = null;
    this.#queue = null;
  }

  state(): TlsState {
    const session = this.#open();
    const [protocol, cipher, alpn, name, reused] = this.#binding.calls.state(session);
    return {
      protocol,
      cipher,
      alpn: alpn ?? false,
      servername: name,
      sessionReused: reused !== 0,
    };
  }

  verifyError(): Error | null {
    const found = this.#binding.calls.verify(this.#open());
    return found === null ? null : Object.assign(new Error(found[1]), { code: found[0] });
  }

  peerCertificate(detailed: boolean): PeerCertificate | DetailedPeerCertificate | null {
    const found = this.#binding.calls.certificates(this.#open(), detailed);
    if (found === null) return null;
    const chain = found.filter((item) => typeof item !== 'number').map(legacyCertificate);
    const leaf = chain[0] as DetailedPeerCertificate;
    if (!detailed) return leaf;
    for (const [index, certificate] of chain.entries()) {
      const issuer = chain[index + 1];
      // As in node:tls, the certificate of a root is its own issuer's.
      if (issuer !== undefined) certificate.issuerCertificate = issuer;
      else if (found.at(-1) === 1) certificate.issuerCertificate = certificate;
    }
    return leaf;
  }

  exportKeyingMaterial(bytes: number, label: string, context: Buffer | undefined): Buffer {
    const key = this.#binding.calls.exportKey(this.#open(), bytes, label, context);
    if (key === null) throw new Error('OpenSSL exported no keying material');
    return key;
  }

  #open(): TlsSession {
    if (this.#session === null) throw new Error('the TLS engine is destroyed');
    return this.#session;
  }
}

function viewOf(chunk: Uint8Array, at: number, bytes: number): Buffer {
  return Buffer.from(chunk.buffer as ArrayBuffer, chunk.byteOffset + at, bytes);
}

function renewPool(): void {
  pool = Buffer.allocUnsafeSlow(POOL_BYTES);
  poolAt = 0;
}

function legacyCertificate(der: Buffer): DetailedPeerCertificate {
  return new X509Certificate(der).toLegacyObject() as DetailedPeerCertificate;
}

/** As Node's TLS errors: the reason of OpenSSL's first error makes the code. */
function errorOf(message: string, library: string, reason: string): Error {
  const code = `ERR_SSL_${(reason === '' ? 'unknown' : reason).toUpperCase().replaceAll(' ', '_')}`;
  return Object.assign(new Error(message === '' ? 'TLS failed' : message), {
    library,
    reason,
    code,
  });
}
