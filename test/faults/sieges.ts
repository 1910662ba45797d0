/**
 * HTTP servers with very many clients, with slow ones, with one that never reads, and at their end.
 *
 * In: a program. Out: who was answered, and what it took. Never: a bound on time, but beside the
 * same program without the others.
 */
import type { Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { collected, growth, pour } from './crowds.ts';
import { KeptClient } from './kept-client.ts';
import { noHttp, openSocket, type Scenario, serving } from './scenario.ts';
import { patienceMs, Subject, within } from './subject.ts';

const group = 'HTTP';

/** Every connection has had its answer; half of them ask again when the signal comes. */
function parting(count: number): Scenario['run'] {
  return serving('http', async (subject) => {
    const clients = await KeptClient.openMany(subject.servedPort, count);
    const ask = async (client: KeptClient, i: number): Promise<string | null> => {
      const body = await client.ask(`/id/${i}`);
      if (body !== null && body !== String(i)) throw new Error('a wrong answer');
      return body;
    };
    const first = await Promise.all(clients.map(ask));
    if (first.includes(null)) return 'a connection ends before its first answer';
    subject.child.kill('SIGTERM');
    const asked = clients.filter((_, i) => i % 2 === 0).map((one, i) => ask(one, count + i));
    const second = (await Promise.all(asked)).filter((body) => body !== null).length;
    const end = await within(subject.ended, patienceMs, 'the end');
    const surplus = clients.reduce((sum, client) => sum + client.surplus, 0);
    for (const { socket } of clients) socket.destroy();
    const { started } = subject;
    if (surplus > 0) return `answers ${surplus} times what nobody asked`;
    if (started !== count + second) return `answers ${count + second} of ${started} requests`;
    if (end !== 'ended with 0') return end;
    return `answers each once (${second} of ${asked.length} that came late)`;
  });
}

/** They ask and ask, and never read; until nothing more is taken. */
async function pipeline(port: number, count: number): Promise<Socket[]> {
  const peers = await Promise.all(Array.from({ length: count }, () => openSocket(port)));
  const requests = Buffer.from('GET /stream/1 HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(2_000));
  await pour(peers, requests);
  return peers;
}

const flood = serving('http', async (subject) => {
  const port = subject.servedPort;
  const other = await KeptClient.open(port);
  // What the first flood makes the program compile and keep is none of the peers'.
  for (const peer of await pipeline(port, 4)) peer.destroy();
  for (let i = 0; i < 300; i++) await other.ask('/');
  const before = await collected(subject, other);
  const peers = await pipeline(port, 16);
  const after = await collected(subject, other);
  if ((await other.ask('/id/7')) !== '7') return 'another client is not served';
  for (const peer of peers) peer.destroy();
  return growth((after - before) / peers.length, 'a peer');
});

/** Milliseconds of requests of clients that think between two of them. */
async function latencies(clients: readonly KeptClient[], ms: number): Promise<number[]> {
  const found: number[] = [];
  const end = performance.now() + ms;
  const talk = async (client: KeptClient): Promise<void> => {
    while (performance.now() < end) {
      const begun = performance.now();
      if ((await client.ask('/')) !== 'hello') throw new Error('a wrong answer');
      found.push(performance.now() - begun);
      await pause(10);
    }
  };
  await Promise.all(clients.map(talk));
  return found.sort((a, b) => a - b);
}

const p99 = (sorted: readonly number[]): number => sorted[Math.floor(sorted.length * 0.99)] ?? 0;
const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;

/** A third each: the head drips, the body drips, the answer is not read. */
async function besiege(attackers: Subject, port: number, count: number): Promise<void> {
  await attackers.ask('besiege', { port, count }, 60_000);
}

/** With and without, in turns. */
function besieged(count: number, { rounds, ms }: { rounds: number; ms: number }): Scenario['run'] {
  return serving('http', async (subject) => {
    await using attackers = await Subject.start('node');
    const clients = await KeptClient.openMany(subject.servedPort, 16);
    await latencies(clients, ms / 4);
    const calm: number[] = [];
    const busy: number[] = [];
    for (let i = 0; i < rounds; i++) {
      calm.push(p99(await latencies(clients, ms)));
      await besiege(attackers, subject.servedPort, count);
      // Hundreds of downloads that begin at once are a load, if a short one: not what is asked.
      await pause(ms);
      busy.push(p99(await latencies(clients, ms)));
      await attackers.ask('leave', {}, 60_000);
      await pause(ms / 4);
    }
    for (const { socket } of clients) socket.destroy();
    const ratio = median(busy) / median(calm);
    if (rounds === 1) return 'serves the others';
    const told = `${median(calm).toFixed(1)} ms, besieged ${median(busy).toFixed(1)} ms`;
    return ratio <= 2 ? `keeps p99 within 2 x (${told})` : `p99 is ${ratio.toFixed(1)} x: ${told}`;
  });
}

export const sieges: readonly Scenario[] = [
  {
    group,
    title: 'SIGTERM with 300 kept connections, half of which ask once more',
    expected: 'answers each once',
    without: noHttp,
    run: parting(300),
  },
  {
    group,
    title: 'SIGTERM with 9,000 kept connections, half of which ask once more',
    expected: 'answers each once',
    without: noHttp,
    long: true,
    run: parting(9_000),
  },
  {
    group,
    title: '16 clients that pipeline without end and never read',
    expected: 'grows by at most 4 MiB a peer',
    without: noHttp,
    run: flood,
  },
  {
    group,
    title: '60 clients that send or read slowly, or not at all',
    expected: 'serves the others',
    without: noHttp,
    run: besieged(60, { rounds: 1, ms: 100 }),
  },
  {
    group,
    title: '2,000 clients that send or read slowly, or not at all',
    expected: 'keeps p99 within 2 x',
    without: noHttp,
    long: true,
    run: besieged(2_000, { rounds: 3, ms: 3_000 }),
  },
];
