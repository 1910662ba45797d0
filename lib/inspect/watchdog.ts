/**
 * A thread that looks where this one hangs.
 *
 * In: beats of a loop that goes round. Out: the stack of the code that keeps it, taken while it
 * does. Never: a thread that keeps the process alive, a debugger that is on while nothing hangs.
 *
 * When no beat came for `thresholdMs`, the thread connects Node's inspector to the main thread,
 * pauses it, reads the stack and lets it go on: a few milliseconds, in a step that is too long
 * anyway. It shows JavaScript that runs; for a call that blocks in C++ (Atomics.wait, readFileSync)
 * the pause comes when the call returns, and shows its caller. Only the main thread can be looked
 * at, and not while somebody debugs it: there is no stack then. (Tried on Node 20, 22, 24, 26.)
 */
import { url as debuggerUrl } from 'node:inspector';
import {
  isMainThread,
  MessageChannel,
  type MessagePort,
  receiveMessageOnPort,
  Worker,
} from 'node:worker_threads';

/** What the thread is given. */
interface WatchData {
  readonly port: MessagePort;
  readonly beats: Int32Array;
  readonly thresholdMs: number;
  /** What the addresses of uvio's own files begin with. */
  readonly own: string;
}

interface Sighting {
  /** The beat after which the loop hung. */
  readonly beat: number;
  readonly stack: string;
}

interface CallFrame {
  functionName: string;
  url: string;
  location: { scriptId: string; lineNumber: number; columnNumber?: number };
}

const maxFrames = 30;
/** Somewhere in a bundle nobody can tell uvio's code from others'. */
const own = /^(.*\/)inspect\/watchdog\.[jt]s$/.exec(import.meta.url)?.[1] ?? 'node:';
/** The inspector tells of every script of the program. */
const memoryMb = 64;

/** Runs in the thread, from its own source text: it may use nothing of this file. */
function watch(maxFrames: number): void {
  const { workerData } = process.getBuiltinModule('node:worker_threads');
  const { Session } = process.getBuiltinModule('node:inspector');
  const { port, beats, thresholdMs, own } = workerData as WatchData;
  let beat = -1;
  let changedMs = 0;
  let session: InstanceType<typeof Session> | null = null;

  const stop = (): void => {
    session?.disconnect();
    session = null;
  };

  const look = (): void => {
    const scripts = new Map<string, string>();
    const looking = new Session();
    session = looking;
    looking.connectToMainThread();
    looking.on('Debugger.scriptParsed', ({ params }) => scripts.set(params.scriptId, params.url));
    looking.on('Debugger.paused', ({ params }) => {
      const frames = params.callFrames as CallFrame[];
      looking.post('Debugger.resume');
      const fileOf = ({ url, location }: CallFrame): string => {
        return url || scripts.get(location.scriptId) || '<anonymous>';
      };
      // Else the code went on before the pause came, and this is what came after it.
      const seen = frames.map(fileOf).some((file) => !/^node:/.test(file) && !file.startsWith(own));
      if (seen && Atomics.load(beats, 0) === beat) {
        const lines = frames.slice(0, maxFrames).map((frame) => {
          const { lineNumber, columnNumber = 0 } = frame.location;
          const place = `${fileOf(frame)}:${lineNumber + 1}:${columnNumber + 1}`;
          const { functionName } = frame;
          return functionName === '' ? `    at ${place}` : `    at ${functionName} (${place})`;
        });
        port.postMessage({ beat, stack: lines.join('\n') });
      }
      stop();
    });
    looking.post('Debugger.enable');
    looking.post('Debugger.pause');
  };

  let looked = false;
  setInterval(() => {
    const now = Atomics.load(beats, 0);
    if (now !== beat) {
      beat = now;
      changedMs = performance.now();
      looked = false;
      stop();
    } else if (!looked && performance.now() - changedMs >= thresholdMs) {
      looked = true;
      look();
    }
  }, thresholdMs / 4);
}

export class Watchdog {
  readonly #beats: Int32Array = new Int32Array(new SharedArrayBuffer(4));
  readonly #port: MessagePort;
  #worker: Worker | null = null;

  constructor(thresholdMs: number) {
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    port1.unref();
    if (!isMainThread || debuggerUrl() !== undefined) return;
    const workerData: WatchData = { port: port2, beats: this.#beats, thresholdMs, own };
    try {
      this.#worker = new Worker(`(${watch.toString()})(${maxFrames})`, {
        eval: true,
        name: 'uvio-watchdog',
        workerData,
        transferList: [port2],
        execArgv: [],
        resourceLimits: { maxOldGenerationSizeMb: memoryMb },
      });
    } catch {
      // No threads or no inspector here: reports come without these stacks.
      return;
    }
    this.#worker.on('error', () => {
      this.#worker = null;
    });
    this.#worker.unref();
  }

  /** The loop goes round. */
  beat(): void {
    this.#drain();
    Atomics.add(this.#beats, 0, 1);
  }

  /** Where the thread hung since the last beat; null when it was not seen. */
  stack(): string | null {
    return this.#drain();
  }

  stop(): void {
    this.#port.close();
    void this.#worker?.terminate();
    this.#worker = null;
  }

  #drain(): string | null {
    const now = Atomics.load(this.#beats, 0);
    let stack: string | null = null;
    for (;;) {
      const message = receiveMessageOnPort(this.#port) as { message: Sighting } | undefined;
      if (message === undefined) return stack;
      if (message.message.beat === now) stack = message.message.stack;
    }
  }
}
