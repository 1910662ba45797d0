/**
 * A client of HTTP on one connection, in a few lines: thousands of them fit beside a test.
 *
 * In: a port, paths. Out: bodies, in their order; how often it was answered without having asked.
 * Never: another connection for a request whose own one has gone.
 */
import type { Socket } from 'node:net';
import { openSocket } from './scenario.ts';

export class KeptClient {
  readonly socket: Socket;
  /** Responses that nobody asked for, and what is none. */
  surplus = 0;
  #text = '';
  #waiting: ((body: string | null) => void)[] = [];

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.setEncoding('latin1');
    socket.on('data', (text: unknown) => {
      this.#text += text as string;
      this.#read();
    });
    socket.on('end', () => socket.end());
    socket.on('close', () => {
      for (const answered of this.#waiting) answered(null);
      this.#waiting = [];
    });
  }

  static async open(port: number): Promise<KeptClient> {
    return new KeptClient(await openSocket(port));
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
    this.socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #read(): void {
    for (;;) {
      const end = this.#text.indexOf('\r\n\r\n');
      if (end < 0) return;
      const head = this.#text.slice(0, end);
      const length = Number(/^content-length: (\d+)$/im.exec(head)?.[1]);
      const next = end + 4 + length;
      if (this.#text.length < next) return;
      const body = this.#text.slice(end + 4, next);
      this.#text = this.#text.slice(next);
      const answered = this.#waiting.shift();
      if (answered === undefined || !head.startsWith('HTTP/1.1 200')) this.surplus += 1;
      answered?.(body);
    }
  }
}
