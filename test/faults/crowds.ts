/**
 * Peers that do not read, programs that do not read, and very many peers.
 *
 * In: a program. Out: what it takes for them. Never: a bound on time.
 */
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import type { KeptClient } from './kept-client.ts';
import { exchange, openClient, type Scenario, seenBy } from './scenario.ts';
import { patienceMs, Subject, sharedSubjects } from './subject.ts';

const mebibyte = 2 ** 20;
const gibibyte = 2 ** 30;
const mebibytes = (bytes: number): string => (bytes / mebibyte).toFixed(1);

export function growth(bytes: number, each: string): string {
  const boundMebibytes = 4;
  const bound = `grows by at most ${boundMebibytes} MiB ${each}`;
  // AddressSanitizer keeps what was freed for a while.
  const boundBytes = (process.env['UVIO_SANITIZED'] ? 320 : boundMebibytes) * mebibyte;
  if (bytes <= boundBytes) return `${bound} (${mebibytes(Math.max(bytes, 0))})`;
  return `grows by ${mebibytes(bytes)} MiB ${each}`;
}

/** A figure that has stood for a while. */
export async function settled(read: () => Promise<number>): Promise<number> {
  let last = await read();
  for (let still = 0; still < 6; ) {
    await pause(30);
    const now = await read();
    still = now === last ? still + 1 : 0;
    last = now;
  }
  return last;
}

/** The same bytes without end from each, until nothing more is taken. */
export async function pour(peers: readonly Socket[], bytes: Buffer): Promise<void> {
  let sent = 0;
  for (const peer of peers) {
    const more = (): void => {
      while (peer.writable && sent < gibibyte) {
        sent += bytes.length;
        if (!peer.write(bytes)) return;
      }
    };
    peer.on('drain', more);
    more();
  }
  await settled(async () => sent);
}

/** What a program that serves HTTP takes, when its garbage is gone. */
export async function collected(subject: Subject, client: KeptClient): Promise<number> {
  for (let i = 0; i < 3; i++) await client.ask('/collect');
  return subject.privateBytes();
}

function shared(look: (subject: Subject) => Promise<string>): Scenario['run'] {
  return async (name) => {
    const subject = await sharedSubjects.get(name);
    return await seenBy(subject, () => look(subject));
  };
}

const stuckReaders = shared(async (subject) => {
  const port = await subject.ask<number>('listen');
  const other = await openClient(subject, port);
  // What the first writes make the program load and keep is none of the peers'.
  for (let i = 0; i < 50; i++) await exchange(subject, other);
  const before = await subject.memory();
  const peers = await Promise.all(Array.from({ length: 4 }, () => openClient(subject, port)));
  const floods = peers.map(({ id }) => subject.begin('flood', { id, bytes: gibibyte }));
  const taken = await Promise.all(
    peers.map(({ id }) => settled(() => subject.ask<number>('taken', { id }))),
  );
  if (taken.some((bytes) => bytes >= gibibyte)) return 'writes all to a peer that does not read';
  await exchange(subject, other);
  const after = await subject.memory();
  for (const { socket } of peers) socket.destroy();
  // The writers hear of it.
  await Promise.all(floods);
  await exchange(subject, other);
  other.socket.destroy();
  return growth((after - before) / peers.length, 'a peer');
});

const lateReader = shared(async (subject) => {
  const port = await subject.ask<number>('listen');
  const { socket, id } = await openClient(subject, port);
  const bytes = 32 * mebibyte;
  const flood = subject.begin('flood', { id, bytes });
  await settled(() => subject.ask<number>('taken', { id }));
  let arrived = 0;
  const all = new Promise<void>((resolve) => {
    socket.on('data', (data) => {
      arrived += data.length;
      if (arrived >= bytes) resolve();
    });
  });
  const { error } = await flood;
  if (error !== undefined) return `rejects with ${error.code}`;
  await Promise.race([all, pause(patienceMs)]);
  socket.destroy();
  return arrived === bytes ? 'sends all' : `sends ${arrived} of ${bytes} bytes`;
});

