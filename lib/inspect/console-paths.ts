/**
 * Where consoles and their clients meet: a folder of sockets that only this user may enter.
 *
 * In: the environment. Out: paths. Never: a folder that somebody else owns or can write to.
 */
import { lstatSync, mkdirSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isMainThread, threadId } from 'node:worker_threads';
import { systemErrorByCode } from '../base/errors.ts';

const suffix = '.sock';

/** Below XDG_RUNTIME_DIR, else below the folder for temporary files. */
export function consoleFolder(): string {
  const runtime = process.env['XDG_RUNTIME_DIR'];
  return runtime ? join(runtime, 'uvio') : join(tmpdir(), `uvio-${process.getuid?.() ?? 0}`);
}

/** Makes the folder. EACCES when it is not ours alone: anyone may write to /tmp. */
function ownFolder(): string {
  const folder = consoleFolder();
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const found = lstatSync(folder);
  const ours = found.isDirectory() && found.uid === process.getuid?.();
  if (!ours || (found.mode & 0o077) !== 0) throw systemErrorByCode('EACCES', 'listen', folder);
  return folder;
}

/** The socket of this thread. */
export function defaultPath(): string {
  const name = isMainThread ? `${process.pid}` : `${process.pid}-${threadId}`;
  return join(ownFolder(), name + suffix);
}

/** Sockets in the folder, with the name of each: a process id, for threads with theirs. */
export function findConsoles(): { name: string; path: string }[] {
  const folder = consoleFolder();
  let files: string[];
  try {
    files = readdirSync(folder);
  } catch {
    return [];
  }
  return files
    .filter((file) => file.endsWith(suffix))
    .map((file) => ({ name: file.slice(0, -suffix.length), path: join(folder, file) }))
    .sort((a, b) => Number.parseInt(a.name, 10) - Number.parseInt(b.name, 10));
}
