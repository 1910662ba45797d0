/**
 * TLS engines: what turns plaintext into ciphertext and back, for one connection.
 *
 * In: types only. Out: the interface between io's TLS stream and an engine, of io or of a backend.
 * Never: behaviour, sockets, policy (who is trusted is decided in io, the same for all engines).
 *
 * Rules (numbered; tests name them):
 *  1. Nothing is told before `start()` was called, and nothing after `destroy()`.
 *  2. `onCiphertext` and `onFinished` may come from inside any call, or later. Everything else
 *     comes from inside `feed` and `feedEnd`, or later: never from inside `start`, `write`,
 *     `shutdown` or `destroy`.
 *  3. Any call may be made from inside a call of the sink, `destroy()` included.
 *  4. What is given to `write` is consumed when the call returns: the caller may reuse its memory.
 *     What is given to `feed` and to `onPlaintext` is the receiver's own and never written again.
 *     What is given to `onCiphertext` is valid only while that call lasts.
 *  5. Order of a good life: `onSecure`, then any number of `onPlaintext`, then at most one `onEnd`.
 *     `onTlsError` may come at any time, once; nothing comes after it but ciphertext (an alert),
 *     which comes before it. `onSession` may come any number of times from `onSecure` on.
 *  6. Plaintext that came in the same record flight as the end of the handshake is told after
 *     `onSecure` returned.
 *  7. An engine decrypts all it is fed, at once: there is no pause. io stops feeding instead.
 *  8. Errors are values of Node's shape (`code: 'ERR_SSL_…'`, `library`, `reason`). Nothing is
 *     thrown but for programming errors.
 *  9. An exception of a user's callback (SNI, ALPN, PSK) never leaves it: io has wrapped them.
 */
import type {
  DetailedPeerCertificate,
  PeerCertificate,
  PSKCallbackNegotation,
  SecureContext,
} from 'node:tls';

/**
 * What the engines of one server, or of one connect, have in common. Checked, complete, never
 * changed: an engine may keep what it has worked out for it in a WeakMap.
 */
export interface TlsStart {
  readonly isServer: boolean;
  /** Made by `tls.createSecureContext()`, or given by the user. */
  readonly secureContext: SecureContext;
  /** It is the user's: it may allow to renegotiate, which no engine does. */
  readonly contextGiven?: boolean;
  /**
   * As on the wire (each name after its length in a byte), in order of preference; undefined: no
   * ALPN. A server that has no name in common with a client that offers some fails the handshake.
   */
  readonly alpnProtocols: Buffer | undefined;
  /** Client: the name for SNI; undefined: none is sent (an IP address, an empty name). */
  readonly servername: string | undefined;
  /** Client: a session to be resumed. */
  readonly session: Buffer | undefined;
  /** Server: ask for a certificate of the client. */
  readonly requestCert: boolean;
  /** Server that asks for one: without a certificate the handshake fails. io checks the rest. */
  readonly rejectUnauthorized: boolean;
  /** What few connections need; undefined: none of it. */
  readonly rare: TlsRareOptions | undefined;
}

/** A backend whose engine cannot do one of these that is set gives null for it. */
export interface TlsRareOptions {
  /** Server. Calls `done` once, at once or later; undefined: the context of the start. */
  readonly sniCallback?:
    | ((servername: string, done: (error: Error | null, context?: SecureContext) => void) => void)
    | undefined;
  /** Server: one of `protocols`, or undefined to fail the handshake (no_application_protocol). */
  readonly alpnCallback?:
    | ((offer: { servername: string; protocols: string[] }) => string | undefined)
    | undefined;
  /** Client: `(hint)`; server: `(socket, identity)`; null fails the handshake. */
  readonly pskCallback?:
    | ((hint: string | null) => PSKCallbackNegotation | null)
    | ((socket: unknown, identity: string) => Uint8Array | null)
    | undefined;
  readonly pskIdentityHint?: string | undefined;
  /** Client: ask for a stapled OCSP answer. */
  readonly requestOCSP?: boolean | undefined;
  /** Client: the smallest Diffie-Hellman group in bits; Node's default is 1024. */
  readonly minDHSize?: number | undefined;
  /** Write what happens to stderr. */
  readonly enableTrace?: boolean | undefined;
}

/** What an engine tells. */
export interface TlsSink {
  /** To be sent, in order. */
  onCiphertext(bytes: Uint8Array): void;
  /** The handshake is done; `peer()` … can be asked. Nobody is trusted yet. */
  onSecure(): void;
  onPlaintext(chunk: Buffer): void;
  /**
   * The plaintext has ended. Clean: by close_notify. Else the ciphertext ended (`feedEnd`) without
   * one: something may be missing. The write side stays open.
   */
  onEnd(clean: boolean): void;
  /** After `shutdown()`: all that was written, and close_notify, went to `onCiphertext`. */
  onFinished(): void;
  /** `bufferedBytes` has become less. Never called by an engine in which it is always 0. */
  onProgress(): void;
  /** Client: a ticket for `TlsStart.session`. */
  onSession(session: Buffer): void;
  /** The connection cannot go on. */
  onTlsError(error: Error): void;
}

/** What is known of a connection once it is secure. */
export interface TlsState {
  /** 'TLSv1.3', 'TLSv1.2' … */
  readonly protocol: string;
  /** The OpenSSL name, as 'TLS_AES_256_GCM_SHA384'. */
  readonly cipher: string;
  readonly alpn: string | false;
  /** What the client asked for by SNI. */
  readonly servername: string | null;
  readonly sessionReused: boolean;
}

/** One connection. Made by `Backend.tlsEngine`, or by io. */
export interface TlsEngine {
  /** Begins: a client sends its hello. Once. */
  start(): void;
  /** Ciphertext that came. */
  feed(chunk: Uint8Array): void;
  /** No ciphertext comes any more: leads to `onEnd(false)` unless the plaintext has ended. */
  feedEnd(): void;
  /** Plaintext; only after `onSecure` and before `shutdown`. Takes all of it. */
  write(data: string | Uint8Array): void;
  /** Plaintext that was taken and has not gone to `onCiphertext` yet. */
  readonly bufferedBytes: number;
  /** close_notify after all that was written; reading goes on. Idempotent, after `onSecure`. */
  shutdown(): void;
  /** Frees everything; nothing is sent. Idempotent. */
  destroy(): void;

  // What follows may be asked from `onSecure` on, until `destroy()`.

  state(): TlsState;
  /** Why the chain of the peer's certificate is not trusted, as Node's; null when it is. */
  verifyError(): Error | null;
  /** Null when it sent none. @param detailed with `issuerCertificate`, as `getPeerCertificate`. */
  peerCertificate(detailed: boolean): PeerCertificate | DetailedPeerCertificate | null;
  /** RFC 5705. */
  exportKeyingMaterial(bytes: number, label: string, context: Buffer | undefined): Buffer;
}

/** Makes the engine of one connection. */
export type TlsEngineFactory = (start: TlsStart, sink: TlsSink) => TlsEngine;