const deafProgram = shared(async (subject) => {
  const port = await subject.ask<number>('listen');
  const other = await openClient(subject, port);
  for (let i = 0; i < 50; i++) await exchange(subject, other);
  const before = await subject.memory();
  const peers = await Promise.all(Array.from({ length: 4 }, () => openClient(subject, port)));
  const part = Buffer.alloc(64 * 1024, 'z');
  let offered = 0;
  for (const { socket } of peers) {
    const more = (): void => {
      while (socket.writable) {
        offered += part.length;
        if (!socket.write(part)) return;
      }
    };
    socket.on('drain', more);
    more();
  }
  const taken = await settled(async () => offered);
  if (taken >= gibibyte) return 'reads all that nobody asked for';
  const after = await subject.memory();
  await exchange(subject, other);
  for (const { socket } of [...peers, other]) socket.destroy();
  return growth((after - before) / peers.length, 'a peer');
});

function crowd(count: number): Scenario['run'] {
  return async (name) => {
    // All descriptors of the program are for these.
    await using subject = await Subject.start(name);
    await using clients = await Subject.start('node');
    return await seenBy(subject, async () => {
      const limit = Math.min(...[subject, clients].map(({ pid }) => openFileLimit(pid)));
      const wanted = Math.min(count, limit - 100);
      const port = await subject.ask<number>('listen', { echoes: true });
      const before = subject.openFiles();
      const memory = await subject.memory();
      const { error } = await clients.begin('openCrowd', { port, count: wanted });
      if (error !== undefined) return `a client fails with ${error.code}`;
      const each = ((await subject.memory()) - memory) / wanted / 1024;
      const again = await clients.begin('pingCrowd');
      if (again.error !== undefined) return `a client fails with ${again.error.code}`;
      await clients.ask('closeCrowd', {}, 20_000);
      const left = await settled(async () => subject.openFiles());
      if (left > before + 2) return `keeps ${left - before} descriptors`;
      return `serves all (${wanted}, ${each.toFixed(1)} KiB each)`;
    });
  };
}

/** V8 grows its young generation with what passes through it, which looks like a leak. */
const smallYouth = ['env', 'NODE_OPTIONS=--max-semi-space-size=1'];

async function leastMemory(subject: Subject): Promise<number> {
  const readings: number[] = [];
  for (let i = 0; i < 3; i++) readings.push(await subject.memory());
  return Math.min(...readings);
}

/** Connections that come and go leave neither a descriptor nor memory, whoever opens them. */
function passing(count: number, role: 'server' | 'client'): Scenario['run'] {
  return async (name) => {
    await using subject = await Subject.start(name, smallYouth);
    await using other = await Subject.start('node');
    const [server, client] = role === 'server' ? [subject, other] : [other, subject];
    return await seenBy(subject, async () => {
      const port = await server.ask<number>('listen', { echoes: true });
      const visit = (visits: number): Promise<void> =>
        client.ask('visit', { port, count: visits, parallel: 50 }, 90_000);
      // What the first ones make the program load and keep is no leak.
      await visit(count / 5);
      const files = await settled(async () => subject.openFiles());
      const memory = await leastMemory(subject);
      await visit(count);
      const kept = (await settled(async () => subject.openFiles())) - files;
      if (kept > 0) return `keeps ${kept} descriptors`;
      return growth((await leastMemory(subject)) - memory, 'in all');
    });
  };
}

function openFileLimit(pid: number): number {
  const limits = readFileSync(`/proc/${pid}/limits`, 'utf8');
  return Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1]);
}

const group = 'crowds';

export const crowds: readonly Scenario[] = [
  {
    group,
    title: 'four peers that never read are offered 1 GiB each',
    expected: 'grows by at most 4 MiB a peer',
    run: stuckReaders,
  },
  {
    group,
    title: 'a peer that reads late',
    expected: 'sends all',
    run: lateReader,
  },
  {
    group,
    title: 'four peers that send without end to a program that does not read',
    expected: 'grows by at most 4 MiB a peer',
    run: deafProgram,
  },
  {
    group,
    title: '500 connections',
    expected: 'serves all',
    run: crowd(500),
  },
  {
    group,
    title: '20,000 connections, or as many as descriptors are allowed',
    expected: 'serves all',
    long: true,
    run: crowd(20_000),
  },
  ...([5_000, 50_000] as const).flatMap((count) => {
    const expected = 'grows by at most 4 MiB in all';
    const long = count > 5_000;
    const times = count.toLocaleString('en');
    return [
      {
        group,
        title: `${times} connections that come, echo and go`,
        expected,
        long,
        run: passing(count, 'server'),
      },
      {
        group,
        title: `${times} connections that it makes, one echo on each`,
        expected,
        long,
        run: passing(count, 'client'),
      },
    ];
  }),
];
