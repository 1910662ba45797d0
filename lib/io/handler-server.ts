/**
 * A server of handlers: one connection and one task each.
 *
 * In: a handler function. Out: its tasks. Never: an error of one connection that touches another.
 */
import { argTypeError, BrokenResourceError, ClosedResourceError } from '../base/errors.ts';
import type { StreamHandle } from '../loop/backend.ts';
import type { EventLoop } from '../loop/event-loop.ts';
import { FAILED, type Future, RESOLVED } from '../task/future.ts';
import { startHandlerTask } from '../task/spawn.ts';
import type { Task, TaskOwner } from '../task/task.ts';
import { StreamConnection } from './connection.ts';
import type { StreamLimits } from './limits.ts';
import type { ConnectionHandler } from './net-types.ts';
import { StreamServer } from './server.ts';
import {
  flagDismissed,
  flagGone,
  flagHandedOver,
  flagServed,
  type Stream,
  stateClosing,
} from './stream.ts';

/** A connection that a handler serves. It stays in the server's list until that has ended, too. */
class ServedConnection extends StreamConnection implements TaskOwner {
  #task: Task | null = null;

  /** The server has put it into its list. */
  start(): void {
    const { loop, handler } = this.owner as HandlerServer;
    // The connection itself is told of the task's end: no map, no closure.
    const task = startHandlerTask(loop, null, null, handler, this, this);
    if (!this.has(flagServed)) this.#task = task;
  }

  cancelHandler(): void {
    if (this.#task !== null) this.#task.cancel('The server was closed');
    else this.finish();
  }

  /** Of a task's owner. */
  onFutureDone(future: Future<unknown>): void {
    this.mark(flagServed);
    this.#task = null;
    if (future.status === RESOLVED) {
      // What `toNode()` or `toWeb()` gave lives on.
      if (!this.has(flagHandedOver)) this.finish();
    } else {
      if (future.status === FAILED) this.report(future as Task);
      // What `closeClients` began still flushes, though its handler has met that as an error.
      if (!(this.has(flagDismissed) && this.state === stateClosing)) this.abort();
    }
    if (this.has(flagGone)) this.leaveOwner();
  }

  override leaveOwner(): void {
    if (this.has(flagServed)) super.leaveOwner();
  }

  private report(task: Task): void {
    const error = task.failure();
    // A peer that went away is nobody's mistake, and there is nobody left to tell.
    if (this.isLoss(error)) return;
    const gone = error instanceof ClosedResourceError || error instanceof BrokenResourceError;
    if (gone && this.has(flagDismissed)) return;
    const message = `Exception in the connection handler ${task.name}`;
    const context = { message, error, task, transport: this };
    task.loop.callExceptionHandler(context);
  }
}

function startConnection(connection: ServedConnection): void {
  connection.start();
}

export class HandlerServer extends StreamServer {
  /** @internal */
  readonly handler: ConnectionHandler;

  constructor(
    loop: EventLoop,
    limits: StreamLimits,
    maxConnections: number,
    handler: ConnectionHandler,
  ) {
    super(loop, limits, maxConnections);
    if (typeof handler !== 'function') throw argTypeError('handler', 'a function', handler);
    this.handler = handler;
  }

  protected override open(stream: StreamHandle): void {
    const connection = new ServedConnection(stream, this.limits);
    stream.sink = connection;
    this.link(connection);
    connection.tellOpened();
    this.context.run(startConnection, connection);
  }

  protected override endClients(): void {
    let stream: Stream | null = this.first;
    while (stream !== null) {
      const { next }: { next: Stream | null } = stream;
      (stream as ServedConnection).cancelHandler();
      stream = next;
    }
  }
}
