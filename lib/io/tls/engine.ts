/**
 * The choice of a TLS engine. The interface itself is in lib/loop/tls.ts, where backends may import
 * it.
 *
 * In: what a connection needs. Out: the backend's own engine, or the one over node:tls. Never:
 * trust, sockets.
 */

export type {
  TlsEngine,
  TlsEngineFactory,
  TlsRareOptions,
  TlsSink,
  TlsStart,
  TlsState,
} from '../../loop/tls.ts';
