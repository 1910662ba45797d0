/**
 * Frames of RFC 6455 that come in: strict, incremental, with bounded memory.
 *
 * In: chunks, which belong to the reader: payloads are unmasked in place. Out: whole messages and
 * control frames, to a sink. Never: memory for bytes that were only announced; a frame after the
 * first bad one; anything of an idle peer but one word.
 */
import { Buffer, isUtf8 } from 'node:buffer';
import type { Masker } from './mask.ts';
import { Utf8Checker } from './utf8.ts';

export const opContinuation = 0;
export const opText = 1;
export const opBinary = 2;
export const opClose = 8;
export const opPing = 9;
export const opPong = 10;

export const closeProtocolError = 1002;
export const closeBadData = 1007;
export const closeTooBig = 1009;

/** The peer broke the protocol; the close code to answer with. */
export class FrameError extends Error {
  readonly closeCode: number;

  constructor(closeCode: number, message: string) {
    super(message);
    this.closeCode = closeCode;
  }
}

export interface FrameSink {
  /** The reader's: what is left of one read for the next. Null at first, and for idle peers. */
  partial: Partial | null;
  /** Nothing more is read, also of the chunk that is being read. */
  readonly stopped: boolean;
  /** Its messages wait to be taken. */
  readonly full: boolean;
  /** What is left of a chunk, to be pushed when they were. */
  hold(rest: Buffer): void;
  /** A whole message. Text that is not compressed was checked to be UTF-8. */
  onMessage(payload: Buffer, text: boolean, compressed: boolean): void;
  /** @param opcode close, ping or pong */
  onControl(opcode: number, payload: Buffer): void;
}

export interface FrameRules {
  /** Frames of clients are masked, those of servers are not. */
  readonly masked: boolean;
  readonly mask: Masker;
  /** permessage-deflate was agreed on: RSV1 may be set. */
  readonly compressed: boolean;
  readonly maxMessageBytes: number;
}

const maxHeaderBytes = 14;
const maxControlBytes = 125;
const firstCapacity = 1024;

const nothing: Buffer = Buffer.alloc(0);

/** What is left of one read for the next: thousands of idle peers have none. */
export class Partial {
  /** Of a header that was cut. */
  readonly header: Buffer = Buffer.allocUnsafe(maxHeaderBytes);
  headerBytes = 0;
  // The frame whose payload comes.
  inPayload = false;
  first = 0;
  frameBytes = 0;
  /** Of its payload, so far. */
  got = 0;
  key = 0;
  control: Buffer = nothing;
  // The message that is being put together.
  /** opText, opBinary, or 0 when there is none. */
  message = 0;
  compressed = false;
  parts: Buffer = nothing;
  partsBytes = 0;
  utf8: Utf8Checker | null = null;

  get idle(): boolean {
    return this.message === 0 && this.headerBytes === 0 && !this.inPayload;
  }

  /** Into memory that grows with what has come, however many fragments that is. */
  append(piece: Buffer): void {
    if (this.message === opText && !this.compressed) {
      this.utf8 ??= new Utf8Checker();
      if (!this.utf8.push(piece)) throw badText();
    }
    const bytes = this.partsBytes + piece.length;
    if (bytes > this.parts.length) {
      const grown = Buffer.allocUnsafe(this.#capacity(bytes));
      this.parts.copy(grown, 0, 0, this.partsBytes);
      this.parts = grown;
    }
    piece.copy(this.parts, this.partsBytes);
    this.partsBytes = bytes;
  }

  /** With room for what the frame announces, as far as a part of it has come, and for no more. */
  #capacity(bytes: number): number {
    const rest = this.frameBytes - this.got;
    const wanted = bytes + Math.min(rest, 3 * bytes);
    const capacity = Math.max(wanted, this.parts.length * 2, firstCapacity);
    // Whoever keeps a message keeps all of its memory.
    return (this.first & 0x80) === 0 ? capacity : Math.min(capacity, bytes + rest);
  }
}

// What `readHeader` found last: a frame's header is read and used before the next one is.
let foundFirst = 0;
let foundBytes = 0;
let foundKey = 0;

