/** Programs with workers, and clients that know which worker they talk to. */
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';
import type { RunAppOptions, WorkerMetrics } from '../../lib/http/index.ts';
import {
  type Connection,
  openConnection,
  openUnixConnection,
  sleep,
  type TlsClientOptions,
} from '../../lib/index.ts';
import { clientTls, pem } from '../io/tls-support.ts';
import { policyName } from '../support/policy.ts';
import { root } from '../support/source-tree.ts';

/** Null, or why this policy has none on this Node. */
export const missingWorkers: string | null = ((): string | null => {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const known = major > 23 || (major === 23 && minor >= 1) || (major === 22 && minor >= 12);
  return policyName === 'native' || known ? null : 'node:net has no reusePort here';
})();

const source = fileURLToPath(new URL('./programs/workers.mjs', import.meta.url));
/** As deep as the package's own files: the addon is found from where they lie. */
const programFile = join(root, 'build/programs/workers', `${policyName}.mjs`);

/** One file, since each thread of each program loads it: that is most of the time of a start. */
export async function buildProgram(): Promise<void> {
  const built = await rolldown({
    input: source,
    platform: 'node',
    external: [/^node:/, 'node-gyp-build'],
  });
  await built.write({ file: programFile, codeSplitting: false });
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

export class Program implements AsyncDisposable {
  readonly lines: string[] = [];
  errors = '';
  place: Place;
  readonly child: ChildProcess;
  readonly #clients: Set<Client> = new Set();
  #slow = 0;
  readonly #ended: Promise<unknown[]>;
  #changed: () => void = () => {};

  /** @param inherited becomes its descriptor 3 */
  constructor({ secure = false, ...options }: ProgramOptions = {}, inherited?: number) {
    const { path, fd } = options;
    const where = path === undefined && fd === undefined ? { host: '127.0.0.1', port: 0 } : {};
    const tls = secure
      ? { tls: { cert: `${pem('server.pem')}`, key: `${pem('server-key.pem')}` } }
      : {};
    const given = { policy: policyName, workers: 2, ...where, ...tls, ...options };
    const stdio = ['pipe', 'pipe', 'pipe', ...(inherited === undefined ? [] : [inherited])];
    this.place = { ...(path === undefined ? {} : { path }), ...(secure ? { tls: clientTls } : {}) };
    this.child = spawn(process.execPath, [programFile, JSON.stringify(given)], {
      stdio: stdio as StdioOptions,
    });
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
  static async start(options?: ProgramOptions, inherited?: number): Promise<Program> {
    const program = new Program(options, inherited);
    const line = await program.line(/^Running on /);
    const port = /:(\d+)\//.exec(line)?.[1];
    if (port !== undefined) program.place = { ...program.place, port: Number(port) };
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

/** Asks again and again: how long it takes does not matter. */
export async function eventually(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(5);
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
