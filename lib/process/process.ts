/**
 * Subprocesses with streams: what tasks use.
 *
 * In: a program or a shell's command. Out: `Process`. Never: a wait that kills what it waits for;
 * who owns a process ends it, by leaving its block or by a signal.
 *
 * No process group is made: Ctrl-C at the terminal reaches children, and a signal sent to a shell
 * reaches the shell alone (docs/decisions/0050-subprocesses.md).
 */
import { Buffer } from 'node:buffer';
import {
  BrokenResourceError,
  type Data,
  InvalidStateError,
  type WaitOptions,
} from '../base/errors.ts';
import { checkBytes } from '../base/units.ts';
import { StreamConnection } from '../io/connection.ts';
import { checkData } from '../io/data.ts';
import { defaultLimits } from '../io/limits.ts';
import type { ByteReader, ByteWriter } from '../io/net-types.ts';
import { currentLoop } from '../task/frame.ts';
import { CancelScope } from '../task/scope.ts';
import { cancelledPromise, checkSignal, takeCancellation } from '../task/waiter.ts';
import { type Child, startChild } from './child.ts';
import { planExec, planShell, type SpawnPlan, type SubprocessOptions } from './options.ts';
import type { PipeHandle } from './pipe-handle.ts';

/** A running subprocess. (asyncio.subprocess.Process, trio.Process, curio.subprocess.Popen) */
export interface Process extends AsyncDisposable {
  readonly pid: number;
  /** Null while running and after a signal. */
  readonly exitCode: number | null;
  readonly exitSignal: NodeJS.Signals | null;
  /**
   * Null unless it is a pipe. Writes reject with BrokenResourceError once the process has closed it
   * (`cause`: the system's EPIPE), or has ended.
   */
  readonly stdin: ByteWriter | null;
  /** Null unless it is a pipe. May be read after the end, too. */
  readonly stdout: ByteReader | null;
  /** Null unless it is a pipe of its own. */
  readonly stderr: ByteReader | null;
  /**
   * The exit code; minus the signal's number after a signal. Does not wait for the outputs. A
   * cancelled wait leaves the process alone: the owner ends it, `await using` does by itself.
   */
  wait(options?: WaitOptions): Promise<number>;
  /**
   * Writes the input, closes stdin, reads both outputs to the end, waits. A process that does not
   * read its input is no error. Cancelled, it leaves the process alone and loses nothing that was
   * read: it may be called again, without the input.
   * InvalidStateError for an input without a pipe.
   * @param options.maxBytes of each output; above it LimitOverrunError, and the process goes on.
   * Default: no bound.
   */
  communicate(
    input?: Data,
    options?: WaitOptions & { maxBytes?: number },
  ): Promise<{ stdout: Buffer; stderr: Buffer }>;
  /** Does nothing after the end. TypeError for an unknown name; EPERM. */
  sendSignal(signal: NodeJS.Signals): void;
  /** SIGTERM. */
  terminate(): void;
  /** SIGKILL. */
  kill(): void;
  /**
   * Ends the process if it still runs, and waits: SIGTERM, after `killAfterMs` SIGKILL. What it
   * writes meanwhile is dropped, then its pipes are closed. A cancellation comes afterwards.
   */
  [Symbol.asyncDispose](): Promise<void>;
}

function connect(pipe: PipeHandle | null): StreamConnection | null {
  if (pipe === null) return null;
  const connection = new StreamConnection(pipe, defaultLimits);
  pipe.sink = connection;
  return connection;
}

function readAll(
  reader: ByteReader | null,
  maxBytes: number,
  options: WaitOptions,
): Promise<Buffer> {
  return reader === null ? Promise.resolve(Buffer.alloc(0)) : reader.readAll(maxBytes, options);
}

export class Subprocess implements Process {
  readonly child: Child;
  readonly stdin: StreamConnection | null;
  readonly stdout: StreamConnection | null;
  readonly stderr: StreamConnection | null;
  readonly #killAfterMs: number;

  constructor(child: Child, plan: SpawnPlan) {
    this.child = child;
    this.#killAfterMs = plan.killAfterMs;
    const [stdin, stdout, stderr] = child.pipes;
    this.stdin = connect(stdin);
    this.stdout = connect(stdout);
    this.stderr = connect(stderr);
  }

