/**
 * What a TLS connection agreed on, as requests tell it.
 *
 * In: a TLS socket of Node. Out: a record. Never: keys.
 */
import type { PeerCertificate, TLSSocket } from 'node:tls';

export interface TlsInfo {
  /** 'TLSv1.3' … */
  readonly protocol: string;
  readonly cipher: string;
  /** False when nothing was agreed on. */
  readonly alpn: string | false;
  readonly servername: string | null;
  readonly authorized: boolean;
  readonly peerCertificate: PeerCertificate | null;
}

export function tlsInfoOf(socket: TLSSocket): TlsInfo {
  const certificate = socket.getPeerCertificate();
  const servername = (socket as { servername?: string | false }).servername;
  return {
    protocol: socket.getProtocol() ?? '',
    cipher: socket.getCipher()?.standardName ?? '',
    alpn: socket.alpnProtocol ?? false,
    servername: typeof servername === 'string' ? servername : null,
    authorized: socket.authorized,
    peerCertificate: Object.keys(certificate ?? {}).length > 0 ? certificate : null,
  };
}
