/**
 * The choice of a TLS engine. The interface itself is in lib/loop/tls.ts, where backends may import
 * it.
 *
 * In: what a connection needs. Out: the backend's own engine, or the one over node:tls. Never:
 * trust, sockets.
 */
import type { Backend } from '../../loop/backend.ts';
import type { TlsEngine, TlsSink, TlsStart } from '../../loop/tls.ts';
import { NodeTlsEngine } from './node-engine.ts';

export type {
  TlsEngine,
  TlsEngineFactory,
  TlsRareOptions,
  TlsSink,
  TlsStart,
  TlsState,
} from '../../loop/tls.ts';

export function makeEngine(backend: Backend, start: TlsStart, sink: TlsSink): TlsEngine {
  return backend.tlsEngine?.(start, sink) ?? new NodeTlsEngine(start, sink);
}
