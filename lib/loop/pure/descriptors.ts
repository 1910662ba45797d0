/**
 * Open descriptors as node:net sockets, and what can be known of them without getsockopt(2), which
 * Node does not have.
 *
 * In: descriptor numbers. Out: sockets, or the error that the system would give. Never: a
 * descriptor that was refused and closed all the same.
 */
import { fstatSync, readFileSync, type Stats } from 'node:fs';
import * as net from 'node:net';
import * as tty from 'node:tty';
import { systemErrorByCode } from '../../base/errors.ts';

type SocketKind = 'listening' | 'connected' | 'datagram';

function rowsOf(table: string): string[][] {
  try {
    const text = readFileSync(`/proc/self/net/${table}`, 'latin1');
    return text.split('\n').map((line) => line.trim().split(/\s+/));
  } catch {
    return [];
  }
}

/** Undefined: nothing is known, as of sockets of another network namespace, or without /proc. */
function kindOf(stats: Stats): SocketKind | undefined {
  const inode = String(stats.ino);
  for (const table of ['tcp', 'tcp6']) {
    const row = rowsOf(table).find((fields) => fields[9] === inode);
    if (row !== undefined) return row[3] === '0A' ? 'listening' : 'connected';
  }
  const row = rowsOf('unix').find((fields) => fields[6] === inode);
  if (row !== undefined) {
    if (row[4] !== '0001') return 'datagram';
    if (row[3] === '00010000') return 'listening';
    return row[5] === '03' ? 'connected' : undefined;
  }
  const isInode = (fields: string[]): boolean => fields[9] === inode;
  return ['udp', 'udp6'].some((table) => rowsOf(table).some(isInode)) ? 'datagram' : undefined;
}

function checkSocket(fd: number, wanted: SocketKind): Error | null {
  const name = `fd ${fd}`;
  let stats: Stats;
  try {
    stats = fstatSync(fd);
  } catch {
    return systemErrorByCode('EBADF', 'open', name);
  }
  if (!stats.isSocket()) return systemErrorByCode('ENOTSOCK', 'open', name);
  const kind = kindOf(stats);
  if (kind === undefined || kind === wanted) return null;
  return systemErrorByCode(kind === 'datagram' ? 'EPROTOTYPE' : 'EINVAL', 'open', name);
}

/** Of a UNIX socket, which Node does not tell of one that it has not bound; '' when not known. */
export function listeningPath(fd: number): string {
  const inode = String(fstatSync(fd).ino);
  const path = rowsOf('unix').find((fields) => fields[6] === inode)?.[7] ?? '';
  // Zero bytes of abstract names are shown so.
  return path.startsWith('@') ? path.replaceAll('@', '\0') : path;
}

/** Null, or why a server cannot accept from it. */
export function listeningRefused(fd: number): Error | null {
  return checkSocket(fd, 'listening');
}

/** @throws Error EBADF, ENOTSOCK, EPROTOTYPE, EINVAL */
export function openSocket(fd: number): net.Socket {
  const refused = checkSocket(fd, 'connected');
  if (refused !== null) throw refused;
  return makeSocket(fd, { fd, readable: true, writable: true, allowHalfOpen: true });
}

function makeSocket(fd: number, options: net.SocketConstructorOpts): net.Socket {
  try {
    return new net.Socket(options);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ERR_INVALID_FD_TYPE') throw error;
    throw systemErrorByCode('EPROTOTYPE', 'open', `fd ${fd}`);
  }
}

/** Linux tells; elsewhere the first read or write does. */
function accessMode(fd: number): number {
  try {
    const flags = /flags:\s*([0-7]+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1];
    return flags === undefined ? -1 : Number.parseInt(flags, 8) & 3;
  } catch {
    return -1;
  }
}

/** @throws Error EBADF, also for the wrong end; EINVAL for a file; EPERM for other devices */
export function openPipe(fd: number, writes: boolean): net.Socket {
  const name = `fd ${fd}`;
  let stats: Stats;
  try {
    stats = fstatSync(fd);
  } catch {
    throw systemErrorByCode('EBADF', 'open', name);
  }
  const device = stats.isCharacterDevice();
  if (!stats.isFIFO() && !stats.isSocket() && !device) {
    throw systemErrorByCode('EINVAL', 'open', name);
  }
  if (accessMode(fd) === (writes ? 0 : 1)) throw systemErrorByCode('EBADF', 'open', name);
  if (device) {
    if (!tty.isatty(fd)) throw systemErrorByCode('EPERM', 'open', name);
    return writes ? new tty.WriteStream(fd) : new tty.ReadStream(fd);
  }
  return makeSocket(fd, { fd, readable: !writes, writable: writes, allowHalfOpen: true });
}
