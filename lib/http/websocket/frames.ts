/**
 * Frames of RFC 6455 that come in: strict, incremental, with bounded memory.
 *
 * In: chunks, which belong to this reader: payloads are unmasked in place. Out: whole messages and
 * control frames, to a sink. Never: memory for bytes that were only announced; a frame after the
 * first bad one.
 */
import { Buffer, isUtf8 } from 'node:buffer';
import { maskInPlace } from './mask.ts';
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
  /** A whole message. Text that is not compressed was checked to be UTF-8. */
  onMessage(payload: Buffer, text: boolean, compressed: boolean): void;
  /** @param opcode close, ping or pong */
  onControl(opcode: number, payload: Buffer): void;
}

export interface FrameRules {
  /** Frames of clients are masked, those of servers are not. */
  readonly masked: boolean;
  /** permessage-deflate was agreed on: RSV1 may be set. */
  readonly compressed: boolean;
  readonly maxMessageBytes: number;
}

const maxHeaderBytes = 14;
const maxControlBytes = 125;
const firstCapacity = 1024;

const nothing: Buffer = Buffer.alloc(0);
/** The key of the frame that is read now; a reader keeps its own as a number. */
const keyBytes: Buffer = Buffer.alloc(4);

export class FrameReader {
  readonly #sink: FrameSink;
  readonly #rules: FrameRules;
  /** The beginning of a frame's header that was cut; thousands of idle readers have none. */
  #header: Buffer = nothing;
  #headerBytes = 0;
  // The frame whose payload comes.
  #inPayload = false;
  #opcode = 0;
  #final = false;
  #frameBytes = 0;
  /** Of the frame's payload, so far. */
  #got = 0;
  #key = 0;
  // The message that is being put together.
  /** opText, opBinary, or 0 when there is none. */
  #message = 0;
  #compressed = false;
  #parts: Buffer = nothing;
  #partsBytes = 0;
  #utf8: Utf8Checker | null = null;
  #control: Buffer = nothing;
  #stopped = false;

  constructor(sink: FrameSink, rules: FrameRules) {
    this.#sink = sink;
    this.#rules = rules;
  }

  /** Nothing more is read, also of the chunk that is being read. */
  stop(): void {
    this.#stopped = true;
    this.#parts = nothing;
    this.#control = nothing;
  }

