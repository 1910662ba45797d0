/**
 * A real PostgreSQL for tests: one server for all files of a vitest run, started by the first that
 * asks. A watchdog process stops it when the run is gone, however that ended. It is the newest one
 * of Debian's folders, or that whose `bin` folder UVIO_TEST_POSTGRES names.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { isMainThread } from 'node:worker_threads';
import { foreignEnv } from './foreign.ts';

export interface PostgresServer {
  /** The folder of the UNIX socket. */
  readonly socketDir: string;
  readonly host: string;
  readonly port: number;
  /** A superuser that is trusted. */
  readonly user: string;
  readonly database: string;
}

/** Users that must prove who they are, over TCP; their password is `secret of <user>`. */
export const passwordUsers: readonly string[] = ['by_scram', 'by_md5', 'by_password'];

const hba = `
local all all trust
hostssl all by_cert 127.0.0.1/32 trust clientcert=verify-ca
hostssl all by_tls 127.0.0.1/32 scram-sha-256
host all by_scram 127.0.0.1/32 scram-sha-256
host all +scram_users 127.0.0.1/32 scram-sha-256
host all by_md5 127.0.0.1/32 md5
host all by_password 127.0.0.1/32 password
host all by_reject 127.0.0.1/32 reject
host all all 127.0.0.1/32 trust
`;

const settings = [
  'fsync=off',
  'ssl=on',
  'ssl_cert_file=server.pem',
  'ssl_key_file=server-key.pem',
  'ssl_ca_file=ca.pem',
  'listen_addresses=127.0.0.1',
  'max_connections=60',
  'shared_buffers=16MB',
  'timezone=UTC',
  'log_min_messages=fatal',
  'autovacuum=off',
  'max_wal_senders=0',
  'wal_level=minimal',
];

function findBinaries(): string | null {
  const given = process.env['UVIO_TEST_POSTGRES'];
  if (given !== undefined && given !== '') return given;
  const root = '/usr/lib/postgresql';
  if (!existsSync(root)) return null;
  const versions = readdirSync(root).sort((a, b) => Number(b) - Number(a));
  const found = versions.find((version) => existsSync(join(root, version, 'bin/initdb')));
  return found === undefined ? null : join(root, found, 'bin');
}

const binaries = findBinaries();

/** Null: there is a server. In CI a missing one is a failure. */
export function missingPostgres(): string | null {
  if (binaries !== null) return null;
  if (process.env['CI'] === 'true') throw new Error('No PostgreSQL binaries, and CI needs them');
  return 'no PostgreSQL binaries in /usr/lib/postgresql/*/bin';
}

/** PostgreSQL refuses to run as root. */
function serverIds(): { uid?: number; gid?: number } {
  if (userInfo().uid !== 0) return {};
  for (const name of ['postgres', 'nobody']) {
    const uid = spawnSync('id', ['-u', name], { encoding: 'utf8', env: foreignEnv() });
    const gid = spawnSync('id', ['-g', name], { encoding: 'utf8', env: foreignEnv() });
    if (uid.status === 0) return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
  }
  throw new Error('Running as root, and there is no user to run PostgreSQL as');
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === 'object' ? (address?.port ?? 0) : 0));
    });
  });
}

function own(path: string, ids: { uid?: number; gid?: number }): void {
  if (ids.uid !== undefined) chownSync(path, ids.uid, ids.gid ?? ids.uid);
}

function initialize(folder: string, ids: { uid?: number; gid?: number }): void {
  const options = { ...ids, cwd: folder, stdio: 'pipe', env: foreignEnv() } as const;
  const args = ['-D', join(folder, 'template'), '-U', 'postgres', '-A', 'trust', '-E', 'UTF8'];
  args.push('--locale=C', '--no-sync', '--no-instructions');
  execFileSync(join(binaries as string, 'initdb'), args, options);
  writeFileSync(join(folder, 'template/pg_hba.conf'), hba);
  for (const name of ['server.pem', 'server-key.pem', 'ca.pem']) {
    const path = join(folder, 'template', name);
    writeFileSync(path, readFileSync(new URL(`./tls/${name}`, import.meta.url)), { mode: 0o600 });
    own(path, ids);
  }
  const lines = [...passwordUsers, 'by_tls'].map((user) => {
    const encryption = user === 'by_md5' ? 'md5' : 'scram-sha-256';
    const role = `CREATE ROLE ${user} LOGIN PASSWORD 'secret of ${user}'`;
    return `SET password_encryption = '${encryption}';\n${role};\n`;
  });
  lines.push('CREATE ROLE scram_users;\nCREATE ROLE by_reject LOGIN;\n');
  lines.push('CREATE ROLE by_cert LOGIN;\n');
  lines.push('CREATE EXTENSION hstore;\nCREATE EXTENSION citext;\n');
  execFileSync(
    join(binaries as string, 'postgres'),
    ['--single', '-j', '-D', join(folder, 'template'), '-F', 'postgres'],
    { ...options, input: lines.join('\n').replaceAll(';\n', ';\n\n') },
  );
}

