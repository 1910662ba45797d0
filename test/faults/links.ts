/**
 * Links that fail below TCP.
 *
 * In: a program in a namespace. Out: what it made of the failure. Never: a change to the network
 * of the machine.
 */
import { readdirSync, readlinkSync } from 'node:fs';
import { type Ends, endsOf, far, ip, near, setNear, silentHost } from './namespaces.ts';
import { type Scenario, seenBy } from './scenario.ts';
import { type Answer, within } from './subject.ts';

/** No machine has it, and it is asked for by ARP. */
const absentHost = '10.213.7.9';

function sockets(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).filter((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith('socket:');
    } catch {
      return false; // closed meanwhile
    }
  }).length;
}

const verdict = ({ error }: Answer): string =>
  error === undefined ? 'goes on' : `rejects with ${error.code}`;

/** A connect that must fail, and leave no socket. */
function connecting(host: string, options: object = {}): Scenario['run'] {
  return async (name) => {
    const { subject } = await endsOf(name);
    return await seenBy(subject, async () => {
      const before = sockets(subject.pid);
      const connect = subject.begin('connect', { host, port: 9, ...options });
      const seen = verdict(await within(connect, 8_000, 'connect'));
      await subject.ask('collect');
      return sockets(subject.pid) > before ? `${seen}, and keeps a socket` : seen;
    });
  };
}

function withRoute(kind: string, host: string): Scenario['run'] {
  return async (name) => {
    await endsOf(name);
    ip('-n', near, 'route', 'add', kind, host);
    try {
      return await connecting(host)(name);
    } finally {
      ip('-n', near, 'route', 'del', kind, host);
    }
  };
}

function cable(look: (ends: Ends) => Promise<string>): Scenario['run'] {
  return async (name) => {
    const ends = await endsOf(name);
    try {
      return await seenBy(ends.subject, () => look(ends));
    } finally {
      ip('-n', far, 'link', 'set', 'cable', 'up');
    }
  };
}

const pulled = cable(async (ends) => {
  const { subject } = ends;
  const { peer, id, peerId } = await ends.connected();
  ip('-n', far, 'link', 'set', 'cable', 'down');
  await subject.ask('write', { id, bytes: 5 });
  const { error } = await subject.begin('read', { id, timeoutMs: 100 });
  if (error?.code !== 'ETIMEDOUT') return `rejects with ${error?.code}`;
  ip('-n', far, 'link', 'set', 'cable', 'up');
  const bytes = await peer.ask('read', { id: peerId });
  await peer.ask('write', { id: peerId, bytes: 3 });
  const answer = await subject.ask('read', { id });
  await subject.ask('abort', { id });
  return bytes === 5 && answer === 3 ? 'goes on' : `${bytes} and ${answer} bytes arrive`;
});

const halfOpen = cable(async (ends) => {
  const { subject } = ends;
  const { id } = await ends.connected();
  await ends.replacePeer();
  const read = subject.begin('read', { id });
  await subject.begin('write', { id, bytes: 1 });
  return verdict(await within(read, 5_000, 'the read'));
});

const keptAlive = cable(async (ends) => {
  const { subject } = ends;
  const { id } = await ends.connected();
  await subject.ask('keepAlive', { id, idleMs: 1_000 });
  ip('-n', far, 'link', 'set', 'cable', 'down');
  // A second, then ten probes, each a second later: libuv's figures.
  return verdict(await within(subject.begin('read', { id }), 20_000, 'the read'));
});

const givenUp = cable(async (ends) => {
  const { subject } = ends;
  setNear('/proc/sys/net/ipv4/tcp_retries2', 2);
  const { id } = await ends.connected();
  ip('-n', far, 'link', 'set', 'cable', 'down');
  const read = subject.begin('read', { id });
  await subject.begin('write', { id, bytes: 1 });
  // The second is what ARP said meanwhile.
  const seen = verdict(await within(read, 15_000, 'the read'));
  return /E(TIMEDOUT|HOSTUNREACH)$/.test(seen) ? 'rejects with ETIMEDOUT or EHOSTUNREACH' : seen;
});

const group = 'links';

export const links: readonly Scenario[] = [
  {
    group,
    title: 'connect without a route',
    expected: 'rejects with ENETUNREACH',
    run: connecting('192.0.2.1'),
  },
  {
    group,
    title: 'connect to a host that a router calls unreachable',
    expected: 'rejects with EHOSTUNREACH',
    run: withRoute('unreachable', '192.0.2.2'),
  },
  {
    group,
    title: 'connect where a router forbids it',
    expected: 'rejects with EACCES',
    run: withRoute('prohibit', '192.0.2.3'),
  },
  {
    group,
    title: 'connect to a neighbour that is not there',
    expected: 'rejects with EHOSTUNREACH',
    run: connecting(absentHost),
  },
  {
    group,
    title: 'connect to a host that never answers, for 200 ms',
    expected: 'rejects with ETIMEDOUT',
    run: connecting(silentHost, { timeoutMs: 200 }),
  },
  {
    group,
    title: 'the carrier goes, a read ends by its limit, the carrier comes back',
    expected: 'goes on',
    without: ['node'],
    run: pulled,
  },
  {
    group,
    title: 'a peer that lost its power is replaced: half-open',
    expected: 'rejects with ECONNRESET',
    run: halfOpen,
  },
  {
    group,
    title: 'the carrier goes while a read waits, with keep-alive',
    expected: 'rejects with ETIMEDOUT',
    long: true,
    run: keptAlive,
  },
  {
    group,
    title: 'the carrier goes, and what was written is given up',
    expected: 'rejects with ETIMEDOUT or EHOSTUNREACH',
    long: true,
    run: givenUp,
  },
];
