/**
 * System calls that fail: each error at several calls of one connection, while others live.
 *
 * In: a program. Out: what it made of the error. Never: an error on a descriptor of Node itself.
 */

import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import {
  type Client,
  exchange,
  openClient,
  openSocket,
  receive,
  type Scenario,
  seenBy,
} from './scenario.ts';
import { Injection, inodeOf, type Wanted } from './strace.ts';
import {
  type Answer,
  patienceMs,
  Shared,
  type Subject,
  type SubjectName,
  sharedSubjects,
  within,
} from './subject.ts';

/** A program with a listener, a connection that errors hit, and one that they must not. */
class Stage {
  readonly subject: Subject;
  readonly port: number;
  readonly other: Client;

  private constructor(subject: Subject, port: number, other: Client) {
    this.subject = subject;
    this.port = port;
    this.other = other;
  }

  static async open(name: SubjectName): Promise<Stage> {
    const subject = await sharedSubjects.get(name);
    const port = await subject.ask<number>('listen');
    return new Stage(subject, port, await openClient(subject, port));
  }

  /** The answer while errors are injected; throws if none was, or if the other one suffers. */
  async under(wanted: Wanted, look: () => Promise<string>): Promise<string> {
    const { subject, other } = this;
    return await seenBy(subject, async () => {
      await exchange(subject, other);
      const injection = await Injection.attach(subject.pid, wanted);
      let seen: string;
      let injected: number;
      try {
        seen = await seenBy(subject, look);
      } finally {
        injected = await injection.detach();
      }
      if (subject.end !== null) return subject.end;
      if (injected === 0) throw new Error('nothing was injected');
      await exchange(subject, other);
      return seen;
    });
  }
}

/** Set once, used by all cases. */
const stages = new Shared(Stage.open, ({ subject }) => subject);

const reads = ['read', 'recvfrom', 'recvmsg'];
const writes = ['write', 'writev', 'sendto', 'sendmsg'];

/** The nth of some operations fails, those before it do not. */
async function firstFailure(when: number, operation: () => Promise<Answer>): Promise<string> {
  for (let i = 1; i <= when; i++) {
    const { error } = await within(operation(), patienceMs, 'the call');
    if (error === undefined) continue;
    return `rejects ${i < when ? 'too early ' : ''}with ${error.code}`;
  }
  return 'goes on';
}

function reading(error: string, when: number, last: number = when): Scenario['run'] {
  return async (name) => {
    const stage = await stages.get(name);
    const { subject, port } = stage;
    const client = await openClient(subject, port);
    const inode = inodeOf(port, client.localPort);
    try {
      return await stage.under({ calls: reads, error, when: `${when}..${last}`, inode }, () => {
        const read = async (): Promise<Answer> => {
          client.socket.write('x');
          return await subject.begin('read', { id: client.id });
        };
        return firstFailure(last, read);
      });
    } finally {
      client.socket.destroy();
    }
  };
}

function writing(error: string, when: number, last: number = when): Scenario['run'] {
  return async (name) => {
    const stage = await stages.get(name);
    const { subject, port } = stage;
    const client = await openClient(subject, port);
    const inode = inodeOf(port, client.localPort);
    try {
      return await stage.under({ calls: writes, error, when: `${when}..${last}`, inode }, () => {
        // A write may be done before its bytes are sent: then the next operation has the error.
        const write = async (): Promise<Answer> => {
          const written = await subject.begin('write', { id: client.id, bytes: 1 });
          if (written.error !== undefined) return written;
          const arrived = receive(client.socket, 1).then(
            () => true,
            () => false,
          );
          return (await arrived) ? {} : await subject.begin('read', { id: client.id });
        };
        return firstFailure(last, write);
      });
    } finally {
      client.socket.destroy();
    }
  };
}

/** What becomes of one more client. */
async function fateOf(subject: Subject, port: number): Promise<string> {
  const socket = await openSocket(port).catch(() => null);
  if (socket === null) return 'is refused';
  socket.resume();
  const accepted = subject.accepted(socket.localPort, 1_000);
  const fate = await Promise.race([
    accepted.then(() => 'is served'),
    once(socket, 'end').then(() => 'is dropped'),
    once(socket, 'close').then(() => 'is dropped'),
  ]).catch(() => 'waits for another client');
  socket.destroy();
  return fate;
}

/** Where the backlog was dropped, the next client may have been in it, too. */
async function stillAccepts(subject: Subject, port: number): Promise<Client> {
  for (let attempt = 1; attempt < 3; attempt++) {
    const client = await openClient(subject, port, { ms: 500 }).catch(() => null);
    if (client !== null) return client;
  }
  return await openClient(subject, port);
}

function accepting(error: string, when: number): Scenario['run'] {
  return async (name) => {
    const stage = await stages.get(name);
    const { subject } = stage;
    // A listener tells of errors once a second; this one has none behind it.
    const port = await subject.ask<number>('listen');
    const clients: Client[] = [];
    for (let i = 1; i < when; i++) clients.push(await openClient(subject, port));
    subject.takeLoopErrors();
    try {
      return await stage.under({ calls: ['accept4'], error, when: 1 }, async () => {
        const served = await fateOf(subject, port);
        const next = await stillAccepts(subject, port).catch(() => null);
        if (next === null) return `${served}, and nobody is after it`;
        clients.push(next);
        return [served, ...subject.takeLoopErrors().map((code) => `${code} is told`)].join(', ');
      });
    } finally {
      for (const { socket } of clients) socket.destroy();
    }
  };
}

