// A PostgreSQL for benchmarks, pinned to core 1.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { chownSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';

const root = '/usr/lib/postgresql';

export async function startPostgres(port = 54_871) {
  const bin = join(root, readdirSync(root).sort().at(-1), 'bin');
  const number = (flag) =>
    Number(spawnSync('id', [flag, 'postgres'], { encoding: 'utf8' }).stdout.trim());
  const ids = userInfo().uid === 0 ? { uid: number('-u'), gid: number('-g') } : {};
  const folder = mkdtempSync(join(tmpdir(), 'uvio-bench-postgres-'));
  if (ids.uid !== undefined) chownSync(folder, ids.uid, ids.gid);
  const data = join(folder, 'data');
  const options = { ...ids, cwd: folder, stdio: 'ignore' };
  const init = ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C'];
  execFileSync(join(bin, 'initdb'), [...init, '--no-sync'], options);
  const args = ['-c', '1', join(bin, 'postgres'), '-D', data, '-p', String(port), '-k', folder];
  args.push('-F', '-c', 'listen_addresses=127.0.0.1', '-c', 'autovacuum=off');
  const child = spawn('taskset', args, options);
  const ready = ['-q', '-h', '127.0.0.1', '-p', String(port)];
  for (let i = 0; spawnSync(join(bin, 'pg_isready'), ready).status !== 0; i++) {
    if (i === 600 || child.exitCode !== null) throw new Error('PostgreSQL did not start');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return {
    port,
    stop() {
      child.kill('SIGQUIT');
      setTimeout(() => rmSync(folder, { recursive: true, force: true }), 300);
    },
  };
}
