/**
 * Options of WebSockets, checked.
 *
 * In: what users give. Out: numbers and lists. Never: a default in two places.
 */
import { argTypeError, rangeError } from '../../base/errors.ts';
import { checkBytes, checkMs } from '../../base/units.ts';
import { isToken } from '../headers.ts';
import { type CompressOptions, type CompressPlan, checkCompress } from './extensions.ts';

export interface WebSocketOptions {
  /** In order of preference. */
  protocols?: readonly string[];
  /**
   * Ping after that much silence, break the connection when half of it more is silent. While this
   * side does not read, only a peer that takes nothing of what waits for it is silent. None.
   */
  heartbeatMs?: number;
  /** Close code 1009 above it, before more is stored. Default 4 MiB. */
  maxMessageBytes?: number;
  /**
   * permessage-deflate (RFC 7692), where the peer has it, too. True: with windows of 4 KiB, which a
   * socket keeps only while compressed messages go that way. Default false.
   */
  compress?: boolean | CompressOptions;
  /** For the close handshake. Default 10_000. */
  closeTimeoutMs?: number;
  /** More does not wait to be written for a slow peer. Default 1 MiB. */
  maxBufferedBytes?: number;
  /**
   * What `publish` does to a subscriber for whom more than `maxBufferedBytes` wait: end its
   * connection (default), or leave the message out.
   */
  whenSlow?: 'close' | 'drop';
}

export interface WebSocketPlan {
  readonly protocols: readonly string[];
  readonly heartbeatMs: number;
  readonly maxMessageBytes: number;
  /** Null: not wanted. */
  readonly compress: CompressPlan | null;
  readonly closeTimeoutMs: number;
  readonly maxBufferedBytes: number;
  readonly dropsWhenSlow: boolean;
}

const mebibyte = 1024 * 1024;

function checkPositiveMs(name: string, value: number): number {
  checkMs(name, value);
  if (value <= 0) throw rangeError(name, '> 0', value);
  return value;
}

/** @throws TypeError, RangeError */
export function checkWebSocket(options: WebSocketOptions = {}): WebSocketPlan {
  const { protocols = [], whenSlow = 'close', compress = false } = options;
  if (!Array.isArray(protocols) || !protocols.every(isToken)) {
    throw argTypeError('protocols', 'an array of tokens', protocols);
  }
  if (whenSlow !== 'close' && whenSlow !== 'drop') {
    throw argTypeError('whenSlow', "'close' or 'drop'", whenSlow);
  }
  return {
    protocols,
    heartbeatMs: checkPositiveMs('heartbeatMs', options.heartbeatMs ?? Infinity),
    maxMessageBytes: checkBytes('maxMessageBytes', options.maxMessageBytes ?? 4 * mebibyte),
    compress: checkCompress(compress),
    closeTimeoutMs: checkPositiveMs('closeTimeoutMs', options.closeTimeoutMs ?? 10_000),
    maxBufferedBytes: checkBytes('maxBufferedBytes', options.maxBufferedBytes ?? mebibyte),
    dropsWhenSlow: whenSlow === 'drop',
  };
}