/** One for all peers of the same rules: what there is of a peer is with its sink. */
export class FrameReader {
  readonly #rules: FrameRules;

  constructor(rules: FrameRules) {
    this.#rules = rules;
  }

  /** @throws FrameError at the first bad frame */
  push(sink: FrameSink, chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && !sink.stopped) {
      // A message may be a thousand times as large as what came.
      if (this.#rules.compressed && sink.full) {
        sink.hold(chunk.subarray(at));
        return;
      }
      const { partial } = sink;
      if (partial === null || partial.idle) at = this.#readWhole(sink, chunk, at);
      else if (partial.inPayload) at = this.#readPayload(sink, partial, chunk, at);
      else at = this.#readHeader(sink, partial, chunk, at);
    }
    if (sink.partial !== null && (sink.stopped || sink.partial.idle)) sink.partial = null;
  }

  /** A frame that is a message, or a control frame, as nearly all are: no state, no copy. */
  #readWhole(sink: FrameSink, chunk: Buffer, start: number): number {
    const { masked, mask } = this.#rules;
    const left = chunk.length - start;
    const size = left < 2 ? maxHeaderBytes : this.#headerSize(chunk, start, 0);
    const first = chunk[start] as number;
    if (left < size || (first & 0x80) === 0)
      return this.#readHeader(sink, opened(sink), chunk, start);
    this.#parseHeader(chunk, start, size, null);
    const from = start + size;
    const end = from + foundBytes;
    if (end > chunk.length) return this.#readHeader(sink, opened(sink), chunk, start);
    const payload = chunk.subarray(from, end);
    if (masked && foundBytes > 0) mask(payload, foundKey, 0);
    const opcode = first & 0x0f;
    if (opcode >= opClose) {
      sink.onControl(opcode, payload);
    } else {
      const compressed = (first & 0x40) !== 0;
      if (opcode === opText && !compressed && !isUtf8(payload)) throw badText();
      sink.onMessage(payload, opcode === opText, compressed);
    }
    return end;
  }

  /** Where the rest begins. */
  #readHeader(sink: FrameSink, partial: Partial, chunk: Buffer, start: number): number {
    const { header, message } = partial;
    let at = start;
    while (at < chunk.length) {
      header[partial.headerBytes++] = chunk[at++] as number;
      // Refused as soon as the two bytes that say most are there.
      if (partial.headerBytes < 2) continue;
      const size = this.#headerSize(header, 0, message);
      if (partial.headerBytes < size) continue;
      partial.headerBytes = 0;
      this.#parseHeader(header, 0, size, partial);
      const opcode = foundFirst & 0x0f;
      partial.inPayload = true;
      partial.first = foundFirst;
      partial.frameBytes = foundBytes;
      partial.got = 0;
      partial.key = foundKey;
      if (opcode === opText || opcode === opBinary) {
        partial.message = opcode;
        partial.compressed = (foundFirst & 0x40) !== 0;
      }
      if (foundBytes === 0) this.#endFrame(sink, partial);
      return at;
    }
    return at;
  }

  /** Length of the header, after a look at its first two bytes. */
  #headerSize(bytes: Buffer, at: number, message: number): number {
    const first = bytes[at] as number;
    const second = bytes[at + 1] as number;
    const { masked } = this.#rules;
    const length = second & 0x7f;
    // A whole message that is binary or text: nothing to object to.
    if ((first !== 0x82 && first !== 0x81) || message !== 0 || second >= 0x80 !== masked) {
      this.#checkStart(first, second >= 0x80, length, message);
    }
    const extended = length === 126 ? 2 : length === 127 ? 8 : 0;
    return 2 + extended + (masked ? 4 : 0);
  }

  #checkStart(first: number, masked: boolean, length: number, message: number): void {
    const opcode = first & 0x0f;
    const final = (first & 0x80) !== 0;
    const control = opcode >= opClose;
    if ((first & 0x30) !== 0) throw bad('RSV2 or RSV3 is set');
    if ((first & 0x40) !== 0) {
      if (!this.#rules.compressed) throw bad('RSV1 is set, and no extension was agreed on');
      if (control || opcode === opContinuation) throw bad('RSV1 is set on the wrong frame');
    }
    if ((opcode > opBinary && !control) || opcode > opPong) throw bad(`Opcode ${opcode}`);
    if (masked !== this.#rules.masked) {
      throw bad(masked ? 'A frame of a server is masked' : 'A frame of a client is not masked');
    }
    if (control) {
      if (!final) throw bad('A control frame is fragmented');
      if (length > maxControlBytes) throw bad('A control frame is longer than 125 bytes');
    } else if (opcode === opContinuation) {
      if (message === 0) throw bad('A continuation of nothing');
    } else if (message !== 0) {
      throw bad('A message begins inside of another');
    }
  }

  /** @param partial with the message that the frame may go on with */
  #parseHeader(bytes: Buffer, start: number, size: number, partial: Partial | null): void {
    const first = bytes[start] as number;
    let length = (bytes[start + 1] as number) & 0x7f;
    if (length === 126) {
      length = bytes.readUInt16BE(start + 2);
      if (length < 126) throw bad('A length is not written the shortest way');
    } else if (length === 127) {
      const high = bytes.readUInt32BE(start + 2);
      length = high * 2 ** 32 + bytes.readUInt32BE(start + 6);
      if (high >= 2 ** 31) throw bad('A length has its highest bit set');
      if (length < 65_536) throw bad('A length is not written the shortest way');
    }
    foundFirst = first;
    foundBytes = length;
    if (this.#rules.masked) foundKey = bytes.readInt32LE(start + size - 4);
    if ((first & 0x0f) < opClose) this.#checkLength(first, length, partial);
  }

  #checkLength(first: number, length: number, partial: Partial | null): void {
    const { maxMessageBytes } = this.#rules;
    const goesOn = partial !== null && partial.message !== 0;
    const compressed = goesOn ? partial.compressed : (first & 0x40) !== 0;
    const most = compressed ? deflatedBytes(maxMessageBytes) : maxMessageBytes;
    if ((goesOn ? partial.partsBytes : 0) + length > most) {
      throw new FrameError(closeTooBig, `A message is longer than ${maxMessageBytes} bytes`);
    }
  }

  #readPayload(sink: FrameSink, partial: Partial, chunk: Buffer, start: number): number {
    const end = Math.min(chunk.length, start + partial.frameBytes - partial.got);
    const piece = chunk.subarray(start, end);
    const { masked, mask } = this.#rules;
    if (masked) mask(piece, partial.key, partial.got);
    partial.got += piece.length;
    if ((partial.first & 0x0f) < opClose) partial.append(piece);
    else partial.control = Buffer.concat([partial.control, piece]);
    if (partial.got === partial.frameBytes) this.#endFrame(sink, partial);
    return end;
  }

  #endFrame(sink: FrameSink, partial: Partial): void {
    const opcode = partial.first & 0x0f;
    partial.inPayload = false;
    if (opcode >= opClose) {
      const { control } = partial;
      partial.control = nothing;
      sink.onControl(opcode, control);
    } else if ((partial.first & 0x80) !== 0) {
      if (partial.utf8?.end() === false) throw badText();
      const payload = partial.parts.subarray(0, partial.partsBytes);
      const text = partial.message === opText;
      partial.message = 0;
      partial.parts = nothing;
      partial.partsBytes = 0;
      partial.utf8 = null;
      sink.onMessage(payload, text, partial.compressed);
    }
  }
}

/** What cannot be compressed grows, at worst to nine bits for each byte (RFC 1951 3.2.6). */
function deflatedBytes(bytes: number): number {
  return bytes * 1.125 + 64;
}

function opened(sink: FrameSink): Partial {
  sink.partial ??= new Partial();
  return sink.partial;
}

function bad(what: string): FrameError {
  return new FrameError(closeProtocolError, what);
}

function badText(): FrameError {
  return new FrameError(closeBadData, 'A text is not UTF-8');
}
