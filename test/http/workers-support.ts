/** Programs with workers, and clients that know which worker they talk to. */
import type { RunAppOptions } from '../../lib/http/index.ts';
import {
  type Connection,
  openConnection,
  openUnixConnection,
  type TlsClientOptions,
} from '../../lib/index.ts';
import { clientTls, pem } from '../io/tls-support.ts';
import { buildProgram as buildFile, WorkerProgram } from '../support/worker-program.ts';

let programFile = '';

export async function buildProgram(): Promise<void> {
  programFile = await buildFile(new URL('./programs/workers.mjs', import.meta.url), 'workers');
}

type Settings = 'workers' | 'port' | 'path' | 'fd' | 'shutdownTimeoutMs' | 'drainMs';

/** Where clients go. */
export interface Place {
  readonly port?: number;
  readonly path?: string;
  readonly tls?: TlsClientOptions;
}

export interface ProgramOptions extends Pick<RunAppOptions, Settings> {
  fault?: 'throw' | 'exit' | 'hang';
  /** A bad end of workers, and `runApp` once more in the main thread; an end that does not come. */
  after?: 'again' | 'hang';
  secure?: boolean;
}

export class Program extends WorkerProgram {
  place: Place;
  readonly #clients: Set<Client> = new Set();
  #slow = 0;

  /** @param inherited becomes its descriptor 3 */
  constructor({ secure = false, ...options }: ProgramOptions = {}, inherited?: number) {
    const { path, fd } = options;
    const where = path === undefined && fd === undefined ? { host: '127.0.0.1', port: 0 } : {};
    const tls = secure
      ? { tls: { cert: `${pem('server.pem')}`, key: `${pem('server-key.pem')}` } }
      : {};
    super(programFile, { ...where, ...tls, ...options }, inherited);
    this.place = { ...(path === undefined ? {} : { path }), ...(secure ? { tls: clientTls } : {}) };
  }

  /** One whose workers serve. */
  static async start(options?: ProgramOptions, inherited?: number): Promise<Program> {
    const program = new Program(options, inherited);
    const line = await program.line(/^Running on /);
    const port = /:(\d+)\//.exec(line)?.[1];
    if (port !== undefined) program.place = { ...program.place, port: Number(port) };
    return program;
  }

  /** Until so many more slow requests have begun. */
  async slow(count: number): Promise<void> {
    const begun = (): number => this.lines.filter((line) => line === 'slow').length;
    this.#slow += count;
    await this.until(() => (begun() >= this.#slow ? true : undefined));
  }

  /** It is closed with the program. */
  async connect(): Promise<Client> {
    const client = await Client.open(this.place);
    this.#clients.add(client);
    return client;
  }

  /** One connection to each of its workers. */
  async reach(count: number): Promise<Client[]> {
    const found: Map<string, Client> = new Map();
    while (found.size < count) {
      const client = await this.connect();
      const { text } = await client.ask('/who');
      if (found.has(text)) await client.close();
      else found.set(text, client);
    }
    return [...found.values()];
  }

  async reachThread(threadId: string): Promise<Client> {
    for (;;) {
      const client = await this.connect();
      if ((await client.ask('/who')).text === threadId) return client;
      await client.close();
    }
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    await super[Symbol.asyncDispose]();
    for (const client of this.#clients) await client.close();
  }
}

export interface Answer {
  readonly status: number;
  readonly text: string;
}

/** A connection that is kept. */
export class Client {
  readonly #connection: Connection;
  /** Of the worker behind it. */
  threadId = '';
  /** The server said that it closes. */
  closes = false;

  private constructor(connection: Connection) {
    this.#connection = connection;
  }

  static async open({ port, path, tls }: Place): Promise<Client> {
    const secure = tls === undefined ? {} : { tls };
    if (path !== undefined) return new Client(await openUnixConnection(path, secure));
    return new Client(await openConnection({ host: '127.0.0.1', port: port as number, ...secure }));
  }

  /** Rejects when the connection ends before the whole answer has come. */
  async ask(path: string, header: string = ''): Promise<Answer> {
    const connection = this.#connection;
    await connection.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n${header}\r\n`);
    const head = String(await connection.readUntil('\r\n\r\n'));
    this.closes = /^connection: close\r/im.test(head);
    const length = Number(/content-length: (\d+)/i.exec(head)?.[1]);
    const text = String(await connection.readExactly(length));
    if (path === '/who') this.threadId = text;
    return { status: Number(head.split(' ')[1]), text };
  }

  /** Until the server has closed it, with nothing more to say. */
  async ended(): Promise<void> {
    if ((await this.#connection.read().catch(() => null)) !== null) throw new Error('more bytes');
  }

  async close(): Promise<void> {
    await this.#connection.close().catch(() => {});
  }
}

/** Nobody listens there any more. */
export async function refused(place: Place): Promise<boolean> {
  try {
    await (await Client.open(place)).close();
    return false;
  } catch {
    return true;
  }
}

/** On a connection of its own. */
export async function ask(place: Place, path: string): Promise<Answer> {
  const client = await Client.open(place);
  try {
    return await client.ask(path, 'Connection: close\r\n');
  } finally {
    await client.close();
  }
}

/** Many clients, some on one connection and some on a new one for each request. */
export class Load {
  /** Whole answers. */
  answered = 0;
  /** Requests without one on a connection that was good before; answers that broke off. */
  lost = 0;
  readonly #place: Place;
  readonly #clients: Promise<void>[];

  constructor(place: Place) {
    this.#place = place;
    this.#clients = Array.from({ length: 16 }, (_, index) => this.#ask(index % 2 === 0));
  }

  /** Until nobody listens any more. */
  async #ask(keeps: boolean): Promise<void> {
    while (!(await refused(this.#place))) {
      const client = await Client.open(this.#place).catch(() => null);
      let asked = 0;
      try {
        while (client?.closes === false) {
          await client.ask('/slow/1', keeps ? '' : 'Connection: close\r\n');
          this.answered++;
          asked++;
        }
      } catch (error) {
        // A new connection that the server had not accepted yet is reset by the system.
        const { partial } = error as { partial?: Buffer };
        if (asked > 0 || (partial?.length ?? 0) > 0) this.lost++;
      }
      await client?.close();
    }
  }

  async end(): Promise<void> {
    await Promise.all(this.#clients);
  }
}
