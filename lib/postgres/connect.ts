/**
 * Opening sessions: hosts in order, encryption, what kind of server it is, and cancellation.
 *
 * In: a plan. Out: a session that is ready. Never: a socket that stays open after a failure.
 */
import { Buffer } from 'node:buffer';
import { isCancelled, TimeoutError } from '../base/errors.ts';
import type { Protocol, Transport } from '../io/protocols.ts';
import { frameStorage } from '../task/frame.ts';
import { loopState } from '../task/loop-state.ts';
import { CancelScope } from '../task/scope.ts';
import { timeout } from '../task/timeout.ts';
import type { Catalog } from './catalog.ts';
import { connectedChannel } from './channels.ts';
import { isSocketFile, openWire } from './encrypt.ts';
import { PostgresConnectionError, PostgresError } from './errors.ts';
import type { Address, ConnectPlan } from './options.ts';
import * as proto from './protocol.ts';
import { QueryRequest } from './queries.ts';
import { Session } from './session.ts';
import { Startup } from './startup.ts';
import { type Loop, Wire } from './wire.ts';

/** Starts work that no scope of the caller ends. It must not throw. */
export function detached(loop: Loop, work: () => Promise<void>): void {
  frameStorage.run(loopState(loop).root, () => void work());
}

/** The same server again: its name may have several addresses. */
function reached(address: Address, transport: Transport | null): Address {
  const ip = isSocketFile(address) ? undefined : transport?.remoteAddress?.address;
  // One of a single link says nothing without its zone.
  return ip === undefined || ip.startsWith('fe80') ? address : { ...address, ip };
}

/** Sends the cancellation of what the session does now; never fails, and never waits for ever. */
function sendCancel(session: Session, done: () => void): void {
  const { pid, secret, plan } = session;
  const { loop, transport } = session.wire;
  const address = reached(session.address, transport);
  const message = Buffer.alloc(12 + secret.length);
  message.writeInt32BE(message.length, 0);
  message.writeInt32BE(proto.CANCEL_REQUEST, 4);
  message.writeInt32BE(pid, 8);
  message.set(secret, 12);
  const courier = new Courier(done);
  const scope = new CancelScope();
  // Without it the server's answer is of no use, and it may never come.
  const leave = (): void => {
    scope.cancel();
    courier.transport?.abort();
  };
  session.couriers.add(leave);
  courier.onEnd = () => session.couriers.delete(leave);
  const sent = async (): Promise<void> => {
    try {
      const secure = transport?.tls != null;
      const way = secure ? plan : ({ ...plan, tls: 'disable' } as const);
      await scope.run(() => openWire(loop, way, address, courier));
      if (courier.transport === null) courier.finish();
      else courier.transport.write(message);
    } catch {
      courier.finish();
    }
  };
  // Not in the scope of whoever was cancelled.
  detached(loop, sent);
}

/** The connection of a cancellation: the server closes it when it has passed it on. */
class Courier implements Protocol {
  transport: Transport | null = null;
  onEnd: () => void = () => {};
  #done: (() => void) | null;

  constructor(done: () => void) {
    this.#done = done;
  }

  connectionMade(transport: Transport): void {
    this.transport = transport;
  }

  dataReceived(): void {
    this.transport?.abort();
  }

  connectionLost(): void {
    this.finish();
  }

  finish(): void {
    const done = this.#done;
    this.#done = null;
    this.onEnd();
    done?.();
  }
}

async function openSession(
  loop: Loop,
  plan: ConnectPlan,
  address: Address,
  catalog: Catalog,
): Promise<Session> {
  const password = await plan.password(address);
  const wire = new Wire(loop, plan.commandTimeoutMs);
  try {
    await openWire(loop, plan, address, wire);
  } catch (error) {
    wire.destroy(new PostgresConnectionError('No connection'));
    throw connectionError(error, address);
  }
  const session = new Session(wire, plan, address, catalog);
  await new Startup(session, password).open();
  wire.cancelSender = (done) => sendCancel(session, done);
  try {
    if (!(await fitsTarget(session))) {
      throw new PostgresConnectionError(`${address.host} is no ${plan.targetSession} server`);
    }
  } catch (error) {
    wire.goodbye();
    throw error;
  }
  const { host, port } = address;
  if (connectedChannel.hasSubscribers) {
    const { database, user } = plan;
    connectedChannel.publish({ pid: session.pid, host, port, database, user });
  }
  return session;
}

