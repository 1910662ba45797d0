/**
 * What a fault looks like here: one thing that goes wrong, and what each program does about it.
 *
 * In: the name of a program. Out: a sentence on what was seen. Never: an answer that depends on how
 * fast the machine is.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { patienceMs, type Speech, Subject, type SubjectName, within } from './subject.ts';

export interface Scenario {
  readonly group: string;
  readonly title: string;
  /** What every program should do, in the words of `seen`. */
  readonly expected: string;
  /** What `pure()` does instead, where that is decided and written down. */
  readonly decided?: string;
  /** Programs that have nothing of the kind. */
  readonly without?: readonly SubjectName[];
  /** Takes too long to be run with each change. */
  readonly long?: boolean;
  /** Resolves with what was seen. */
  run(name: SubjectName): Promise<string>;
}

/** Those that serve no HTTP here. */
export const noHttp: readonly SubjectName[] = ['uvloop'];

export function expectedOf(scenario: Scenario, name: SubjectName): string {
  return name === 'pure' ? (scenario.decided ?? scenario.expected) : scenario.expected;
}

/** A result may have figures behind it, in brackets. */
export function fulfils(seen: string, expected: string): boolean {
  return seen === expected || seen.startsWith(`${expected} (`);
}

/** A client in this process; the id of the subject's side of it. */
export interface Client {
  readonly socket: Socket;
  readonly id: number;
  readonly localPort: number;
}

export async function openSocket(port: number, host: string = '127.0.0.1'): Promise<Socket> {
  const socket = connect({ port, host, noDelay: true, allowHalfOpen: true });
  socket.on('error', () => {});
  await within(once(socket, 'connect'), patienceMs, 'connect');
  return socket;
}

export async function openClient(
  subject: Subject,
  port: number,
  { host = '127.0.0.1', ms = patienceMs }: { host?: string; ms?: number } = {},
): Promise<Client> {
  const socket = await openSocket(port, host);
  const localPort = socket.localPort as number;
  return { socket, id: await subject.accepted(localPort, ms), localPort };
}

/** Settles with the next event of these. */
function nextOf(socket: Socket, names: readonly string[]): Promise<void> {
  return new Promise((resolve) => {
    const over = (): void => {
      for (const name of names) socket.off(name, over);
      resolve();
    };
    for (const name of names) socket.on(name, over);
  });
}

/** Bytes that come in, up to a count. */
export async function receive(socket: Socket, bytes: number): Promise<void> {
  const arrived = async (): Promise<void> => {
    for (let left = bytes; left > 0; ) {
      const data = socket.read() as Buffer | null;
      if (data !== null) left -= data.length;
      else if (socket.readableEnded || socket.destroyed) throw new Error('the connection ended');
      else await nextOf(socket, ['readable', 'end', 'close']);
    }
  };
  await within(arrived(), patienceMs, 'data from the program');
}

/** One message there and one back; throws when that does not work. */
export async function exchange(subject: Subject, { socket, id }: Client): Promise<void> {
  socket.write('ping');
  await subject.ask('read', { id });
  await subject.ask('write', { id, bytes: 4 });
  await receive(socket, 4);
}

/** A sentence instead of an error: what is seen is a result here. */
export async function seenBy(subject: Subject, look: () => Promise<string>): Promise<string> {
  try {
    return await look();
  } catch (error) {
    if (subject.end !== null) return subject.end;
    return (error as Error).message;
  }
}

/** Looks at a program of its own that serves. */
export function serving(
  speech: Speech,
  look: (subject: Subject, speech: Speech) => Promise<string>,
  ...options: string[]
): Scenario['run'] {
  return async (name) => {
    await using subject = await Subject.serve(name, speech, ...options);
    return await seenBy(subject, () => look(subject, speech));
  };
}
