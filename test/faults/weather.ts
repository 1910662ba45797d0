/**
 * Networks that delay, cut, hold back, swallow and reset, between a client here and a program.
 *
 * In: a program. Out: what arrived. Never: a result that depends on how fast the machine is.
 */
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import type { Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { FaultProxy, type Faults } from './proxy.ts';
import { noHttp, openSocket, receive, type Scenario, seenBy } from './scenario.ts';
import {
  patienceMs,
  Shared,
  Subject,
  type SubjectName,
  sharedSubjects,
  within,
} from './subject.ts';

const httpSubjects = new Shared(
  (name) => Subject.serve(name, 'http'),
  (subject) => subject,
);

export async function closeHttp(): Promise<void> {
  await httpSubjects.stop();
}

/** A port of the program, and the program behind it. */
async function served(name: SubjectName, kind: Kind): Promise<{ subject: Subject; port: number }> {
  if (kind === 'http') {
    const subject = await httpSubjects.get(name);
    return { subject, port: subject.servedPort };
  }
  const subject = await sharedSubjects.get(name);
  return { subject, port: await subject.ask<number>('listen', { echoes: kind === 'echo' }) };
}

type Kind = 'echo' | 'streams' | 'http';

function through(
  kind: Kind,
  faults: Faults,
  look: (proxy: FaultProxy, subject: Subject) => Promise<string>,
): Scenario['run'] {
  return async (name) => {
    const { subject, port } = await served(name, kind);
    using proxy = await FaultProxy.open(port, { ...faults });
    return await seenBy(subject, () => within(look(proxy, subject), patienceMs, 'the transfer'));
  };
}

function pattern(bytes: number): Buffer {
  return Buffer.from(Uint8Array.from({ length: bytes }, (_, i) => (i * 31 + (i >> 8)) & 255));
}

/** All that comes, up to the end. */
async function readToEnd(socket: Socket): Promise<Buffer> {
  return await buffer(socket);
}

const echoOf =
  (bytes: number) =>
  async (proxy: FaultProxy): Promise<string> => {
    const socket = await openSocket(proxy.port);
    const data = pattern(bytes);
    socket.end(data);
    const answer = await readToEnd(socket);
    if (answer.equals(data)) return 'all arrives, in order';
    return `${answer.length} of ${bytes} bytes arrive, or others`;
  };

async function reset(proxy: FaultProxy, subject: Subject): Promise<string> {
  const { socket, id } = await openThrough(proxy, subject);
  const bystander = await openThrough(proxy, subject);
  const flood = subject.begin('flood', { id, bytes: 2 ** 30 });
  socket.resume();
  const { error } = await flood;
  await subject.ask('write', { id: bystander.id, bytes: 1 });
  await receive(bystander.socket, 1);
  bystander.socket.destroy();
  const code = error?.code ?? 'nothing';
  // A send after the reset has been read as an error says EPIPE.
  return /^(ECONNRESET|EPIPE)$/.test(code)
    ? 'rejects with ECONNRESET or EPIPE'
    : `rejects with ${code}`;
}

/** The program's side of it is that which has the proxy at its other end. */
async function openThrough(
  proxy: FaultProxy,
  subject: Subject,
): Promise<{ socket: Socket; id: number }> {
  const socket = await openSocket(proxy.port);
  const port = await proxy.serverSide(socket);
  return { socket, id: await subject.accepted(port) };
}

async function swallowed(proxy: FaultProxy, subject: Subject): Promise<string> {
  const { socket, id } = await openThrough(proxy, subject);
  proxy.faults.blackHole = true;
  socket.write('lost?');
  const { error } = await subject.begin('read', { id, timeoutMs: 100 });
  if (error?.code !== 'ETIMEDOUT') return `rejects with ${error?.code}`;
  proxy.faults.blackHole = false;
  const bytes = await subject.ask('read', { id });
  socket.destroy();
  return bytes === 5 ? 'the read ends by its limit, and the next one has all' : `reads ${bytes}`;
}

interface Exchange {
  readonly status: number;
  readonly body: Buffer;
}

async function ask(port: number, agent: Agent, path: string, body?: Buffer): Promise<Exchange> {
  const method = body === undefined ? 'GET' : 'POST';
  const sent = request({ port, host: '127.0.0.1', path, method, agent });
  sent.on('error', () => {});
  sent.end(body);
  const [response] = await once(sent, 'response');
  return { status: response.statusCode, body: await buffer(response) };
}

/** Requests with bodies both ways, one after the other, on connections that are kept. */
async function conversation({ port }: FaultProxy): Promise<string> {
  const agent = new Agent({ keepAlive: true, maxSockets: 2 });
  const data = pattern(200);
  try {
    for (let i = 0; i < 2; i++) {
      const [hello, echo] = await Promise.all([
        ask(port, agent, '/'),
        ask(port, agent, '/echo', data),
      ]);
      if (`${hello.body}` !== 'hello' || !echo.body.equals(data)) return 'wrong answers';
    }
    return 'all is answered';
  } finally {
    agent.destroy();
  }
}

async function download({ port }: FaultProxy): Promise<string> {
  const agent = new Agent();
  const { body } = await ask(port, agent, '/stream/32');
  for (let i = 0; i < 32; i++) {
    if (!body.subarray(i * 65_536, (i + 1) * 65_536).every((byte) => byte === i))
      return 'other bytes';
  }
  return body.length === 32 * 65_536 ? 'all arrives, in order' : `${body.length} bytes arrive`;
}

async function brokenDownload(proxy: FaultProxy): Promise<string> {
  const agent = new Agent();
  const failed = await ask(proxy.port, agent, '/stream/512').then(
    () => 'a cut response is taken for whole',
    () => null,
  );
  if (failed !== null) return failed;
  delete proxy.faults.resetAfterBytes;
  const { body } = await ask(proxy.port, agent, '/');
  return `${body}` === 'hello' ? 'others are served' : 'others are not served';
}

const group = 'networks';
const intact = 'all arrives, in order';

export const weather: readonly Scenario[] = [
  {
    group,
    title: 'echo, 30 ms late each way',
    expected: intact,
    run: through('echo', { latencyMs: 30 }, echoOf(100_000)),
  },
  {
    group,
    title: 'echo, byte by byte',
    expected: intact,
    run: through('echo', { sliceBytes: 1 }, echoOf(1_500)),
  },
  {
    group,
    title: 'echo at 1 MiB/s',
    expected: intact,
    run: through('echo', { bytesPerSecond: 2 ** 20, sliceBytes: 16_384 }, echoOf(200_000)),
  },
  {
    group,
    title: 'streams: a reset while much is written',
    expected: 'rejects with ECONNRESET or EPIPE',
    run: through('streams', { resetAfterBytes: 500_000 }, reset),
  },
  {
    group,
    title: 'streams: a read while nothing passes',
    expected: 'the read ends by its limit, and the next one has all',
    // A wait for the next data cannot be taken back there.
    without: ['node'],
    run: through('streams', {}, swallowed),
  },
  {
    group,
    title: 'HTTP, byte by byte',
    expected: 'all is answered',
    without: noHttp,
    run: through('http', { sliceBytes: 1 }, conversation),
  },
  {
    group,
    title: 'HTTP, 20 ms late each way',
    expected: 'all is answered',
    without: noHttp,
    run: through('http', { latencyMs: 20 }, conversation),
  },
  {
    group,
    title: 'HTTP: 2 MiB in pieces of 1,000 bytes, 1 ms late',
    expected: intact,
    without: noHttp,
    run: through('http', { sliceBytes: 1_000, latencyMs: 1 }, download),
  },
  {
    group,
    title: 'HTTP: a reset in the middle of a response',
    expected: 'others are served',
    without: noHttp,
    run: through('http', { resetAfterBytes: 300_000 }, brokenDownload),
  },
];