function connectionError(error: unknown, { host, port }: Address): unknown {
  if (error instanceof PostgresConnectionError || isCancelled(error)) return error;
  if (error instanceof TimeoutError || !(error instanceof Error)) return error;
  if ((error as NodeJS.ErrnoException).code === 'ENOTSUP') return error;
  const where = `${host}:${port}`;
  return new PostgresConnectionError(`No connection to ${where}: ${error.message}`, {
    cause: error,
  });
}

async function fitsTarget(session: Session): Promise<boolean> {
  const { targetSession } = session.plan;
  if (targetSession === 'any' || targetSession === 'prefer-standby') return true;
  const sql =
    'SELECT pg_catalog.pg_is_in_recovery(), ' +
    "pg_catalog.current_setting('transaction_read_only') = 'on'";
  const request = new QueryRequest<Iterable<boolean>>(session, sql, [], 'row', null);
  const [standby = false, readOnly = false] = await request.submit();
  switch (targetSession) {
    case 'primary':
      return !standby;
    case 'standby':
      return standby;
    case 'read-only':
      return standby || readOnly;
    default:
      return !standby && !readOnly;
  }
}

/** A refusal that another host would answer in the same way. */
function isFinal(error: unknown): boolean {
  if (isCancelled(error) || error instanceof TimeoutError) return true;
  // Wrong password, no such database …: but a server that shuts down, or is full, is not the last.
  return error instanceof PostgresError && !/^(57P0|53|08)/.test(error.code);
}

/** A limit of one host is no limit of all. */
async function limited<T>(limitMs: number, open: () => Promise<T>): Promise<T> {
  try {
    return await timeout(limitMs, open);
  } catch (error) {
    if (!(error instanceof TimeoutError)) throw error;
    throw new PostgresConnectionError(`No answer within ${Math.round(limitMs)} ms`, {
      cause: error,
    });
  }
}

interface Turn {
  readonly endMs: number;
  /** Attempts that are to come after those of this turn. */
  readonly later: number;
}

async function tryAll(
  loop: Loop,
  plan: ConnectPlan,
  catalog: Catalog,
  { endMs, later }: Turn,
): Promise<Session> {
  const errors: unknown[] = [];
  for (const [i, address] of plan.addresses.entries()) {
    const open = (): Promise<Session> => openSession(loop, plan, address, catalog);
    // One that does not answer must not take the time of those behind it.
    const others = plan.addresses.length - i - 1 + later;
    const limitMs = others === 0 ? Infinity : (endMs - loop.time()) / (others + 1);
    try {
      return limitMs === Infinity ? await open() : await limited(limitMs, open);
    } catch (error) {
      if (isFinal(error) || plan.addresses.length === 1) throw error;
      errors.push(error);
    }
  }
  const reasons = errors.map((error) => (error as Error).message).join('; ');
  const cause = errors.length === 1 ? errors[0] : new AggregateError(errors, reasons);
  throw new PostgresConnectionError(`No host could be used: ${reasons}`, { cause });
}

/** Rejects with PostgresError (refused), PostgresConnectionError, TimeoutError. */
export async function connectSession(
  loop: Loop,
  plan: ConnectPlan,
  catalog: Catalog,
): Promise<Session> {
  const attempt = async (): Promise<Session> => {
    const last = { endMs: loop.time() + plan.timeoutMs, later: 0 };
    if (plan.targetSession !== 'prefer-standby') return await tryAll(loop, plan, catalog, last);
    try {
      const first = { ...last, later: plan.addresses.length };
      return await tryAll(loop, { ...plan, targetSession: 'standby' }, catalog, first);
    } catch (error) {
      if (isFinal(error)) throw error;
      return await tryAll(loop, { ...plan, targetSession: 'any' }, catalog, last);
    }
  };
  return plan.timeoutMs === Infinity ? await attempt() : await timeout(plan.timeoutMs, attempt);
}