  get pid(): number {
    return this.child.pid;
  }

  get exitCode(): number | null {
    return this.child.exitSignal === null ? this.child.returnCode : null;
  }

  get exitSignal(): NodeJS.Signals | null {
    return this.child.exitSignal;
  }

  wait(options?: WaitOptions): Promise<number> {
    return this.child.wait(options);
  }

  async communicate(
    input?: Data,
    options: WaitOptions & { maxBytes?: number } = {},
  ): Promise<{ stdout: Buffer; stderr: Buffer }> {
    const maxBytes = checkBytes('maxBytes', options.maxBytes ?? Infinity);
    this.checkInput(input);
    const cancelled = takeCancellation();
    if (cancelled !== null) return cancelledPromise(cancelled);
    checkSignal(options);
    const scope = new CancelScope();
    const outputs = await scope.run(async () => {
      const work = [
        readAll(this.stdout, maxBytes, options),
        readAll(this.stderr, maxBytes, options),
        this.feed(input, options),
        this.wait(options),
      ] as const;
      try {
        const [stdout, stderr] = await Promise.all(work);
        return { stdout, stderr };
      } catch (error) {
        // No read may stay behind: the streams are the caller's again.
        scope.cancel();
        await Promise.allSettled(work);
        throw error;
      }
    });
    // It is cancelled only to throw.
    return outputs as { stdout: Buffer; stderr: Buffer };
  }

  sendSignal(signal: NodeJS.Signals): void {
    this.child.sendSignal(signal);
  }

  terminate(): void {
    this.child.sendSignal('SIGTERM');
  }

  kill(): void {
    this.child.sendSignal('SIGKILL');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const [, stdout, stderr] = this.child.pipes;
    stdout?.discard();
    stderr?.discard();
    await this.end();
    this.release();
  }

  /** Asks it to end, insists, and waits for it. */
  end(): Promise<void> {
    return this.child.end(this.#killAfterMs);
  }

  /** Closes the pipes. */
  release(): void {
    this.stdin?.abort();
    this.stdout?.finish();
    this.stderr?.finish();
  }

  checkInput(input: Data | undefined): void {
    if (input === undefined) return;
    checkData(input);
    if (this.stdin !== null) return;
    throw new InvalidStateError("There is no pipe for the input: start with { stdin: 'pipe' }");
  }

  /** Writes all and closes stdin. That the process does not want it is no error. (asyncio) */
  async feed(input: Data | undefined, options?: WaitOptions): Promise<void> {
    const { stdin } = this;
    if (stdin === null) return;
    try {
      if (input !== undefined) await stdin.write(input, options);
      await stdin.writeEof(options);
    } catch (error) {
      if (!(error instanceof BrokenResourceError)) throw error;
    }
  }
}

async function start(plan: SpawnPlan, options: SubprocessOptions): Promise<Process> {
  return new Subprocess(await startChild(currentLoop(), plan, options), plan);
}

/**
 * Starts a program, with these arguments and no shell between. It inherits stdin, stdout and stderr
 * unless told otherwise. Rejects with Node's error when it cannot be started: ENOENT (no such
 * program or no such `cwd`), EACCES, E2BIG, EBADF …; TypeError and RangeError for wrong options.
 * Nothing is started in a cancelled task. A process that still runs when its loop closes (at the
 * end of `run`) is killed; a running process keeps this one alive.
 * (asyncio.create_subprocess_exec, trio.lowlevel.open_process, curio.subprocess.Popen)
 */
export async function createSubprocessExec(
  program: string,
  args: readonly string[] = [],
  options: SubprocessOptions = {},
): Promise<Process> {
  return start(planExec(program, args, options), options);
}

/**
 * The command goes through the shell: never build it from foreign input. Otherwise the same as
 * `createSubprocessExec`. Signals reach the shell, not what it started: for a single program write
 * `exec program`, so that the shell becomes it. (asyncio.create_subprocess_shell)
 */
export async function createSubprocessShell(
  command: string,
  options: SubprocessOptions = {},
): Promise<Process> {
  return start(planShell(command, options), options);
}
