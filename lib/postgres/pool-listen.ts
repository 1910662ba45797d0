/**
 * Notifications that survive the loss of the connection.
 *
 * In: a way to open sessions, a channel. Out: notifications in order. Never: a loss that is not
 * told; memory without a bound: when nobody takes them, the connection is not read.
 */

import { Deque } from '../base/deque.ts';
import { isCancelled, type WaitOptions } from '../base/errors.ts';
import { CancelScope } from '../task/scope.ts';
import { sleep } from '../task/sleep.ts';
import { Waiter } from '../task/waiter.ts';
import { closeSession } from './connection.ts';
import { quoteChannel } from './copy.ts';
import { PostgresConnectionError } from './errors.ts';
import { SimpleRequest } from './queries.ts';
import type { Session } from './session.ts';
import type { Notification } from './types.ts';

export interface ListenSource {
  open(): Promise<Session>;
  closing(): boolean;
  /** Called when the pool ends. */
  readonly closers: Set<() => void>;
}

type Item = Notification & { readonly reconnected: boolean };

const maxQueued = 1_000;
const firstPauseMs = 50;
const maxPauseMs = 5_000;

/** One session and what came of it. */
class Ear {
  readonly session: Session;
  readonly queue: Deque<Notification> = new Deque();
  readonly #waiter: Waiter = new Waiter('listen');

  constructor(session: Session, channel: string) {
    this.session = session;
    const listener = (notification: Notification): void => {
      this.queue.push(notification);
      if (this.queue.length >= maxQueued) session.wire.pauseReading();
      this.#waiter.wake();
    };
    session.channels.set(channel, new Set([listener]));
    session.terminations.add(() => this.#waiter.wake());
  }

  /** Undefined: the connection is gone. */
  async next(options: WaitOptions): Promise<Notification | undefined> {
    for (;;) {
      const notification = this.queue.shift();
      if (notification !== undefined) {
        if (this.queue.length === 0) this.session.wire.resumeReading();
        return notification;
      }
      if (this.session.wire.closed) return undefined;
      await this.#waiter.start(options);
    }
  }
}

async function open(source: ListenSource, channel: string): Promise<Ear> {
  const session = await source.open();
  const ear = new Ear(session, channel);
  try {
    await new SimpleRequest(session.wire, `LISTEN ${quoteChannel(channel)}`).submit();
  } catch (error) {
    session.wire.destroy(new PostgresConnectionError('LISTEN failed', { cause: error }));
    throw error;
  }
  return ear;
}

async function reopen(
  source: ListenSource,
  channel: string,
  options: WaitOptions,
): Promise<Ear | null> {
  for (let pauseMs = firstPauseMs; !source.closing(); pauseMs = Math.min(pauseMs * 2, maxPauseMs)) {
    try {
      return await open(source, channel);
    } catch (error) {
      if (isCancelled(error)) throw error;
      await sleep(pauseMs, undefined, options);
    }
  }
  return null;
}

export async function* listen(
  source: ListenSource,
  channel: string,
  options: WaitOptions,
): AsyncGenerator<Item> {
  if (source.closing()) return;
  let ear: Ear | null | undefined;
  let opening = new CancelScope();
  let ended = false;
  // The pool may end while a connection is opened, or between two of them.
  const end = (): void => {
    ended = true;
    opening.cancel();
    ear?.session.wire.destroy(new PostgresConnectionError('The pool has ended'));
  };
  source.closers.add(end);
  try {
    ear = await opening.run(() => open(source, channel));
    let reconnected = false;
    while (ear && !ended) {
      for (;;) {
        const notification = await ear.next(options);
        if (notification === undefined) break;
        yield { ...notification, reconnected };
        reconnected = false;
      }
      if (source.closing()) return;
      opening = new CancelScope();
      ear = await opening.run(() => reopen(source, channel, options));
      reconnected = true;
    }
  } finally {
    source.closers.delete(end);
    if (ear) {
      ear.session.wire.resumeReading();
      if (!ear.session.wire.closed) await closeSession(ear.session);
    }
  }
}
