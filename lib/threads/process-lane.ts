/**
 * A child process of a pool.
 *
 * In: calls. Out: replies. Never: a process that outlives this one when idle: it ends when the
 * channel to it does.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { Lane, type LaneHost } from './lane.ts';
import { processProgram } from './program.ts';
import type { Call } from './wire.ts';

export class ProcessLane extends Lane {
  readonly stoppable = true;
  readonly #child: ChildProcess;
  readonly #gone: Promise<void>;

  constructor(host: LaneHost) {
    super();
    // '-': the program comes by stdin. `advanced` copies as threads do.
    const child = fork('-', {
      serialization: 'advanced',
      stdio: ['pipe', 'inherit', 'inherit', 'ipc'],
    });
    this.#child = child;
    let cause: unknown;
    let ended = false;
    child.on('error', (error) => {
      cause ??= error;
      // Without a pid it never ran, and 'exit' does not come.
      if (child.pid === undefined) finish('could not start');
    });
    child.on('message', (message) => this.heard(host, message));
    let resolveGone: () => void;
    this.#gone = new Promise((resolve) => {
      resolveGone = resolve;
    });
    const finish = (how: string): void => {
      if (ended) return;
      ended = true;
      resolveGone();
      host.onEnd(this, `The process ${how}`, cause);
    };
    child.on('exit', (code, signal) => {
      const how = signal === null ? `ended with exit code ${code}` : `was ended by ${signal}`;
      // A reply may still be in the channel.
      if (child.connected) child.once('disconnect', () => finish(how));
      else finish(how);
    });
    // It may die before it has read its program.
    child.stdin?.on('error', () => {});
    child.stdin?.end(processProgram());
  }

  protected post(call: Call): void {
    this.#child.send(call);
  }

  setRef(ref: boolean): void {
    const { channel } = this.#child;
    if (ref) {
      this.#child.ref();
      channel?.ref();
    } else {
      this.#child.unref();
      channel?.unref();
    }
  }

  async end(): Promise<void> {
    this.setRef(true);
    // A busy process would not see any other signal before its work is done.
    this.#child.kill('SIGKILL');
    await this.#gone;
  }
}
