/**
 * Programs that end while clients ask, and workers that do.
 *
 * In: a program that serves. Out: who was answered. Never: a bound on time.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { nodeHasReusePort } from '../support/reuse-port.ts';
import { KeptClient } from './kept-client.ts';
import { noHttp, type Scenario, serving } from './scenario.ts';
import { patienceMs, type Speech, type Subject, type SubjectName, within } from './subject.ts';

/** Clients ask without a pause while a worker dies and comes back. */
async function restart(subject: Subject, speech: Speech): Promise<string> {
  const port = subject.servedPort;
  const open = (): Promise<KeptClient> => KeptClient.open(port, speech);
  let over = false;
  let id = 0;
  let broken = 0;
  let surplus = 0;
  const talk = async (): Promise<void> => {
    let client = await open();
    while (!over) {
      id += 1;
      const wanted = String(id);
      const body = await client.ask(`/id/${wanted}`);
      if (body === null) {
        broken += 1;
        client = await open();
      } else if (body !== wanted) throw new Error('a wrong answer');
      surplus += client.surplus;
    }
    client.socket.destroy();
  };
  const who = async (): Promise<string | null> => {
    const client = await open();
    const answer = await client.ask('/who');
    client.socket.destroy();
    return answer;
  };
  const meet = async (count: number, without: ReadonlySet<string | null>): Promise<Set<string>> => {
    const met = new Set<string>();
    while (met.size < count) {
      const thread = await who();
      if (thread !== null && !without.has(thread)) met.add(thread);
      else await pause(5);
    }
    return met;
  };
  const clients = Array.from({ length: 20 }, talk);
  const before = await within(meet(2, new Set()), patienceMs, 'two workers');
  const [dead = ''] = before;
  const killer = async (): Promise<void> => {
    for (;;) {
      const client = await open();
      const thread = await client.ask('/who');
      if (thread === dead) await client.ask('/exit');
      client.socket.destroy();
      if (thread === dead) return;
    }
  };
  await within(killer(), patienceMs, 'the end of a worker');
  await within(meet(1, before), patienceMs, 'a new worker');
  const answered = id;
  while (id < answered + 200) await pause(5);
  over = true;
  await within(Promise.all(clients), patienceMs, 'the last answers');
  if (surplus > 0) return `answers ${surplus} times what nobody asked`;
  // What it was handling, or had not accepted, went with it: once for each client at most.
  if (broken > 2 * clients.length) return `${broken} connections break`;
  return 'answers each once, but for what the worker held';
}

/** Clients on kept connections, until the program that serves them has ended. */
async function loseNothing(subject: Subject, speech: Speech): Promise<string> {
  let id = 0;
  let answered = 0;
  let surplus = 0;
  const talk = async (): Promise<void> => {
    while (subject.end === null) {
      const client = await KeptClient.open(subject.servedPort, speech).catch(() => null);
      while (client?.open) {
        id += 1;
        const wanted = String(id);
        const body = await client.ask(`/id/${wanted}`);
        if (body === wanted) answered += 1;
        else if (body !== null) throw new Error('a wrong answer');
      }
      surplus += client?.surplus ?? 0;
      // Refused, or closed before anything was read of what it asked.
      await pause(1);
    }
  };
  const clients = Array.from({ length: 40 }, talk);
  while (answered < 200) await pause(5);
  subject.child.kill('SIGTERM');
  const end = await within(subject.ended, patienceMs, 'the end').catch(() => null);
  if (end === null) await subject.stop();
  await Promise.all(clients);
  if (end === null) return 'does not end while clients ask';
  const { started } = subject;
  if (surplus > 0) return `${surplus} answers are cut off, or nobody's`;
  if (answered !== started) return `answers ${answered} of ${started} requests`;
  return end === 'ended with 0' ? `answers all that it began (${answered})` : end;
}

const noReusePort: readonly SubjectName[] = nodeHasReusePort ? [] : ['pure'];

const death = {
  title: 'one of two workers dies while 20 clients send requests',
  expected: 'answers each once, but for what the worker held',
};
const signal = {
  title: 'SIGTERM while 40 clients send requests',
  expected: 'answers all that it began',
};

export const endings: readonly Scenario[] = [
  {
    group: 'HTTP',
    ...death,
    without: [...noHttp, 'node', ...noReusePort],
    run: serving('http', restart, '2'),
  },
  {
    group: 'TCP',
    ...death,
    // asyncio has no workers.
    without: ['uvloop', ...noReusePort],
    run: serving('lines', restart, '2'),
  },
  { group: 'HTTP', ...signal, without: noHttp, run: serving('http', loseNothing) },
  { group: 'TCP', ...signal, run: serving('lines', loseNothing) },
];
