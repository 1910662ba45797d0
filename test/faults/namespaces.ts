/**
 * Two network namespaces with a cable between them.
 *
 * In: a program, which runs in one of them. Out: it, a peer in the other one, and ways to spoil
 * the cable. Never: a change to the network of the machine.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { foreignEnv } from '../support/foreign.ts';
import { Subject, type SubjectName } from './subject.ts';

export const near: string = `uvio-${process.pid}-near`;
export const far: string = `uvio-${process.pid}-far`;
const nearHost = '10.213.7.1';
const farHost = '10.213.7.2';
/** To it frames are sent, and no machine has it. */
export const silentHost = '10.213.7.10';

export function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: 'pipe', env: foreignEnv() });
}

/** What a command begins with that runs there. */
export const inside = (namespace: string): string[] => ['ip', 'netns', 'exec', namespace];

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

/** Why there are no devices whose packets a program carries, or null. */
export function tunMissing(): string | null {
  try {
    closeSync(openSync('/dev/net/tun', 'r+'));
    return null;
  } catch {
    return '/dev/net/tun may not be opened here';
  }
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

export function setNear(file: string, value: number): void {
  ip('netns', 'exec', near, 'sh', '-c', `echo ${value} > ${file}`);
}

/** The program in the one namespace, a peer in the other. */
export class Ends {
  readonly subject: Subject;
  #peer: Subject | null = null;

  private constructor(subject: Subject) {
    this.subject = subject;
  }

  static async open(name: SubjectName): Promise<Ends> {
    removeNamespaces();
    for (const space of [near, far]) ip('netns', 'add', space);
    layCable();
    return new Ends(await Subject.start(name, inside(near)));
  }

  async peer(): Promise<Subject> {
    this.#peer ??= await Subject.start('node', inside(far));
    return this.#peer;
  }

  /** A connection of the program, and the peer's id of it. */
  async connected(): Promise<{ peer: Subject; id: number; peerId: number }> {
    const peer = await this.peer();
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

export async function endsOf(name: SubjectName): Promise<Ends> {
  if (open?.name === name && open.ends.subject.end === null) return open.ends;
  await closeLinks();
  open = { name, ends: await Ends.open(name) };
  return open.ends;
}

export async function closeLinks(): Promise<void> {
  await open?.ends.close();
  open = null;
}
