/**
 * What a request's head must satisfy beyond the parser of node:http.
 *
 * In: the parts of a parsed head. Out: null, or the status and reason of its refusal. Never: a
 * regular expression that can back-track; leniency.
 */
import type { WireLimits } from './wire.ts';

export interface Refusal {
  readonly status: number;
  readonly reason: string;
}

/** A head as node:http gives it. */
export interface Head {
  readonly method: string;
  readonly target: string;
  readonly httpVersion: string;
  /** Flat. */
  readonly lines: readonly string[];
}

const hostName = /^(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})*(?::[0-9]{0,5})?$/;
const hostAddress = /^\[[0-9A-Fa-f:.]+\](?::[0-9]{0,5})?$/;
/** Visible ASCII; a fragment is not for servers. */
const originForm = /^\/[\x21\x22\x24-\x7e]*$/;
const absoluteForm = /^https?:\/\/([^/?#]*)([/?][\x21\x22\x24-\x7e]*)?$/i;

function refuse(status: number, reason: string): Refusal {
  return { status, reason };
}

/** `host` or `host:port` of RFC 3986, without user information. */
export function validHost(host: string): boolean {
  if (host.length > 0 && host[0] === '[') return hostAddress.test(host);
  return hostName.test(host);
}

function checkTarget(method: string, target: string): Refusal | null {
  if (originForm.test(target)) return null;
  if (target === '*') return method === 'OPTIONS' ? null : refuse(400, 'Bad request target');
  const absolute = absoluteForm.exec(target);
  const authority = absolute?.[1];
  if (authority === undefined || authority === '' || !validHost(authority)) {
    return refuse(400, 'Bad request target');
  }
  return null;
}

/** What matters of the header lines, found in one pass. */
interface Framing {
  hosts: number;
  host: string;
  lengths: number;
  length: string;
  codings: number;
  coding: string;
  expect: string | null;
  bytes: number;
}

function readFraming(lines: readonly string[]): Framing {
  const found: Framing = {
    hosts: 0,
    host: '',
    lengths: 0,
    length: '',
    codings: 0,
    coding: '',
    expect: null,
    bytes: 0,
  };
  for (let i = 0; i < lines.length; i += 2) {
    const name = lines[i] as string;
    const value = lines[i + 1] as string;
    found.bytes += name.length + value.length + 4;
    // Only names of these lengths matter: no lower case for the others.
    if (name.length === 4 && name.toLowerCase() === 'host') {
      found.hosts++;
      found.host = value;
    } else if (name.length === 14 && name.toLowerCase() === 'content-length') {
      found.lengths++;
      found.length = value;
    } else if (name.length === 17 && name.toLowerCase() === 'transfer-encoding') {
      found.codings++;
      found.coding = value;
    } else if (name.length === 6 && name.toLowerCase() === 'expect') {
      found.expect = value;
    }
  }
  return found;
}

/** Null when the head is good. */
export function checkHead(head: Head, limits: WireLimits): Refusal | null {
  const { httpVersion: version, lines } = head;
  if (version !== '1.1' && version !== '1.0') return refuse(505, 'HTTP version not supported');
  const framing = readFraming(lines);
  // With its blanks, the version and both line ends that are no header's.
  const lineBytes = head.method.length + head.target.length + 14;
  if (lines.length / 2 > limits.maxHeaders || framing.bytes + lineBytes > limits.maxHeaderBytes) {
    return refuse(431, 'Header fields too large');
  }
  if (framing.hosts > 1 || (framing.hosts === 0 && version === '1.1')) {
    return refuse(400, 'Exactly one Host header is needed');
  }
  if (!validHost(framing.host)) return refuse(400, 'Bad Host header');
  const target = checkTarget(head.method, head.target);
  if (target !== null) return target;
  if (framing.codings > 0) {
    if (version === '1.0' || framing.lengths > 0) return refuse(400, 'Ambiguous framing');
    if (framing.codings > 1 || framing.coding.toLowerCase() !== 'chunked') {
      return refuse(400, 'Transfer coding not supported');
    }
  }
  if (framing.lengths > 1) return refuse(400, 'Repeated Content-Length');
  if (framing.lengths === 1 && !validLength(framing.length)) {
    return refuse(400, 'Bad Content-Length');
  }
  if (framing.expect !== null && version === '1.1') {
    if (framing.expect.toLowerCase() !== '100-continue') return refuse(417, 'Expectation failed');
  }
  return null;
}

function validLength(text: string): boolean {
  return /^[0-9]{1,16}$/.test(text) && Number.isSafeInteger(Number(text));
}
