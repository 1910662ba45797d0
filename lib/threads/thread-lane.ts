/**
 * A worker thread of a pool.
 *
 * In: calls. Out: replies. Never: a file of its own; see program.ts.
 */
import { Worker } from 'node:worker_threads';
import { notSendableError } from '../base/errors.ts';
import { Lane, type LaneHost } from './lane.ts';
import { threadProgram } from './program.ts';
import type { Call } from './wire.ts';

let program: string | undefined;

export class ThreadLane extends Lane {
  readonly stoppable = false;
  readonly #worker: Worker;
  #cause: unknown;

  constructor(host: LaneHost) {
    super();
    program ??= threadProgram();
    this.#worker = new Worker(program, { eval: true, name: 'uvio' });
    this.#worker.on('message', (message: unknown) => this.heard(host, message));
    this.#worker.on('messageerror', (error) => {
      const value = notSendableError('The result', error);
      host.onReply(this, { ok: false, thrown: { error: null, value } });
    });
    this.#worker.on('error', (error) => {
      this.#cause = error;
    });
    this.#worker.on('exit', (code) => {
      const how = this.#cause === undefined ? `with exit code ${code}` : 'by an error';
      host.onEnd(this, `The thread ended ${how}`, this.#cause);
    });
  }

  protected post(call: Call, transfer: readonly ArrayBuffer[]): void {
    this.#worker.postMessage(call, transfer);
  }

  setRef(ref: boolean): void {
    if (ref) this.#worker.ref();
    else this.#worker.unref();
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }
}
