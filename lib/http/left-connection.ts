/**
 * The connection of a request that was upgraded: it is in other hands.
 *
 * In: its stream. Out: what the request can still be asked. Never: a response.
 */
import type { StreamHandle } from '../io/handles.ts';
import type { SocketAddress, TlsInfo } from '../io/net-types.ts';
import { unknownAddress } from '../io/stream.ts';
import type { ExchangeHome } from './native-exchange.ts';

export class LeftConnection implements ExchangeHome {
  readonly handle: StreamHandle;
  readonly tls: TlsInfo | null;

  constructor(handle: StreamHandle, tls: TlsInfo | null) {
    this.handle = handle;
    this.tls = tls;
  }

  get closing(): boolean {
    return true;
  }

  get secure(): boolean {
    return this.tls !== null;
  }

  get remoteAddress(): SocketAddress {
    return this.handle.remoteAddress() ?? unknownAddress;
  }

  get localAddress(): SocketAddress {
    return this.handle.localAddress() ?? unknownAddress;
  }

  abort(): void {
    this.handle.abort();
  }

  // The exchange is over: none of these is called.

  get sentBytes(): number {
    return 0;
  }

  get fileWaits(): boolean {
    return false;
  }

  bodyWanted(): void {}

  answered(): void {}

  upgrade(): this {
    return this;
  }
}
