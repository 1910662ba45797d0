/**
 * What both sides agree on about permessage-deflate (RFC 7692 §7.1).
 *
 * In: Sec-WebSocket-Extensions of the other side. Out: an agreement, the header to answer with.
 * Never: a window of the peer's that is larger than what this side keeps.
 */
import { argTypeError, rangeError } from '../../base/errors.ts';
import { checkCount } from '../../base/units.ts';

export interface CompressOptions {
  /**
   * Messages may refer to those before them, which makes them smaller and takes a window of memory
   * for each direction of a socket that sends compressed messages. Default true.
   */
  contextTakeover?: boolean;
  /** 8 … 15: windows have `2 ** windowBits` bytes. Default 12, which is 4 KiB. */
  windowBits?: number;
  /** Smaller messages are sent as they are. Default 512. */
  minBytes?: number;
}

export interface CompressPlan {
  readonly takeover: boolean;
  readonly windowBits: number;
  readonly minBytes: number;
}

/** What goes out and what comes in: how far back it may refer, and whether beyond its message. */
export interface Agreement {
  readonly sendBits: number;
  readonly sendTakeover: boolean;
  readonly receiveBits: number;
  readonly receiveTakeover: boolean;
}

export interface Chosen {
  readonly agreement: Agreement;
  readonly header: string;
}

const name = 'permessage-deflate';
const serverAlone = 'server_no_context_takeover';
const clientAlone = 'client_no_context_takeover';
const serverBits = 'server_max_window_bits';
const clientBits = 'client_max_window_bits';
const maxWindowBits = 15;

/** @throws TypeError, RangeError. Null: no compression. */
export function checkCompress(given: unknown): CompressPlan | null {
  if (given === false) return null;
  if (given !== true && (typeof given !== 'object' || given === null)) {
    throw argTypeError('compress', 'true, false or an object', given);
  }
  const options: CompressOptions = given === true ? {} : given;
  const { contextTakeover = true, windowBits = 12, minBytes = 512 } = options;
  if (typeof contextTakeover !== 'boolean') {
    throw argTypeError('compress.contextTakeover', 'true or false', contextTakeover);
  }
  if (!Number.isInteger(windowBits) || windowBits < 8 || windowBits > maxWindowBits) {
    throw rangeError('compress.windowBits', '8 … 15', windowBits);
  }
  return {
    takeover: contextTakeover,
    windowBits,
    minBytes: checkCount('compress.minBytes', minBytes),
  };
}

type Parameters = ReadonlyMap<string, string | null>;

interface Offer {
  readonly name: string;
  readonly parameters: Parameters;
}

const token = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+";
// Each part begins with what the one before cannot hold: no header makes them go back far.
const offerForm = new RegExp(
  `^[ \\t]*(${token})((?:[ \\t]*;[ \\t]*${token}(?:=(?:${token}|"${token}"))?)*)[ \\t]*$`,
);
const parameterForm = new RegExp(`;[ \\t]*(${token})(?:=(?:(${token})|"(${token})"))?`, 'g');

const none: Parameters = new Map();

/** Null when the header is not of the form of RFC 6455 §9.1, or names a parameter twice. */
export function parseExtensions(header: string): readonly Offer[] | null {
  const offers: Offer[] = [];
  for (const part of header.split(',')) {
    const found = offerForm.exec(part);
    if (found === null) return null;
    // Thousands of these fit into a header.
    if (found[2] === '') {
      offers.push({ name: found[1] as string, parameters: none });
      continue;
    }
    const parameters = new Map<string, string | null>();
    for (const [, key, value, quoted] of (found[2] as string).matchAll(parameterForm)) {
      if (parameters.has(key as string)) return null;
      parameters.set(key as string, value ?? quoted ?? null);
    }
    offers.push({ name: found[1] as string, parameters });
  }
  return offers;
}

/** Its four parameters, each of its form; null for any other. */
interface Read {
  readonly serverAlone: boolean;
  readonly clientAlone: boolean;
  readonly serverBits: number | null;
  /** 0: named without a value. */
  readonly clientBits: number | null;
}

function readParameters(parameters: Parameters): Read | null {
  for (const [key, value] of parameters) {
    if (key === serverAlone || key === clientAlone) {
      if (value !== null) return null;
    } else if (key === clientBits || key === serverBits) {
      if (value === null ? key === serverBits : !/^([89]|1[0-5])$/.test(value)) return null;
    } else {
      return null;
    }
  }
  const bits = (key: string): number | null =>
    parameters.has(key) ? Number(parameters.get(key)) : null;
  return {
    serverAlone: parameters.has(serverAlone),
    clientAlone: parameters.has(clientAlone),
    serverBits: bits(serverBits),
    clientBits: bits(clientBits),
  };
}

/** An offer of a client that can be met. */
function meet(offer: Offer, plan: CompressPlan): Chosen | null {
  if (offer.name !== name) return null;
  const read = readParameters(offer.parameters);
  if (read === null) return null;
  let header = name;
  const sendTakeover = plan.takeover && !read.serverAlone;
  if (!sendTakeover) header += `; ${serverAlone}`;
  const sendBits = Math.min(plan.windowBits, read.serverBits ?? maxWindowBits);
  if (read.serverBits !== null) header += `; ${serverBits}=${sendBits}`;
  let receiveBits = maxWindowBits;
  if (read.clientBits !== null) {
    receiveBits = Math.min(plan.windowBits, read.clientBits || maxWindowBits);
    header += `; ${clientBits}=${receiveBits}`;
  }
  // A client that cannot be told of a smaller window is told to do without one.
  const receiveTakeover = plan.takeover && !read.clientAlone && receiveBits <= plan.windowBits;
  if (!receiveTakeover) header += `; ${clientAlone}`;
  return { agreement: { sendBits, sendTakeover, receiveBits, receiveTakeover }, header };
}

/** A server's choice: the first offer that can be met. Null: none, which is no error. */
export function chooseOffer(offers: readonly Offer[], plan: CompressPlan): Chosen | null {
  for (const offer of offers) {
    const met = meet(offer, plan);
    if (met !== null) return met;
  }
  return null;
}

/** What a client asks for: a window that it can keep, else a server without one. */
export function clientOffer({ takeover, windowBits }: CompressPlan): string {
  const apart = `${name}; ${serverAlone}; ${clientBits}`;
  if (!takeover) return `${name}; ${serverAlone}; ${clientAlone}; ${clientBits}`;
  if (windowBits === maxWindowBits) return `${name}; ${clientBits}`;
  return `${name}; ${serverBits}=${windowBits}; ${clientBits}, ${apart}`;
}

/** @returns null for an answer that was not offered, or that this side cannot keep to */
export function readAnswer(header: string, plan: CompressPlan): Agreement | null {
  const answers = parseExtensions(header);
  const answer = answers?.[0];
  if (answers?.length !== 1 || answer?.name !== name) return null;
  const read = readParameters(answer.parameters);
  if (read === null || read.clientBits === 0) return null;
  const receiveBits = read.serverBits ?? maxWindowBits;
  const receiveTakeover = !read.serverAlone;
  if (receiveTakeover && (!plan.takeover || receiveBits > plan.windowBits)) return null;
  return {
    sendBits: Math.min(plan.windowBits, read.clientBits ?? maxWindowBits),
    sendTakeover: plan.takeover && !read.clientAlone,
    receiveBits,
    receiveTakeover,
  };
}
