/**
 * Running a program to its end, in one call.
 *
 * In: a command, its input, limits. Out: exit code and outputs. Never: a process that is left
 * running, however the call ends.
 */
import { Buffer } from 'node:buffer';
import { type Data, ProcessError, type ProcessResult, TimeoutError } from '../base/errors.ts';
import { checkMs } from '../base/units.ts';
import { checkData } from '../io/data.ts';
import type { ByteReader } from '../io/net-types.ts';
import { currentLoop } from '../task/frame.ts';
import { CancelScope } from '../task/scope.ts';
import { abortable } from '../task/signal.ts';
import { startChild } from './child.ts';
import { planCommand, type SpawnPlan, type SubprocessOptions } from './options.ts';
import { Subprocess } from './process.ts';

export interface RunProcessOptions extends Omit<SubprocessOptions, 'stdin'> {
  /** Written to its standard input, which is empty without. */
  input?: Data;
  /** ProcessError for another code than 0. Default true. */
  check?: boolean;
  /** TimeoutError; its `cause` is a ProcessError with the output so far. Default: none. */
  timeoutMs?: number;
}

/**
 * Turns of Node's loop within which what a process wrote before its end has surely been read: its
 * pipes were closed before this process heard of its end.
 */
const lastReadTurns = 8;

/** What comes out of a process. A cancelled reader keeps what it has. */
class Outputs {
  ended = false;
  readonly #stdout: Buffer[] = [];
  readonly #stderr: Buffer[] = [];
  /** Shielded: output is read until the process has ended, also when the caller is cancelled. */
  readonly #scope: CancelScope = new CancelScope({ shield: true });
  readonly reading: Promise<unknown>;

  constructor(running: Subprocess) {
    this.reading = this.#scope.run(() =>
      Promise.all([collect(running.stdout, this.#stdout), collect(running.stderr, this.#stderr)]),
    );
    const end = (): void => {
      this.ended = true;
    };
    this.reading.then(end, end);
  }

  /** The process has ended; others may still hold its pipes, and are not waited for. */
  async stop(): Promise<void> {
    for (let i = 0; i < lastReadTurns && !this.ended; i++) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.#scope.cancel();
    // Whoever waits for it as well takes its error.
    await this.reading.catch(() => {});
  }

  result(running: Subprocess): ProcessResult {
    return {
      exitCode: running.child.returnCode as number,
      exitSignal: running.exitSignal,
      stdout: Buffer.concat(this.#stdout),
      stderr: Buffer.concat(this.#stderr),
    };
  }
}

async function collect(reader: ByteReader | null, into: Buffer[]): Promise<void> {
  if (reader === null) return;
  for (;;) {
    const chunk = await reader.read();
    if (chunk === null) return;
    into.push(chunk);
  }
}

function checkPlan(
  command: readonly [program: string, ...args: string[]],
  options: RunProcessOptions,
): SpawnPlan {
  const { input, stdout = 'pipe', stderr = 'pipe' } = options;
  if (input !== undefined) checkData(input);
  const stdin = input === undefined ? 'ignore' : 'pipe';
  return planCommand(command, { ...options, stdin, stdout, stderr });
}

/**
 * Runs a program to its end and gives its output; standard input is empty unless `input` is given.
 * `stdout` and `stderr` may be sent elsewhere: then they are empty here.
 * Cancelled, or after `timeoutMs`, it sends SIGTERM, after `killAfterMs` SIGKILL, and rejects only
 * when the process has ended. Rejects with ProcessError for another code than 0 (unless `check` is
 * false), TimeoutError, `signal.reason`, or Node's error when the program cannot be started.
 * (trio.run_process, subprocess.run)
 */
export async function runProcess(
  command: readonly [program: string, ...args: string[]],
  options: RunProcessOptions = {},
): Promise<ProcessResult> {
  const { input, check = true, signal } = options;
  const plan = checkPlan(command, options);
  const timeoutMs = checkMs('timeoutMs', options.timeoutMs ?? Infinity);
  const running = new Subprocess(await startChild(currentLoop(), plan, options), plan);
  const outputs = new Outputs(running);
  const limit = new CancelScope(signal === undefined ? { timeoutMs } : { timeoutMs, signal });
  let stopped = false;
  try {
    await limit.run(() =>
      Promise.all([abortable(outputs.reading), running.feed(input), running.wait()]),
    );
    stopped = limit.cancelledCaught && signal?.aborted === true;
  } finally {
    await running.end();
    await outputs.stop();
    running.release();
  }
  if (stopped) throw signal?.reason;
  const result = outputs.result(running);
  if (limit.cancelledCaught) {
    const cause = new ProcessError(`'${plan.program}' ${endOf(result)}`, result);
    const message = `'${plan.program}' did not end within ${timeoutMs} ms`;
    throw new TimeoutError(message, { cause });
  }
  if (check && result.exitCode !== 0) {
    throw new ProcessError(`'${plan.program}' ${endOf(result)}`, result);
  }
  return result;
}

function endOf({ exitCode, exitSignal }: ProcessResult): string {
  return exitSignal === null ? `ended with code ${exitCode}` : `was ended by ${exitSignal}`;
}
