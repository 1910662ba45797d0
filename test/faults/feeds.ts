/**
 * WebSocket servers with peers that do not read.
 *
 * In: a program. Out: what it takes for them, and whether others have their messages. Never: a
 * bound on time.
 */
import type { Socket } from 'node:net';
import { collected, growth, pour } from './crowds.ts';
import { KeptClient } from './kept-client.ts';
import { noHttp, openSocket, type Scenario, serving } from './scenario.ts';
import { patienceMs, type Subject, within } from './subject.ts';

const group = 'WebSocket';
const messageBytes = 65_536;
/** As an answer; with a mask of zeros, which changes nothing, it is also what a client may send. */
const answerBytes = 10 + messageBytes;

function frame(): Buffer {
  const bytes = Buffer.alloc(answerBytes + 4);
  bytes.set([0x82, 0x80 | 127]);
  bytes.writeBigUInt64BE(BigInt(messageBytes), 2);
  return bytes;
}

async function open(port: number, path: string): Promise<Socket> {
  const socket = await openSocket(port);
  socket.write(
    `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  );
  return socket;
}

/** One that reads: resolves when so many messages have come. */
class Reader {
  readonly socket: Socket;
  #bytes = 0;
  #wanted = 0;
  #got = (): void => {};

  private constructor(socket: Socket, head: number) {
    this.socket = socket;
    this.#bytes = head;
    socket.on('data', (chunk) => {
      this.#bytes += chunk.length;
      if (this.#bytes >= this.#wanted) this.#got();
    });
  }

  static async open(port: number, path: string): Promise<Reader> {
    const socket = await open(port, path);
    const head = await new Promise<Buffer>((resolve) => socket.once('data', resolve));
    const end = head.indexOf('\r\n\r\n') + 4;
    return new Reader(socket, head.length - end);
  }

  async messages(count: number): Promise<void> {
    this.#wanted = count * answerBytes;
    const come = new Promise<void>((resolve) => {
      this.#got = resolve;
      if (this.#bytes >= this.#wanted) resolve();
    });
    await within(come, patienceMs, `${count} messages`);
  }
}

/** What the first round makes the program keep is none of the second round's peers. */
async function grows(
  subject: Subject,
  count: number,
  round: (deaf: number) => Promise<Socket[]>,
): Promise<string> {
  const other = await KeptClient.open(subject.servedPort);
  for (const peer of await round(count)) peer.destroy();
  const before = await collected(subject, other);
  const peers = await round(count);
  const after = await collected(subject, other);
  for (const peer of [...peers, other.socket]) peer.destroy();
  return growth((after - before) / count, 'a peer');
}

const deafEcho = serving('http', async (subject) => {
  const quick = await Reader.open(subject.servedPort, '/ws');
  let exchanged = 0;
  const seen = await grows(subject, 8, async (count) => {
    const deaf = Array.from({ length: count }, () => open(subject.servedPort, '/ws'));
    const peers = await Promise.all(deaf);
    await pour(peers, frame());
    quick.socket.write(frame());
    await quick.messages(++exchanged);
    return peers;
  });
  quick.socket.destroy();
  return seen;
});

const deafSubscribers = serving('http', async (subject) => {
  const port = subject.servedPort;
  const others = await Promise.all(Array.from({ length: 40 }, () => Reader.open(port, '/feed')));
  const control = await KeptClient.open(port);
  let published = 0;
  const seen = await grows(subject, 8, async (count) => {
    const peers = await Promise.all(Array.from({ length: count }, () => open(port, '/feed')));
    for (let i = 0; i < 120; i++) {
      await control.ask(`/publish/${messageBytes}`);
      published += 1;
      await Promise.all(others.map((other) => other.messages(published)));
    }
    return peers;
  });
  for (const { socket } of [...others, control]) socket.destroy();
  return seen;
});

export const feeds: readonly Scenario[] = [
  {
    group,
    title: 'eight peers of an echo that send without end and never read',
    expected: 'grows by at most 4 MiB a peer',
    without: [...noHttp, 'node'],
    run: deafEcho,
  },
  {
    group,
    title: 'eight subscribers of 48 never read',
    expected: 'grows by at most 4 MiB a peer',
    without: [...noHttp, 'node'],
    run: deafSubscribers,
  },
];
