/**
 * What a user may ask a TLS connection.
 *
 * In: an engine that is secure. Out: `TlsInfo`. Never: anything that needs the engine once it is
 * gone, but for keys.
 */
import type { Buffer } from 'node:buffer';
import type { PeerCertificate, SecureVersion } from 'node:tls';
import { argTypeError, InvalidStateError } from '../../base/errors.ts';
import { checkInteger } from '../../base/units.ts';
import type { TlsEngine } from '../../loop/tls.ts';
import type { TlsInfo } from '../net-types.ts';
import type { Verdict } from './trust.ts';

const mostKeyBytes = 65_536;

/** Made when the handshake is done; answers after the end of the connection, too. */
export class TlsConnectionInfo implements TlsInfo {
  readonly protocol: SecureVersion;
  readonly cipher: string;
  readonly alpn: string | false;
  readonly servername: string | null;
  readonly authorized: boolean;
  readonly authorizationError: string | null;
  readonly peerCertificate: PeerCertificate | null;
  readonly sessionReused: boolean;
  /** @internal */
  lastSession: Buffer | null = null;
  #engine: TlsEngine | null;

  constructor(engine: TlsEngine, verdict: Verdict) {
    const state = engine.state();
    this.protocol = state.protocol as SecureVersion;
    this.cipher = state.cipher;
    this.alpn = state.alpn;
    this.servername = state.servername;
    this.sessionReused = state.sessionReused;
    this.authorized = verdict.authorized;
    this.authorizationError = verdict.reason;
    this.peerCertificate = verdict.certificate;
    this.#engine = engine;
  }

  get session(): Buffer | null {
    return this.lastSession;
  }

  exportKeyingMaterial(bytes: number, label: string, context?: Buffer): Buffer {
    checkInteger('bytes', bytes, 1, mostKeyBytes);
    if (typeof label !== 'string') throw argTypeError('label', 'a string', label);
    if (context !== undefined && !(context instanceof Uint8Array)) {
      throw argTypeError('context', 'a Buffer', context);
    }
    if (this.#engine === null) throw new InvalidStateError('The connection is gone');
    return this.#engine.exportKeyingMaterial(bytes, label, context);
  }

  /** @internal */
  detach(): void {
    this.#engine = null;
  }
}