/** Stops the server and removes its folder once the run is gone. */
function watch(folder: string, data: string, run: number, ids: object): void {
  const script = `while [ -d /proc/${run} ] && [ -d '${data}' ]; do sleep 0.3; done
pid=$(head -n 1 '${data}/postmaster.pid' 2>/dev/null)
[ -n "$pid" ] && kill -INT $pid && sleep 0.5
rm -rf '${folder}'`;
  spawn('sh', ['-c', script], {
    ...ids,
    detached: true,
    stdio: 'ignore',
    cwd: '/',
    env: foreignEnv(),
  }).unref();
}

function runningServer(socketDir: string, port: number): PostgresServer {
  return { socketDir, host: '127.0.0.1', port, user: 'postgres', database: 'postgres' };
}

/** What the server says of itself: its first line is a process, its eighth one a state. */
function isReady(data: string, pid: number): boolean {
  const file = join(data, 'postmaster.pid');
  if (!existsSync(file)) return false;
  const lines = readFileSync(file, 'utf8').split('\n');
  return lines[0] === String(pid) && lines[7]?.trim() === 'ready';
}

async function start(folder: string, data: string, port: number, run: number): Promise<number> {
  const ids = serverIds();
  const args = ['-D', data, '-p', String(port), '-k', folder];
  for (const setting of settings) args.push('-c', setting);
  const env = foreignEnv();
  const options = { ...ids, cwd: folder, detached: true, stdio: 'ignore', env } as const;
  const child = spawn(join(binaries as string, 'postgres'), args, options);
  child.unref();
  const pid = child.pid as number;
  watch(folder, data, run, ids);
  for (let i = 0; i < 300; i++) {
    if (isReady(data, pid)) return pid;
    await pause(20);
  }
  throw new Error('PostgreSQL did not start');
}

/** The process that outlives every test file of the run. */
function runId(): number {
  return isMainThread ? process.ppid : process.pid;
}

let shared: Promise<PostgresServer> | undefined;

/** The server of this run. */
export function sharedPostgres(): Promise<PostgresServer> {
  shared ??= openShared();
  return shared;
}

async function openShared(): Promise<PostgresServer> {
  const folder = join(tmpdir(), `uvio-postgres-${runId()}`);
  const note = join(folder, 'ready.json');
  try {
    mkdirSync(folder);
  } catch {
    for (let i = 0; i < 1500 && !existsSync(note); i++) await pause(20);
    return JSON.parse(readFileSync(note, 'utf8')) as PostgresServer;
  }
  const ids = serverIds();
  own(folder, ids);
  initialize(folder, ids);
  const port = await freePort();
  execFileSync('cp', ['-a', join(folder, 'template'), join(folder, 'data')], { env: foreignEnv() });
  await start(folder, join(folder, 'data'), port, runId());
  const server = runningServer(folder, port);
  writeFileSync(`${note}.new`, JSON.stringify(server));
  renameSync(`${note}.new`, note);
  return server;
}

/** A server of one test, which it may stop and start. */
export class PrivatePostgres {
  readonly server: PostgresServer;
  readonly #data: string;
  #pid: number;

  private constructor(server: PostgresServer, data: string, pid: number) {
    this.server = server;
    this.#data = data;
    this.#pid = pid;
  }

  static async start(): Promise<PrivatePostgres> {
    const { socketDir } = await sharedPostgres();
    const folder = mkdtempSync(join(tmpdir(), 'uvio-postgres-own-'));
    own(folder, serverIds());
    const data = join(folder, 'data');
    execFileSync('cp', ['-a', join(socketDir, 'template'), data], { env: foreignEnv() });
    const port = await freePort();
    const pid = await start(folder, data, port, runId());
    return new PrivatePostgres(runningServer(folder, port), data, pid);
  }

  /** At once, as a crash would. */
  async stop(): Promise<void> {
    process.kill(this.#pid, 'SIGQUIT');
    for (let i = 0; i < 500; i++) {
      if (!existsSync(join(this.#data, 'postmaster.pid'))) break;
      if (!existsSync(`/proc/${this.#pid}`)) break;
      await pause(10);
    }
  }

  async restart(): Promise<void> {
    const { socketDir, port } = this.server;
    mkdirSync(socketDir, { recursive: true });
    own(socketDir, serverIds());
    this.#pid = await start(socketDir, this.#data, port, runId());
  }

  async end(): Promise<void> {
    await this.stop();
    rmSync(this.server.socketDir, { recursive: true, force: true });
  }
}
