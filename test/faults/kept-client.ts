/**
 * A client on one connection, in a few lines: thousands of them fit beside a test. It speaks HTTP,
 * or sends paths as lines and gets lines.
 *
 * In: a port, paths. Out: bodies, in their order; how often it was answered without having asked.
 * Never: another connection for a request whose own one has gone.
 */
import type { Socket } from 'node:net';
import { openSocket } from './scenario.ts';
import type { Speech } from './subject.ts';

export class KeptClient {
  readonly socket: Socket;
  /** Responses that nobody asked for, what is none, and parts of one. */
  surplus = 0;
  readonly #speech: Speech;
  #text = '';
  #waiting: ((body: string | null) => void)[] = [];

  private constructor(socket: Socket, speech: Speech) {
    this.socket = socket;
    this.#speech = speech;
    socket.setEncoding('latin1');
    socket.on('data', (text: unknown) => {
      this.#text += text as string;
      this.#read();
    });
    socket.on('end', () => socket.end());
    socket.on('close', () => {
      if (this.#text !== '') this.surplus += 1;
      for (const answered of this.#waiting) answered(null);
      this.#waiting = [];
    });
  }

  static async open(port: number, speech: Speech = 'http'): Promise<KeptClient> {
    return new KeptClient(await openSocket(port), speech);
  }

  /** As many at once as a backlog takes. */
  static async openMany(port: number, count: number): Promise<KeptClient[]> {
    const clients: KeptClient[] = [];
    while (clients.length < count) {
      const some = Array.from({ length: Math.min(200, count - clients.length) }, () =>
        KeptClient.open(port),
      );
      clients.push(...(await Promise.all(some)));
    }
    return clients;
  }

  get open(): boolean {
    return this.socket.readyState === 'open';
  }

  /** The body of the answer; null when the connection ends before it. */
  ask(path: string): Promise<string | null> {
    if (!this.open) return Promise.resolve(null);
    const lines = this.#speech === 'lines';
    this.socket.write(lines ? `${path}\n` : `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #read(): void {
    if (this.#speech === 'lines') {
      const lines = this.#text.split('\n');
      this.#text = lines.pop() as string;
      for (const line of lines) this.#answer(line, true);
      return;
    }
    for (;;) {
      const end = this.#text.indexOf('\r\n\r\n');
      if (end < 0) return;
      const head = this.#text.slice(0, end);
      const length = Number(/^content-length: (\d+)$/im.exec(head)?.[1]);
      const next = end + 4 + length;
      if (this.#text.length < next) return;
      const body = this.#text.slice(end + 4, next);
      this.#text = this.#text.slice(next);
      this.#answer(body, head.startsWith('HTTP/1.1 200'));
    }
  }

  #answer(body: string, good: boolean): void {
    const answered = this.#waiting.shift();
    if (answered === undefined || !good) this.surplus += 1;
    answered?.(body);
  }
}
