/**
 * Links that fail below TCP: two network namespaces with a cable between them.
 *
 * In: a program, which runs in one of them. Out: what it made of the failure. Never: a change to
 * the network of the machine.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readlinkSync } from 'node:fs';
import { foreignEnv } from '../support/foreign.ts';
import { type Scenario, seenBy } from './scenario.ts';
import { type Answer, Subject, type SubjectName, within } from './subject.ts';

const near = `uvio-${process.pid}-near`;
const far = `uvio-${process.pid}-far`;
const nearHost = '10.213.7.1';
const farHost = '10.213.7.2';
/** No machine has them: one is asked for by ARP, in vain; to the other one frames are sent. */
const absentHost = '10.213.7.9';
const silentHost = '10.213.7.10';

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: 'pipe', env: foreignEnv() });
}

/** Why it cannot be done here, or null. */
export function namespacesMissing(): string | null {
  if (process.platform !== 'linux') return 'network namespaces are of Linux';
  const probe = `uvio-${process.pid}-probe`;
  const options = { env: foreignEnv() };
  const { status, error } = spawnSync('ip', ['netns', 'add', probe], options);
  if (error) return 'iproute2 is not installed';
  if (status !== 0) return 'network namespaces may not be made here';
  spawnSync('ip', ['netns', 'del', probe], options);
  return null;
}

function removeNamespaces(): void {
  for (const name of [near, far]) spawnSync('ip', ['netns', 'del', name], { env: foreignEnv() });
}

function layCable(): void {
  ip('link', 'add', 'cable', 'netns', near, 'type', 'veth', 'peer', 'name', 'cable', 'netns', far);
  for (const [name, host] of [
    [near, nearHost],
    [far, farHost],
  ] as const) {
    ip('-n', name, 'address', 'add', `${host}/24`, 'dev', 'cable');
    ip('-n', name, 'link', 'set', 'cable', 'up');
    // The kernel tells itself by ICMP that ARP was in vain.
    ip('-n', name, 'link', 'set', 'lo', 'up');
  }
  ip('-n', near, 'neigh', 'add', silentHost, 'lladdr', '02:00:00:00:00:10', 'dev', 'cable');
  // Nobody answers ARP after a fifth of a second instead of three.
  const neighbours = '/proc/sys/net/ipv4/neigh/cable';
  setNear(`${neighbours}/retrans_time_ms`, 100);
  setNear(`${neighbours}/mcast_solicit`, 2);
}

function setNear(file: string, value: number): void {
  ip('netns', 'exec', near, 'sh', '-c', `echo ${value} > ${file}`);
}

/** The program in the one namespace, a peer in the other. */
class Ends {
  readonly subject: Subject;
  #peer: Subject | null = null;

  private constructor(subject: Subject) {
    this.subject = subject;
  }

  static async open(name: SubjectName): Promise<Ends> {
    removeNamespaces();
    for (const space of [near, far]) ip('netns', 'add', space);
    layCable();
    return new Ends(await Subject.start(name, ['ip', 'netns', 'exec', near]));
  }

  /** A connection of the program, and the peer's id of it. */
  async connected(): Promise<{ peer: Subject; id: number; peerId: number }> {
    this.#peer ??= await Subject.start('node', ['ip', 'netns', 'exec', far]);
    const peer = this.#peer;
    const port = await peer.ask<number>('listen', { host: farHost });
    const before = peer.events.length;
    const id = await this.subject.ask<number>('connect', { host: farHost, port });
    const accepted = await peer.event((event) => peer.events.indexOf(event) >= before);
    return { peer, id, peerId: accepted.id as number };
  }

  /** The machine at the other end loses its power, and another one gets its address. */
  async replacePeer(): Promise<void> {
    ip('-n', far, 'link', 'set', 'cable', 'down');
    await this.#peer?.stop();
    this.#peer = null;
    ip('netns', 'del', far);
    // The cable of the near end ends some time after the namespace.
    spawnSync('ip', ['-n', near, 'link', 'del', 'cable'], { env: foreignEnv() });
    ip('netns', 'add', far);
    layCable();
  }

  async close(): Promise<void> {
    await this.subject.stop();
    await this.#peer?.stop();
    removeNamespaces();
  }
}

let open: { name: SubjectName; ends: Ends } | null = null;

async function endsOf(name: SubjectName): Promise<Ends> {
  if (open?.name === name && open.ends.subject.end === null) return open.ends;
  await closeLinks();
  open = { name, ends: await Ends.open(name) };
  return open.ends;
}

export async function closeLinks(): Promise<void> {
  await open?.ends.close();
  open = null;
}

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
