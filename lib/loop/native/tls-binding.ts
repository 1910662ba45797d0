/**
 * The addon for TLS, `uvio_tls.node`, and the memory that it shares with JavaScript.
 *
 * In: the path of the first addon, whose neighbour it is, or `UVIO_TLS_PATH` (tests). Out: the
 * binding, or why there is none. Never: loading at import, throwing; what one session knows.
 */
import { Buffer } from 'node:buffer';
import { basename, dirname, join } from 'node:path';
import { loadBinding, openAddon } from './binding.ts';

/** Events of an operation; `native/tls/session.h` names the same bits. */
export const TLS_SECURE = 1;
export const TLS_END = 2;
export const TLS_FAILED = 4;
export const TLS_PENDING = 8;
export const TLS_WHOLE = 16;
export const TLS_SESSION = 32;
export const TLS_SPILLED = 64;

/** Shared words. */
export const WORD_EVENTS = 0;
export const WORD_CONSUMED = 1;
export const WORD_OUTPUT = 2;
const WORDS = 8;

/** What one call of `write` may be given. */
export const WRITE_BYTES: number = 64 * 1024;
/** Room for the records of so much; what is longer spills. */
const OUTPUT_BYTES = WRITE_BYTES + 2048;

/** A session: an External of V8. */
export type TlsSession = { readonly brand: 'uvio.tls.session' };

/** Plain integers are byte counts; events, consumed and output bytes are in the shared words. */
export interface TlsCalls {
  setup(words: Int32Array): number;
  setOutput(memory: Uint8Array): number;
  open(
    context: unknown,
    isServer: boolean,
    alpn: Uint8Array | undefined,
    servername: string | undefined,
    session: Uint8Array | undefined,
    requestCert: boolean,
    requireCert: boolean,
  ): TlsSession | null;
  close(session: TlsSession): void;
  start(session: TlsSession): void;
  feed(session: TlsSession, chunk: Uint8Array, at: number): number;
  feedInto(
    session: TlsSession,
    chunk: Uint8Array,
    at: number,
    into: Uint8Array,
    intoAt: number,
  ): number;
  write(session: TlsSession, data: Uint8Array, at: number, end: number): void;
  shutdown(session: TlsSession): void;
  drain(session: TlsSession): void;
  failure(session: TlsSession): [message: string, library: string, reason: string];
  state(
    session: TlsSession,
  ): [
    protocol: string,
    cipher: string,
    alpn: string | null,
    servername: string | null,
    reused: number,
  ];
  verify(session: TlsSession): [code: string, reason: string] | null;
  session(session: TlsSession): Buffer | null;
  certificates(session: TlsSession, chain: boolean): (Buffer | number)[] | null;
  exportKey(
    session: TlsSession,
    bytes: number,
    label: string,
    context: Uint8Array | undefined,
  ): Buffer | null;
  version(): string;
}

export interface TlsBinding {
  readonly calls: TlsCalls;
  readonly words: Int32Array;
  /**
   * Memory for ciphertext, by depth: an engine may be called while another one's ciphertext is
   * being told (TLS inside TLS), which must not overwrite that.
   */
  readonly outputs: Buffer[];
  /** How many outputs are being told. */
  depth: number;
  /** The output that the addon knows. */
  current: number;
}

export interface TlsLoaded {
  readonly binding: TlsBinding | null;
  /** Why there is none. */
  readonly reason?: string;
  readonly openssl?: string;
}

let loaded: TlsLoaded | undefined;

/** Loads once for each thread. */
export function loadTlsBinding(): TlsLoaded {
  loaded ??= load();
  return loaded;
}

/** `build/Release/uvio_tls.node`, or `tls/` below a prebuild, where node-gyp-build never looks. */
export function tlsAddonPath(path: string): string {
  const name = basename(path);
  if (name === 'uvio_native.node') return join(dirname(path), 'uvio_tls.node');
  return join(dirname(path), 'tls', name);
}

function load(): TlsLoaded {
  const { info } = loadBinding();
  if (info.path === undefined) return { binding: null, reason: info.reason ?? 'no addon' };
  const path = process.env['UVIO_TLS_PATH'] ?? tlsAddonPath(info.path);
  try {
    const calls = openAddon(path) as TlsCalls;
    const words = new Int32Array(WORDS);
    if (calls.setup(words) !== 1) return { binding: null, reason: 'no shared memory' };
    const binding = { calls, words, outputs: [], depth: 0, current: -1 };
    return { binding, openssl: calls.version() };
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    return { binding: null, reason: `the addon could not be loaded: ${text.split('\n', 1)[0]}` };
  }
}

/** Called before each operation: the output must be one that nobody is reading. */
export function claimOutput(binding: TlsBinding): void {
  const { depth, outputs } = binding;
  if (binding.current === depth) return;
  outputs[depth] ??= Buffer.allocUnsafeSlow(OUTPUT_BYTES);
  binding.calls.setOutput(outputs[depth]);
  binding.current = depth;
}
