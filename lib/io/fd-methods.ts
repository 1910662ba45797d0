/**
 * The loop's methods for descriptors that others have opened, and for files as a source.
 *
 * In: descriptors, callbacks, protocol factories. Out: calls and transports. Never: exports; it
 * adds to EventLoop.
 */
import type { Socket } from 'node:net';
import { EventLoop } from '../loop/event-loop.ts';
import { type AcceptedSocketOptions, adoptPipe, adoptSocket } from './adopt.ts';
import { addWatch, removeWatch } from './fd-watch.ts';
import type {
  BaseProtocol,
  ReadTransport,
  StreamProtocol,
  Transport,
  WriteTransport,
} from './protocols.ts';
import { type SendfileOptions, sendFile } from './sendfile.ts';

declare module '../loop/event-loop.ts' {
  interface EventLoop {
    /**
     * Calls back in each turn in which the descriptor can be read, or has failed, in the context of
     * this call; a second callback replaces the first. It keeps the process alive. Remove it before
     * the descriptor is closed. An error in a callback goes to the exception handler.
     * Native on Linux only; elsewhere it throws an error with code ENOTSUP. EPERM: a regular file
     * or a device that is always ready; EBADF: not open; EEXIST: another loop watches it.
     * (asyncio: loop.add_reader)
     */
    addReader(fd: number, callback: () => void): void;
    /** False when there was none. */
    removeReader(fd: number): boolean;
    /** The same for writing. (asyncio: loop.add_writer) */
    addWriter(fd: number, callback: () => void): void;
    /** False when there was none. */
    removeWriter(fd: number): boolean;
    /**
     * Takes over a connected stream socket. A number: the transport closes it, once; it becomes
     * non-blocking. A net.Socket: it must not be used afterwards; it may have nothing to write.
     * Data that Node has read comes first. The descriptor stays the caller's when the call rejects
     * with EBADF, ENOTSOCK, EPROTOTYPE (no stream), EINVAL (it listens) or ENOTCONN; when the
     * factory throws it is closed. Without `tls` it does not wait: cancelled before, it takes
     * nothing. With `tls` this is the server of the handshake; its errors are those of `startTls`,
     * and cancelled meanwhile, or failed, the socket is closed. ENOTSUP on a simulated loop.
     * (asyncio: loop.connect_accepted_socket)
     */
    connectAcceptedSocket<P extends StreamProtocol>(
      factory: () => P,
      socket: number | Socket,
      options?: AcceptedSocketOptions,
    ): Promise<[Transport, P]>;
    /**
     * Takes over the end of a pipe or FIFO that is read, a tty, or a socket; its end closes the
     * transport. Who owns the descriptor: as above. EBADF also for an end that is not for reading,
     * EINVAL for files, EPERM for devices that cannot be waited for. (asyncio: connect_read_pipe)
     */
    connectReadPipe<P extends StreamProtocol>(
      factory: () => P,
      fd: number,
    ): Promise<[ReadTransport, P]>;
    /**
     * The end that is written. `writeEof()` closes it after the flush. When the reader goes,
     * `connectionLost` comes: at once on native (with EPIPE if data was left), with the next write
     * on pure. (asyncio: connect_write_pipe)
     */
    connectWritePipe<P extends BaseProtocol<WriteTransport>>(
      factory: () => P,
      fd: number,
    ): Promise<[WriteTransport, P]>;
    /**
     * Sends a file, in line behind what was written before; returns the number of bytes, fewer than
     * `countBytes` when the file ends. A descriptor's position is neither used nor moved. Until it
     * settles, `transport.write()` throws BusyResourceError, as does a second sendfile; data is
     * received all the while. Cancelled, the connection stays open and an unknown number of bytes,
     * a prefix of the file, was sent. Native: sendfile(2), at most 256 KiB a turn; a part that is
     * not in the page cache holds the loop meanwhile. Else, or for special files: copies, or with
     * `fallback: false` an error with code ENOTSUP. ClosedResourceError, BrokenResourceError,
     * EISDIR, and the errors of open(2). (asyncio: loop.sendfile)
     */
    sendfile(
      transport: Transport,
      file: string | number,
      options?: SendfileOptions,
    ): Promise<number>;
  }
}

EventLoop.prototype.addReader = function (fd: number, callback: () => void): void {
  addWatch(this, 'reader', fd, callback);
};

EventLoop.prototype.removeReader = function (fd: number): boolean {
  return removeWatch(this, 'reader', fd);
};

EventLoop.prototype.addWriter = function (fd: number, callback: () => void): void {
  addWatch(this, 'writer', fd, callback);
};

EventLoop.prototype.removeWriter = function (fd: number): boolean {
  return removeWatch(this, 'writer', fd);
};

EventLoop.prototype.connectAcceptedSocket = async function <P extends StreamProtocol>(
  this: EventLoop,
  factory: () => P,
  socket: number | Socket,
  options: AcceptedSocketOptions = {},
): Promise<[Transport, P]> {
  return adoptSocket(this, factory, socket, options);
};

EventLoop.prototype.connectReadPipe = async function <P extends StreamProtocol>(
  this: EventLoop,
  factory: () => P,
  fd: number,
): Promise<[ReadTransport, P]> {
  return adoptPipe(this, factory, fd, false);
};

EventLoop.prototype.connectWritePipe = async function <P extends BaseProtocol<WriteTransport>>(
  this: EventLoop,
  factory: () => P,
  fd: number,
): Promise<[WriteTransport, P]> {
  return adoptPipe(this, factory as () => BaseProtocol & P, fd, true);
};

EventLoop.prototype.sendfile = async function (
  this: EventLoop,
  transport: Transport,
  file: string | number,
  options: SendfileOptions = {},
): Promise<number> {
  return sendFile(this, transport, file, options);
};
