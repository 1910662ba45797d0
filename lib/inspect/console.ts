/**
 * A console on a UNIX socket: shows the tasks of a loop and cancels them on demand.
 *
 * In: lines of JSON, `{"command": "where", "argument": "3"}`. Out: one line of JSON for each,
 * `{"text": …}` or `{"error": …}`. Never: a socket that others than this user may open, a task or a
 * handle that keeps the process alive.
 *
 * It is on node:net whatever the loop's policy is, so that it is not among what it shows.
 */
import { once } from 'node:events';
import { chmodSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { isMainThread } from 'node:worker_threads';
import { notSupportedError } from '../base/errors.ts';
import { checkPath, isAbstract } from '../io/addresses.ts';
import { removeStale } from '../io/unix-file.ts';
import type { EventLoop, Instrument } from '../loop/event-loop.ts';
import { currentLoop, frameStorage } from '../task/frame.ts';
import { CommandError, execute } from './console-commands.ts';
import { defaultPath } from './console-paths.ts';

/** A request is short; whoever sends more is no client of ours. */
const maxRequestBytes = 4096;
const idleMs = 60_000;
const privateMask = 0o177;

function answer(loop: EventLoop, request: string): object {
  try {
    const { command, argument } = JSON.parse(request) as { command: string; argument?: string };
    return { text: execute(loop, String(command), argument) };
  } catch (error) {
    if (error instanceof CommandError) return { error: error.message };
    if (error instanceof SyntaxError) return { error: 'The request is not JSON' };
    return { error: `The request failed: ${error}` };
  }
}

function answersOn(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', ({ code }: NodeJS.ErrnoException) => {
      resolve(code !== 'ECONNREFUSED' && code !== 'ENOENT');
    });
  });
}

/** Nobody but this user may connect, from the moment on at which the file is there. */
async function bind(server: Server, path: string): Promise<void> {
  // The file is made within listen(). Threads cannot set the mask; there the folder must protect.
  const mask = isMainThread ? process.umask(privateMask) : null;
  try {
    // Outside of the task that asks for it, which is not at work when the console answers.
    frameStorage.run(undefined, () => server.listen(path));
  } finally {
    if (mask !== null) process.umask(mask);
  }
  await once(server, 'listening');
  chmodSync(path, 0o600);
}

class TaskConsole implements AsyncDisposable {
  readonly #loop: EventLoop;
  readonly #server: Server;
  readonly #sockets: Set<Socket> = new Set();
  /** With one on the loop, tasks note their age, and since when they wait. */
  readonly #instrument: Instrument = {};
  #closing: Promise<void> | null = null;
  readonly #close = (): Promise<void> => this[Symbol.asyncDispose]();

  constructor(loop: EventLoop) {
    this.#loop = loop;
    this.#server = createServer((socket) => this.#serve(socket));
    this.#server.unref();
  }

  async start(path: string): Promise<void> {
    try {
      await bind(this.#server, path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
      if (!(await removeStale(path, () => answersOn(path)))) throw error;
      await bind(this.#server, path);
    }
    this.#server.on('error', (error) => {
      this.#loop.callExceptionHandler({ message: 'The console failed to accept', error });
    });
    this.#loop.addInstrument(this.#instrument);
    this.#loop.closeHooks.add(this.#close);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      this.#loop.removeInstrument(this.#instrument);
      this.#loop.closeHooks.delete(this.#close);
      this.#server.close(() => resolve());
      // It removes the socket's file, too.
      for (const socket of this.#sockets) socket.destroy();
    });
    return this.#closing;
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    let request = '';
    socket.unref();
    socket.setEncoding('utf8');
    socket.setTimeout(idleMs, () => socket.destroy());
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('data', (chunk: string) => {
      request += chunk;
      for (;;) {
        const end = request.indexOf('\n');
        if (end < 0) break;
        socket.write(`${JSON.stringify(answer(this.#loop, request.slice(0, end)))}\n`);
        request = request.slice(end + 1);
      }
      if (request.length > maxRequestBytes) socket.destroy();
    });
  }
}

/**
 * Serves `npx uvio ps | tree | top | where <task> | cancel <task>` for the current loop on a UNIX
 * socket that only this user may open (mode 0600). Whoever may, can cancel any task.
 * Keeps nothing alive; ends with `dispose` or with the loop.
 * Rejects with the system's error (EADDRINUSE: a server answers there; ENAMETOOLONG above 107
 * bytes; EACCES when there is no such folder, or the default's belongs to somebody else), ENOTSUP
 * on Windows.
 * (`python -m asyncio pstree`, curio.monitor, aiomonitor)
 * @param options.path default: one by which `npx uvio` finds it
 */
export async function serveConsole(options: { path?: string } = {}): Promise<AsyncDisposable> {
  if (process.platform === 'win32') throw notSupportedError('listen', 'no UNIX sockets here');
  const path = options.path === undefined ? defaultPath() : checkPath(options.path, 'listen');
  if (isAbstract(path)) throw notSupportedError('listen', 'an abstract name has no owner');
  const served = new TaskConsole(currentLoop());
  await served.start(path);
  return served;
}
