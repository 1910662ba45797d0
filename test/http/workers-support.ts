/** Programs with workers, and clients that know which worker they talk to. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { RunAppOptions, WorkerMetrics } from '../../lib/http/index.ts';
import { type Connection, openConnection, sleep } from '../../lib/index.ts';
import { policyName } from '../support/policy.ts';

/** Null, or why this policy has none on this Node. */
export const missingWorkers: string | null = ((): string | null => {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const known = major > 23 || (major === 23 && minor >= 1) || (major === 22 && minor >= 12);
  return policyName === 'native' || known ? null : 'node:net has no reusePort here';
})();

const programFile = fileURLToPath(new URL('./programs/workers.mjs', import.meta.url));

type Settings = 'workers' | 'port' | 'shutdownTimeoutMs' | 'drainMs';

export interface ProgramOptions extends Pick<RunAppOptions, Settings> {
  fault?: 'throw' | 'exit' | 'hang';
  /** A bad end of workers, and `runApp` once more in the main thread; an end that does not come. */
  after?: 'again' | 'hang';
}

export class Program implements AsyncDisposable {
  readonly lines: string[] = [];
  errors = '';
  port = 0;
  readonly child: ChildProcess;
  readonly #clients: Set<Client> = new Set();
  #slow = 0;
  readonly #ended: Promise<unknown[]>;
  #changed: () => void = () => {};

  constructor(options: ProgramOptions = {}) {
    const given = { policy: policyName, workers: 2, port: 0, ...options };
    this.child = spawn(process.execPath, [programFile, JSON.stringify(given)]);
    this.#ended = once(this.child, 'close');
    void this.#ended.then(() => this.#changed());
    createInterface({ input: this.child.stdout as never }).on('line', (line) => {
      this.lines.push(line);
      this.#changed();
    });
    this.child.stderr?.on('data', (chunk) => {
      this.errors += chunk;
      this.#changed();
    });
  }

  /** One whose workers serve. */
  static async start(options?: ProgramOptions): Promise<Program> {
    const program = new Program(options);
    const line = await program.line(/^Running on /);
    program.port = Number(/:(\d+)\//.exec(line)?.[1]);
    return program;
  }

  /** Waits until `condition` holds, looking at each line that comes. */
  async until<T>(condition: () => T | undefined): Promise<T> {
    for (;;) {
      const found = condition();
      if (found !== undefined) return found;
      if (this.child.exitCode !== null || this.child.signalCode !== null) {
        throw new Error(`The program has ended: ${this.lines.join('\n')}\n${this.errors}`);
      }
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }

  line(pattern: RegExp): Promise<string> {
    return this.until(() => this.lines.find((line) => pattern.test(line)));
  }

  error(pattern: RegExp): Promise<true> {
    return this.until(() => (pattern.test(this.errors) ? true : undefined));
  }

  say(line: string): void {
    this.child.stdin?.write(`${line}\n`);
  }

  /** Exit code and signal. */
  async end(signal?: NodeJS.Signals): Promise<unknown[]> {
    if (signal !== undefined) this.child.kill(signal);
    return await this.#ended;
  }

  /** As its main thread sees it. */
  async metrics(): Promise<WorkerMetrics[]> {
    const lists = (): string[] => this.lines.filter((line) => line.startsWith('['));
    const before = lists().length;
    this.say('metrics');
    return JSON.parse(await this.until(() => lists()[before])) as WorkerMetrics[];
  }

  /** Until so many more slow requests have begun. */
  async slow(count: number): Promise<void> {
    const begun = (): number => this.lines.filter((line) => line === 'slow').length;
    this.#slow += count;
    await this.until(() => (begun() >= this.#slow ? true : undefined));
  }

  /** It is closed with the program. */
  async connect(): Promise<Client> {
    const client = await Client.open(this.port);
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

  async allServe(): Promise<boolean> {
    return (await this.metrics()).every((one) => one.load !== null);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill('SIGKILL');
    await this.#ended;
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

  static async open(port: number): Promise<Client> {
    return new Client(await openConnection({ host: '127.0.0.1', port }));
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

/** Asks again and again: how long it takes does not matter. */
export async function eventually(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(5);
}

/** Nobody listens there any more. */
export async function refused(port: number): Promise<boolean> {
  try {
    await (await Client.open(port)).close();
    return false;
  } catch {
    return true;
  }
}

/** On a connection of its own. */
export async function ask(port: number, path: string): Promise<Answer> {
  const client = await Client.open(port);
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
  readonly #port: number;
  readonly #clients: Promise<void>[];

  constructor(port: number) {
    this.#port = port;
    this.#clients = Array.from({ length: 16 }, (_, index) => this.#ask(index % 2 === 0));
  }

  /** Until nobody listens any more. */
  async #ask(keeps: boolean): Promise<void> {
    while (!(await refused(this.#port))) {
      const client = await Client.open(this.#port).catch(() => null);
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