function opening(call: 'socket' | 'connect', error: string, when: number): Scenario['run'] {
  return async (name) => {
    const stage = await stages.get(name);
    const { subject } = stage;
    const server = createServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    try {
      return await stage.under({ calls: [call], error, when }, async () => {
        const connect = async (): Promise<Answer> => {
          const opened = await subject.begin<number>('connect', { port });
          // Whether it really is a connection.
          if (opened.error === undefined) {
            const written = await subject.begin('write', { id: opened.ok, bytes: 1 });
            if (written.error !== undefined) return written;
            await subject.ask('abort', { id: opened.ok });
          }
          return opened;
        };
        return await firstFailure(when, connect);
      });
    } finally {
      server.close();
    }
  };
}

function listening(error: string): Scenario['run'] {
  return async (name) => {
    const stage = await stages.get(name);
    const { subject } = stage;
    return await stage.under({ calls: ['socket'], error, when: 1 }, async () => {
      const { ok, error: failure } = await within(subject.begin('listen'), patienceMs, 'listen');
      if (failure !== undefined) return `rejects with ${failure.code}`;
      return ok === null ? 'listens nowhere, and does not say so' : 'goes on';
    });
  };
}

function polling(when: string): Scenario['run'] {
  return async (name) => {
    const stage = await stages.get(name);
    const { subject, other } = stage;
    const calls = ['epoll_pwait', 'epoll_wait'];
    return await stage.under({ calls, error: 'EINTR', when }, async () => {
      for (let i = 0; i < 10; i++) await exchange(subject, other);
      // strace must not leave it inside of an injected call: it waits in one that is real.
      await pause(50);
      return 'goes on';
    });
  };
}

const transient = new Set(['EINTR', 'EAGAIN']);
const rejection = (error: string): string =>
  transient.has(error) ? 'goes on' : `rejects with ${error}`;

function nth(when: number): string {
  return ['first', 'second', 'third'][when - 1] as string;
}

function positions(
  errors: readonly string[],
  make: (error: string, when: number, long: boolean) => Scenario,
): Scenario[] {
  // Each error at each of three calls; with each change, at one of them.
  return errors.flatMap((error, row) =>
    [1, 2, 3].map((when) => make(error, when, row % 3 !== when - 1)),
  );
}

const group = 'system calls';

/** libuv's accept, below `pure()`: docs/decisions/0005. */
const ofLibuv: Record<string, string> = {
  EMFILE: 'is dropped',
  ENFILE: 'is dropped',
  ENOMEM: 'is served',
};

export const systemCalls: readonly Scenario[] = [
  ...positions(['ECONNRESET', 'ENOMEM', 'EINTR', 'EAGAIN'], (error, when, long) => ({
    group,
    title: `the ${nth(when)} read of a connection: ${error}`,
    expected: rejection(error),
    long,
    run: reading(error, when),
  })),
  ...positions(['EPIPE', 'ECONNRESET', 'ENOMEM', 'EINTR', 'EAGAIN'], (error, when, long) => ({
    group,
    title: `the ${nth(when)} write of a connection: ${error}`,
    expected: rejection(error),
    long,
    run: writing(error, when),
  })),
  ...(['read', 'write'] as const).map((call) => ({
    group,
    title: `the first three ${call}s of a connection: EAGAIN`,
    expected: 'goes on',
    run: (call === 'read' ? reading : writing)('EAGAIN', 1, 3),
  })),
  ...positions(
    ['EMFILE', 'ENFILE', 'ENOMEM', 'EINTR', 'EAGAIN', 'ECONNABORTED'],
    (error, when, long) => ({
      group,
      title: `the ${nth(when)} accept: ${error}`,
      expected: /^E(MFILE|NFILE|NOMEM)$/.test(error) ? `is served, ${error} is told` : 'is served',
      ...(ofLibuv[error] && { decided: ofLibuv[error] }),
      long,
      run: accepting(error, when),
    }),
  ),
  ...positions(['EMFILE', 'ENFILE', 'ENOMEM'], (error, when, long) => ({
    group,
    title: `the ${nth(when)} socket for a connect: ${error}`,
    expected: rejection(error),
    long,
    run: opening('socket', error, when),
  })),
  ...positions(['ECONNRESET', 'ENOMEM', 'EINTR', 'EAGAIN'], (error, when, long) => ({
    group,
    title: `the ${nth(when)} connect: ${error}`,
    // For connect, EAGAIN means that no local port is free.
    expected: error === 'EAGAIN' ? 'rejects with EAGAIN' : rejection(error),
    long,
    run: opening('connect', error, when),
  })),
  ...['EMFILE', 'ENFILE', 'ENOMEM'].map((error) => ({
    group,
    title: `the socket of a listener: ${error}`,
    expected: rejection(error),
    long: error !== 'EMFILE',
    run: listening(error),
  })),
  ...['1+2', '1+3'].map((when) => ({
    group,
    title: `every ${when === '1+2' ? 'second' : 'third'} wait for events: EINTR`,
    expected: 'goes on',
    run: polling(when),
  })),
];