  /** @throws FrameError at the first bad frame */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && !this.#stopped) {
      at = this.#inPayload ? this.#readPayload(chunk, at) : this.#readHeader(chunk, at);
    }
  }

  /** Where the rest begins. */
  #readHeader(chunk: Buffer, start: number): number {
    if (this.#headerBytes === 0 && chunk.length - start >= maxHeaderBytes) {
      const size = this.#headerSize(chunk, start);
      this.#openFrame(chunk, start, size);
      return this.#frameBytes === 0 ? this.#endFrame(nothing, start + size) : start + size;
    }
    if (this.#headerBytes === 0) this.#header = Buffer.allocUnsafe(maxHeaderBytes);
    const header = this.#header;
    let at = start;
    while (at < chunk.length) {
      header[this.#headerBytes++] = chunk[at++] as number;
      // Refused as soon as the two bytes that say most are there.
      if (this.#headerBytes < 2) continue;
      const size = this.#headerSize(header, 0);
      if (this.#headerBytes < size) continue;
      this.#headerBytes = 0;
      this.#header = nothing;
      this.#openFrame(header, 0, size);
      return this.#frameBytes === 0 ? this.#endFrame(nothing, at) : at;
    }
    return at;
  }

  /** Length of the header, after a look at its first two bytes. */
  #headerSize(bytes: Buffer, at: number): number {
    const first = bytes[at] as number;
    const second = bytes[at + 1] as number;
    this.#checkStart(first, (second & 0x80) !== 0, second & 0x7f);
    const length = second & 0x7f;
    const extended = length === 126 ? 2 : length === 127 ? 8 : 0;
    return 2 + extended + (this.#rules.masked ? 4 : 0);
  }

  #checkStart(first: number, masked: boolean, length: number): void {
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
      if (this.#message === 0) throw bad('A continuation of nothing');
    } else if (this.#message !== 0) {
      throw bad('A message begins inside of another');
    }
  }

  #openFrame(bytes: Buffer, start: number, size: number): void {
    const first = bytes[start] as number;
    const short = (bytes[start + 1] as number) & 0x7f;
    let length = short;
    if (short === 126) {
      length = bytes.readUInt16BE(start + 2);
      if (length < 126) throw bad('A length is not written the shortest way');
    } else if (short === 127) {
      const high = bytes.readUInt32BE(start + 2);
      length = high * 2 ** 32 + bytes.readUInt32BE(start + 6);
      if (high >= 2 ** 31) throw bad('A length has its highest bit set');
      if (length < 65_536) throw bad('A length is not written the shortest way');
    }
    this.#opcode = first & 0x0f;
    this.#final = (first & 0x80) !== 0;
    this.#frameBytes = length;
    this.#got = 0;
    if (this.#rules.masked) this.#key = bytes.readInt32BE(start + size - 4);
    this.#inPayload = true;
    if (this.#opcode >= opClose) return;
    if (this.#opcode !== opContinuation) {
      this.#message = this.#opcode;
      this.#compressed = (first & 0x40) !== 0;
    }
    if (this.#partsBytes + length > this.#rules.maxMessageBytes) {
      const { maxMessageBytes } = this.#rules;
      throw new FrameError(closeTooBig, `A message is longer than ${maxMessageBytes} bytes`);
    }
  }

  #readPayload(chunk: Buffer, start: number): number {
    const left = this.#frameBytes - this.#got;
    const end = Math.min(chunk.length, start + left);
    const piece = chunk.subarray(start, end);
    if (this.#rules.masked) {
      keyBytes.writeInt32BE(this.#key);
      maskInPlace(piece, keyBytes, this.#got);
    }
    if (this.#got === 0 && piece.length === left) return this.#endFrame(piece, end);
    this.#got += piece.length;
    if (this.#opcode >= opClose) this.#control = Buffer.concat([this.#control, piece]);
    else this.#append(piece);
    if (piece.length < left) return end;
    if (this.#opcode < opClose) return this.#endFrame(nothing, end);
    const control = this.#control;
    this.#control = nothing;
    return this.#endFrame(control, end);
  }

  /** @param piece what was not appended: the whole payload, or nothing */
  #endFrame(piece: Buffer, end: number): number {
    this.#inPayload = false;
    if (this.#opcode >= opClose) {
      this.#sink.onControl(this.#opcode, piece);
    } else if (!this.#final) {
      this.#append(piece);
    } else if (this.#partsBytes === 0 && this.#utf8 === null) {
      // In one piece, as nearly all are: no copy.
      if (this.#message === opText && !this.#compressed && !isUtf8(piece)) throw badText();
      this.#endMessage(piece);
    } else {
      this.#append(piece);
      if (this.#utf8?.end() === false) throw badText();
      this.#endMessage(this.#parts.subarray(0, this.#partsBytes));
    }
    return end;
  }

  #endMessage(payload: Buffer): void {
    const text = this.#message === opText;
    this.#message = 0;
    this.#parts = nothing;
    this.#partsBytes = 0;
    this.#utf8 = null;
    this.#sink.onMessage(payload, text, this.#compressed);
  }

  /** Into memory that grows with what has come, however many fragments that is. */
  #append(piece: Buffer): void {
    if (this.#message === opText && !this.#compressed) {
      this.#utf8 ??= new Utf8Checker();
      if (!this.#utf8.push(piece)) throw badText();
    }
    const bytes = this.#partsBytes + piece.length;
    if (bytes > this.#parts.length) {
      const grown = Buffer.allocUnsafe(Math.max(bytes, this.#parts.length * 2, firstCapacity));
      this.#parts.copy(grown, 0, 0, this.#partsBytes);
      this.#parts = grown;
    }
    piece.copy(this.#parts, this.#partsBytes);
    this.#partsBytes = bytes;
  }
}

function bad(what: string): FrameError {
  return new FrameError(closeProtocolError, what);
}

function badText(): FrameError {
  return new FrameError(closeBadData, 'A text is not UTF-8');
}
