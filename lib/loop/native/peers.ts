/**
 * Addresses of datagrams, between the six words that C++ sees and the objects that users see.
 *
 * In: a head (see DatagramHead in native/core/datagram.h) or a host's text. Out: the other one.
 * Never: text made anew for each datagram of a peer that talks often.
 */
import type { SocketAddress } from '../backend.ts';
import { type Binding, HEAD_BYTES } from './layout.ts';

const HEAD_WORDS = HEAD_BYTES / 4;
/** Peers that are remembered, by a hash of their words. A collision makes one text anew. */
const PEERS = 1024;
/** Texts of hosts that are remembered; all are forgotten when there are more. */
const HOSTS = 1024;

const noAddress: SocketAddress = Object.freeze({ address: '', port: 0, family: 'IPv4' });

export class PeerTable {
  readonly #binding: Binding;
  /** Six words for each peer. */
  readonly #words: Int32Array = new Int32Array(PEERS * HEAD_WORDS);
  readonly #peers: SocketAddress[] = new Array(PEERS).fill(noAddress);
  readonly #hosts: Map<string, Int32Array> = new Map();
  /** The head at work, as words and as bytes. */
  readonly #head: Int32Array = new Int32Array(HEAD_WORDS);
  readonly #headBytes: Uint8Array = new Uint8Array(this.#head.buffer);

  constructor(binding: Binding) {
    this.#binding = binding;
  }

  /** Whom the datagram is from. Frozen: the same object for many datagrams. */
  read(chunk: Int32Array, at: number): SocketAddress {
    const w0 = chunk[at] as number;
    const w1 = chunk[at + 1] as number;
    const w2 = chunk[at + 2] as number;
    const w3 = chunk[at + 3] as number;
    const w4 = chunk[at + 4] as number;
    const w5 = chunk[at + 5] as number;
    const mixed = Math.imul(w0 ^ Math.imul(w1 ^ w2 ^ w3 ^ w4, 0x85eb_ca6b), 0x9e37_79b1);
    const index = (mixed >>> 16) & (PEERS - 1);
    const first = index * HEAD_WORDS;
    const words = this.#words;
    if (
      words[first] === w0 &&
      words[first + 1] === w1 &&
      words[first + 2] === w2 &&
      words[first + 3] === w3 &&
      words[first + 4] === w4 &&
      words[first + 5] === w5
    ) {
      return this.#peers[index] as SocketAddress;
    }
    const head = this.#head;
    head.set([w0, w1, w2, w3, w4, w5]);
    words.set(head, first);
    const peer = this.#decode(w0);
    this.#peers[index] = peer;
    return peer;
  }

  #decode(tag: number): SocketAddress {
    const family = tag >> 16;
    if (family === 0) return noAddress;
    const address = this.#binding.ipText(this.#headBytes);
    return Object.freeze({ address, port: tag & 0xffff, family: family === 6 ? 'IPv6' : 'IPv4' });
  }

  /** Writes the head of a datagram; 0, or a negative errno. */
  write(host: string | null, port: number, into: Int32Array, at: number): number {
    let words = host === null ? undefined : this.#hosts.get(host);
    if (words === undefined) {
      if (host === null) {
        into[at] = 0;
        return 0;
      }
      const code = this.#binding.parseIp(host, this.#headBytes);
      if (code !== 0) return code;
      words = this.#head.slice();
      if (this.#hosts.size >= HOSTS) this.#hosts.clear();
      this.#hosts.set(host, words);
    }
    into[at] = (words[0] as number) | port;
    into[at + 1] = words[1] as number;
    into[at + 2] = words[2] as number;
    into[at + 3] = words[3] as number;
    into[at + 4] = words[4] as number;
    into[at + 5] = words[5] as number;
    return 0;
  }
}
