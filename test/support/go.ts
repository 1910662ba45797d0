/** Programs in Go, compiled once for all who use them. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { foreignEnv } from './foreign.ts';
import { root } from './source-tree.ts';

const settings = { GO111MODULE: 'off', GOPROXY: 'off', GOFLAGS: '' };

/** What `go version` says; null without Go. */
export function goVersion(): string | null {
  const { stdout } = spawnSync('go', ['version'], { encoding: 'utf8', env: foreignEnv() });
  return stdout?.startsWith('go version') ? stdout : null;
}

/**
 * The program of one file, in build/peers. Compiling takes seconds on a busy machine: not for the
 * inside of a test.
 */
export function goProgram(source: string, version: string): string {
  const file = join(root, source);
  const key = createHash('sha256').update(version).update(readFileSync(file)).digest('hex');
  const folder = join(root, 'build/peers');
  const program = join(folder, `go-${key.slice(0, 16)}`);
  if (existsSync(program)) return program;
  mkdirSync(folder, { recursive: true });
  // Another process may be at it, too.
  const fresh = `${program}.${process.pid}`;
  const env = { ...foreignEnv(), ...settings };
  const built = spawnSync('go', ['build', '-o', fresh, file], { encoding: 'utf8', env });
  if (built.status !== 0) throw new Error(`${source} did not compile:\n${built.stderr}`);
  renameSync(fresh, program);
  return program;
}
