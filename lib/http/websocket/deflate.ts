/**
 * permessage-deflate (RFC 7692): what is agreed on, and messages through zlib.
 *
 * In: the header of a handshake; messages. Out: an agreement; messages. Never: state of zlib
 * between two messages: it is agreed on that each stands for itself, so an idle connection costs
 * nothing; more bytes than a message may have.
 *
 * Calls are synchronous, so that order is kept and what costs time is seen where it is spent:
 * 1 MiB takes some milliseconds.
 */
import { Buffer } from 'node:buffer';
import { constants, deflateRawSync, inflateRawSync } from 'node:zlib';
import { closeBadData, closeTooBig, FrameError } from './frames.ts';

export interface Agreement {
  /** Of the window that this side may use. */
  readonly windowBits: number;
}

/** Smaller messages do not gain. */
export const minDeflateBytes = 1024;

const name = 'permessage-deflate';
const withoutContext = 'server_no_context_takeover; client_no_context_takeover';
const maxWindowBits = 15;
/** zlib makes no raw stream with 8. */
const minWindowBits = 9;

type Parameters = ReadonlyMap<string, string | null>;

interface Offer {
  readonly name: string;
  readonly parameters: Parameters;
}

const token = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+";
const offerForm = new RegExp(`^(${token})((?:\\s*;\\s*${token}(?:=(?:${token}|"${token}"))?)*)$`);
const parameterForm = new RegExp(`;\\s*(${token})(?:=(?:(${token})|"(${token})"))?`, 'g');

/** Null when the header is not of the form of RFC 6455 §9.1, or names a parameter twice. */
export function parseExtensions(header: string): readonly Offer[] | null {
  const offers: Offer[] = [];
  for (const part of header.split(',')) {
    const found = offerForm.exec(part.trim());
    if (found === null) return null;
    const parameters = new Map<string, string | null>();
    for (const [, key, value, quoted] of (found[2] as string).matchAll(parameterForm)) {
      if (parameters.has(key as string)) return null;
      parameters.set(key as string, value ?? quoted ?? null);
    }
    offers.push({ name: found[1] as string, parameters });
  }
  return offers;
}

function windowBits(value: string | null): number | null {
  if (value === null || !/^([89]|1[0-5])$/.test(value)) return null;
  return Number(value);
}

/** An offer of a client that can be met. */
function meet({
  name: offered,
  parameters,
}: Offer): { agreement: Agreement; header: string } | null {
  if (offered !== name) return null;
  let bits = maxWindowBits;
  let header = `${name}; ${withoutContext}`;
  for (const [key, value] of parameters) {
    if (key === 'server_no_context_takeover' || key === 'client_no_context_takeover') {
      if (value !== null) return null;
    } else if (key === 'server_max_window_bits') {
      const wanted = windowBits(value);
      if (wanted === null || wanted < minWindowBits) return null;
      bits = wanted;
      header += `; server_max_window_bits=${bits}`;
    } else if (key !== 'client_max_window_bits' || (value !== null && windowBits(value) === null)) {
      return null;
    }
  }
  return { agreement: { windowBits: bits }, header };
}

/** A server's choice: the first offer that can be met. Null: none, which is no error. */
export function chooseOffer(
  offers: readonly Offer[],
): { agreement: Agreement; header: string } | null {
  for (const offer of offers) {
    const met = meet(offer);
    if (met !== null) return met;
  }
  return null;
}

/** What a client asks for. */
export const clientOffer: string = `${name}; ${withoutContext}`;

/** @returns null for an answer that was not offered, or that this side cannot keep to */
export function readAnswer(header: string): Agreement | null {
  const answers = parseExtensions(header);
  const answer = answers?.[0];
  if (answers?.length !== 1 || answer?.name !== name) return null;
  const { parameters } = answer;
  // It was asked for, and who agrees says so: else the server may refer to messages before.
  if (!parameters.has('server_no_context_takeover')) return null;
  for (const [key, value] of parameters) {
    if (key === 'server_max_window_bits') {
      if (windowBits(value) === null) return null;
    } else if (key !== 'server_no_context_takeover' && key !== 'client_no_context_takeover') {
      return null;
    } else if (value !== null) {
      return null;
    }
  }
  return { windowBits: maxWindowBits };
}

const tail = Buffer.from([0x00, 0x00, 0xff, 0xff]);
const emptyBlock = Buffer.from([0x00]);

/** Without the four bytes that every message would end with (RFC 7692 §7.2.1). */
export function deflate(data: string | Uint8Array, agreement: Agreement): Buffer {
  if (data.length === 0) return emptyBlock;
  const deflated = deflateRawSync(data, {
    windowBits: agreement.windowBits,
    finishFlush: constants.Z_SYNC_FLUSH,
  });
  return deflated.subarray(0, deflated.length - tail.length);
}

/** @throws FrameError for bad data, and above `maxBytes`, of which no more is made */
export function inflate(payload: Buffer, maxBytes: number): Buffer {
  const whole = Buffer.concat([payload, tail]);
  try {
    return inflateRawSync(whole, {
      finishFlush: constants.Z_SYNC_FLUSH,
      maxOutputLength: Math.max(1, maxBytes),
    });
  } catch (error) {
    if ((error as { code?: unknown }).code === 'ERR_BUFFER_TOO_LARGE') {
      throw new FrameError(closeTooBig, `A message is longer than ${maxBytes} bytes`);
    }
    throw new FrameError(closeBadData, 'Compressed data is broken');
  }
}
