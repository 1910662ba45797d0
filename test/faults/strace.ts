/**
 * Errors of system calls, injected into a running program by strace.
 *
 * In: a process, a call, an error, at which call of it. Out: how often it was injected. Never: a
 * call of another descriptor than the one that was meant, if one was.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { foreignEnv } from '../support/foreign.ts';
import { patienceMs, within } from './subject.ts';

/** Why it cannot be done here, or null. */
export function straceMissing(): string | null {
  if (process.platform !== 'linux') return 'strace is a program of Linux';
  const { status, error } = spawnSync('strace', ['-qq', '-o', '/dev/null', 'true'], {
    env: foreignEnv(),
  });
  if (error) return 'strace is not installed';
  return status === 0 ? null : 'processes may not be traced here';
}

export interface Wanted {
  /** Names of calls; each policy uses one of them. */
  readonly calls: readonly string[];
  readonly error: string;
  /** The nth call, from 1; in strace's form, thus also `1..3` or `1+3`. */
  readonly when: number | string;
  /** Only calls on this socket. */
  readonly inode?: number;
}

function tracedBy(pid: number, tracer: number): boolean {
  const own = new RegExp(`^TracerPid:\\t${tracer}$`, 'm');
  return readdirSync(`/proc/${pid}/task`).every((thread) => {
    try {
      return own.test(readFileSync(`/proc/${pid}/task/${thread}/status`, 'utf8'));
    } catch {
      return true; // that thread has just ended
    }
  });
}

export class Injection {
  readonly #strace: ChildProcess;
  readonly #ended: Promise<unknown>;
  #log = '';

  private constructor(pid: number, { calls, error, when, inode }: Wanted) {
    const names = calls.join(',');
    const args = ['-f', '-qq', '-p', String(pid), '-e', `trace=${names}`];
    args.push('-e', `inject=${names}:error=${error}:when=${when}`);
    if (inode !== undefined) args.push('-P', `socket:[${inode}]`);
    this.#strace = spawn('strace', args, {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: foreignEnv(),
    });
    this.#strace.stderr?.on('data', (text) => (this.#log += text));
    this.#ended = new Promise((resolve) => this.#strace.on('close', resolve));
  }

  /** Begins to inject; every thread of the process is traced then. */
  static async attach(pid: number, wanted: Wanted): Promise<Injection> {
    const injection = new Injection(pid, wanted);
    const tracer = injection.#strace.pid as number;
    const attached = async (): Promise<void> => {
      while (!tracedBy(pid, tracer)) {
        if (injection.#strace.exitCode !== null) throw new Error(`strace: ${injection.#log}`);
        await pause(2);
      }
    };
    try {
      await within(attached(), patienceMs, 'strace');
    } catch (error) {
      await injection.detach();
      throw error;
    }
    return injection;
  }

  /** Lets the process go. How many calls were answered with the error. */
  async detach(): Promise<number> {
    this.#strace.kill('SIGINT');
    await this.#ended;
    return this.#log.split('(INJECTED)').length - 1;
  }
}

interface Row {
  readonly localPort: number;
  readonly remotePort: number;
  readonly inode: number;
}

function tcpSockets(): Row[] {
  const lines = readFileSync('/proc/net/tcp', 'utf8').trimEnd().split('\n').slice(1);
  return lines.map((line) => {
    const fields = line.trim().split(/\s+/);
    const port = (address: string | undefined): number =>
      Number.parseInt(address?.slice(-4) ?? '', 16);
    return { localPort: port(fields[1]), remotePort: port(fields[2]), inode: Number(fields[9]) };
  });
}

/** Inode of the socket with these ports, which is its name for strace; 0: one that listens. */
export function inodeOf(localPort: number, remotePort: number): number {
  const found = tcpSockets().find(
    (row) => row.localPort === localPort && row.remotePort === remotePort,
  );
  if (found === undefined) throw new Error(`no socket from ${localPort} to ${remotePort}`);
  return found.inode;
}
