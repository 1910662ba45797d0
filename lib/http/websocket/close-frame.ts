/**
 * Codes and reasons of close frames (RFC 6455 §7.4).
 *
 * In: payloads, codes. Out: the other. Never: a code on the wire that must not be there.
 */
import { Buffer, isUtf8 } from 'node:buffer';
import { argTypeError, rangeError } from '../../base/errors.ts';
import { closeBadData, closeProtocolError, FrameError } from './frames.ts';

const noCode = 1005;
const maxReasonBytes = 123;

/** 1004, 1005, 1006 and 1015 are never sent; 1016 … 2999 belong to the protocol's future. */
function maySend(code: number): boolean {
  if (code >= 3000 && code <= 4999) return true;
  return code >= 1000 && code <= 1014 && code !== 1004 && code !== 1005 && code !== 1006;
}

/** @throws FrameError */
export function readClose(payload: Buffer): { code: number; reason: string } {
  if (payload.length === 0) return { code: noCode, reason: '' };
  if (payload.length === 1) throw new FrameError(closeProtocolError, 'Half of a close code');
  const code = payload.readUInt16BE(0);
  if (!maySend(code)) throw new FrameError(closeProtocolError, `Close code ${code}`);
  const reason = payload.subarray(2);
  if (!isUtf8(reason)) throw new FrameError(closeBadData, 'The reason of a close is not UTF-8');
  return { code, reason: reason.toString('utf8') };
}

/** @throws TypeError, RangeError */
export function writeClose(code: number, reason: string): Buffer {
  if (typeof code !== 'number') throw argTypeError('code', 'a number', code);
  if (!Number.isInteger(code) || !maySend(code)) {
    throw rangeError('code', '1000 … 1003, 1007 … 1014 or 3000 … 4999', code);
  }
  if (typeof reason !== 'string') throw argTypeError('reason', 'a string', reason);
  const bytes = Buffer.byteLength(reason);
  if (bytes > maxReasonBytes) throw rangeError('reason', 'at most 123 bytes long', bytes);
  const payload = Buffer.allocUnsafe(2 + bytes);
  payload.writeUInt16BE(code, 0);
  payload.write(reason, 2);
  return payload;
}

export function closeReasonOf(error: Error): string {
  return error.message.slice(0, maxReasonBytes);
}
